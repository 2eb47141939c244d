"""Several claims at once: a row a claim, with its verdicts and what of its rule holds."""

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


def claims_by_tier(verdicts: Sequence[Verdict]) -> Table:
    """One row a claim, one column a tier: the verdict there and what of the rule holds.

    A tier on which no claim was run has no column. DiscoError without a verdict.
    """
    run = dict.fromkeys(verdict.tier for verdict in verdicts if verdict.findings)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for verdict in verdicts:
        claim = verdict.claim
        row = rows.setdefault((claim.paper, claim.id), {"claim": claim.statement})
        if verdict.tier in run:
            row[verdict.tier] = _short(verdict)
    return Table.of([{**row, **{t: row.get(t, "") for t in run}} for row in rows.values()])


def _short(verdict: Verdict) -> str:
    if not verdict.findings:
        return verdict.verdict
    holding = sum(finding.holds for finding in verdict.findings)
    return f"{verdict.verdict}, {holding} of {len(verdict.findings)}"
