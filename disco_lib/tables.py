"""What chapters show as tables and sentences: made from records, claims and verdicts."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from disco_lib.claims import Verdict, paired_values
from disco_lib.errors import DiscoError
from disco_lib.findings import Finding
from disco_lib.papers import Claim, Paper, load_paper
from disco_lib.plots import Point
from disco_lib.records import Record
from disco_lib.significance import compare
from disco_lib.tiers import load_tier

HEADLINE = ("MRR@10", "R@10", "R@100", "nDCG@3")
#: Keeps an interval in one piece where a narrow column breaks its lines.
GLUE = "\u00a0"
#: The rows of a table of records where there is none.
NO_RECORD = ({"record": "none"},)


@dataclass(frozen=True)
class Table:
    """Rows to look at: shown whole, without row numbers, the same on every run."""

    frame: pd.DataFrame

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> Table:
        """A table of {column: text or number}; DiscoError without a row."""
        if not rows:
            raise DiscoError("A table needs at least one row.")
        return cls(pd.DataFrame(list(rows)))

    def _repr_html_(self) -> str:
        # A column that is cut at 50 characters, pandas' default, hides what the table is for.
        with pd.option_context("display.max_colwidth", None):
            return self.frame.to_html(index=False, border=0, na_rep="", justify="left")

    def __repr__(self) -> str:
        return self.frame.to_string(index=False, na_rep="")


@dataclass(frozen=True)
class Words:
    """Sentences in Markdown, shown as text on a page and in a notebook."""

    text: str

    def _repr_markdown_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text


def results(
    records: Sequence[Record],
    metrics: Sequence[str] = HEADLINE,
    digits: int = 3,
    calls: Mapping[str, int] | None = None,
) -> Table:
    """One row a system: means over turns and seeds, the first metric's interval, and the costs.

    calls: {system: calls of a language model for a query}, a column where it is given.
    """
    rows = []
    for record in records:
        low, high = record.intervals[metrics[0]]
        row = {"system": record.label}
        row |= {metric: f"{record.mean(metric):.{digits}f}" for metric in metrics}
        row[metrics[0]] += f" [{low:.{digits}f},{GLUE}{high:.{digits}f}]"
        for name, cost in (("active terms", "active_terms"), ("FLOPS", "flops")):
            value = record.cost(cost)
            row[name] = "" if value != value else f"{value:.1f}"
        if calls is not None:
            row["LLM calls"] = str(calls[record.system])
        rows.append(row)
    return Table.of(rows)


def paired_rows(one: Record, others: Sequence[Record], metric: str, digits: int = 3) -> Table:
    """One row for each other system: `one` minus it on the turns both have, mean over seeds.

    The 95 % interval is over turns; both p-values are corrected for the number of rows.
    """
    rows = []
    for other in others:
        a, b = paired_values(one, other, metric)
        found = compare(a, b, comparisons=len(others))
        interval = f"[{found.low:+.{digits}f},{GLUE}{found.high:+.{digits}f}]"
        rows.append(
            {
                f"{one.label}, minus": other.label,
                "turns": found.n,
                metric: f"{found.difference:+.{digits}f} {interval}",
                "p (t-test)": p_value(found.p_t),
                "p (permutation)": p_value(found.p_permutation),
                "Cohen's d": f"{found.cohens_d:+.2f}",
            }
        )
    return Table.of(rows)


def tier_results(stored: Mapping[str, Mapping[str, Record]]) -> Table:
    """Records of several tiers {tier: {system: record}}, each in the order of its tier's file.

    "kept" is MRR@10 with the conversation's own earlier answers left in the ranking.
    """
    rows = []
    for tier, found in stored.items():
        for name in (name for name in load_tier(tier).systems if name in found):
            record = found[name]
            row: dict[str, Any] = {"tier": tier, "system": record.label}
            row |= {"turns": len(record.turn_ids), "seeds": len(record.seeds)}
            row |= {m: f"{record.mean(m):.3f}" for m in ("MRR@10", "R@10", "R@100")}
            row["kept"] = f"{record.unremoved_mean('MRR@10'):.3f}"
            terms = record.cost("active_terms")
            row["terms"] = "" if terms != terms else f"{terms:.0f}"
            rows.append(row)
    return Table.of(rows or NO_RECORD)


def published_rows(paper: Paper, tables: Sequence[str], dataset: str) -> Table:
    """The rows of published tables that have values for a data set; a blank was not published."""
    rows = []
    for number in tables:
        for row in paper.tables[number]["rows"]:
            values = row["values"].get(dataset, {})
            if any(value is not None for value in values.values()):
                shown = {m: "" if x is None else f"{x:.3f}" for m, x in values.items()}
                rows.append({"table": number, "method": row["method"], **shown})
    return Table.of(rows)


def beside_published(
    paper: Paper,
    table: str,
    dataset: str,
    record: Callable[[str], Record | None],
    metrics: Sequence[str] = ("R@100", "MRR", "nDCG@3"),
) -> Table:
    """The rows of a published table, each with its counterpart here; or why it has none.

    record: finds a system's record, or None. The collections differ: compare orders, not numbers.
    """
    rows = []
    for row in paper.tables[table]["rows"]:
        published = row["values"].get(dataset, {})
        found = next((r for r in map(record, row.get("measured", ())) if r is not None), None)
        shown: dict[str, Any] = {"published": row["method"]}
        for metric in metrics:
            value = published.get(metric)
            shown[metric] = "" if value is None else f"{value:.3f}"
        shown["here"] = found.label if found else row.get("published_only", "not run on this tier")
        for metric in metrics:
            shown[f"{metric} here"] = "" if found is None else f"{found.mean(metric):.3f}"
        rows.append(shown)
    return Table.of(rows)


def verdicts_by_tier(verdicts: Sequence[Verdict]) -> Table:
    """One row a comparison of every claim that was run, with the tier and the claim's verdict.

    A claim's tiers stand together, in the order given, as the claims do.
    """
    claims = list(dict.fromkeys((v.claim.paper, v.claim.id) for v in verdicts))
    rows = []
    for verdict in sorted(verdicts, key=lambda v: claims.index((v.claim.paper, v.claim.id))):
        for finding in verdict.findings:
            item = finding.comparison
            rows.append(
                {
                    "comparison": item.words(),
                    "in": item.metric,
                    "tier": verdict.tier,
                    "difference": _difference(finding),
                    "holds": "yes" if finding.holds else "no",
                    "claim": verdict.verdict,
                }
            )
    return Table.of(rows or NO_RECORD)


def points(records: Sequence[Record], metric: str) -> dict[str, Point]:
    """Mean and 95 % interval of a metric for `plots.interval_bars`, by the systems' labels."""
    return {r.label: Point(r.mean(metric), *r.intervals[metric]) for r in records}


