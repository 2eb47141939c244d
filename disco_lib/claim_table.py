"""Several claims at once: a row a claim, with its verdict and what of its rule holds."""

from __future__ import annotations

from collections.abc import Sequence

from disco_lib.claims import Verdict
from disco_lib.tables import Table


def claims_table(verdicts: Sequence[Verdict]) -> Table:
    """One row a claim: its words, the comparisons of its rule that hold, and the verdict.

    Of a claim without a rule, or without a record that it needs, why. DiscoError without a verdict.
    """
    rows = []
    for verdict in verdicts:
        holding = sum(finding.holds for finding in verdict.findings)
        of = f"{holding} of {len(verdict.findings)}" if verdict.findings else ""
        why = "" if verdict.findings else verdict.claim.why or verdict.lacks or "no record"
        why = why.removeprefix(f"{verdict.verdict}: ")
        rows.append(
            {
                "claim": verdict.claim.statement,
                "where": verdict.claim.where,
                "holds": of,
                "verdict": verdict.verdict + (f": {why}" if why else ""),
            }
        )
    return Table.of(rows)