def find_claim(paper: str, name: str) -> Claim:
    """A claim of data/papers by its id; DiscoError lists those there are."""
    claims = load_paper(paper).claims
    for claim in claims:
        if claim.id == name:
            return claim
    known = ", ".join(claim.id for claim in claims)
    raise DiscoError(f"{paper}: no claim {name!r}; there are: {known}.")


def claim_words(claim: Claim) -> Words:
    """A claim as a quotation, with where it stands."""
    place = claim.where[0].upper() + claim.where[1:]
    title = load_paper(claim.paper).title
    return Words(f"> {_text(claim.statement)}\n>\n> *{_text(title)}: {_text(place)}*")


def verdict_words(verdict: Verdict) -> Words:
    """The verdict's name and how many of its comparisons hold."""
    kind = {"reproduced": "reproduced", "partly reproduced": "partly"}.get(verdict.verdict)
    kind = kind or ("not-reproduced" if verdict.verdict == "not reproduced" else "not-run")
    label = f'<span class="verdict {kind}">{verdict.verdict}</span>'
    if not verdict.findings:
        why = _text(verdict.claim.why or verdict.lacks or "no record")
        return Words(f"{label} on tier {_text(verdict.tier)}: {why}")
    holding = sum(finding.holds for finding in verdict.findings)
    count = len(verdict.findings)
    tier = _text(verdict.tier)
    return Words(f"{label} on tier {tier}: {holding} of {count} comparisons hold.")


def _text(text: str) -> str:
    # Markdown passes HTML on as it is.
    return html.escape(text, quote=False)


def verdict_table(verdict: Verdict) -> Table:
    """One row a comparison: effect a - b with its 95 % interval, corrected p, whether it holds."""
    rows = []
    for finding in verdict.findings:
        item = finding.comparison
        rows.append(
            {
                "comparison": item.words(),
                "in": item.metric,
                "difference": _difference(finding),
                "p": "" if finding.p is None else p_value(finding.p),
                "holds": "yes" if finding.holds else "no",
            }
        )
    return Table.of(rows)


def _difference(finding: Finding) -> str:
    low, high = map(_signed, finding.interval)
    return f"{_signed(finding.effect)} [{low},{GLUE}{high}]"


def _signed(difference: float) -> str:
    # Three decimals; of operations, which are counted in millions, three digits.
    return f"{difference:+.3f}" if abs(difference) < 1000 else f"{difference:+.3g}"


def p_value(p: float) -> str:
    """A p-value as it is printed: three digits, or that it is smaller."""
    return f"<{GLUE}0.001" if p < 0.001 else f"{p:.3f}"
