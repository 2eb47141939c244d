"""Verdicts: published claims judged by measured records, by rules written before the run.

A claim is reproduced when all its comparisons hold (see `findings`), partly reproduced when some
hold or all point the right way, not reproduced otherwise. It is not run when a record is missing,
when a record is too old to hold what a comparison needs, or when nothing measures the claim yet;
published only when nothing here can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial

# Chapters import ALPHA and paired_values from here.
from disco_lib.findings import ALPHA as ALPHA
from disco_lib.findings import Finding, weigh
from disco_lib.papers import NOT_YET, Claim, load_paper, paper_names
from disco_lib.records import BENCH, Record, measured_root, read_record
from disco_lib.sides import NotMeasured
from disco_lib.sides import paired_values as paired_values

REPRODUCED, PARTLY, NOT, NOT_RUN, PUBLISHED = (
    "reproduced",
    "partly reproduced",
    "not reproduced",
    "not run",
    "published only",
)


@dataclass(frozen=True)
class Verdict:
    """A claim's verdict on a tier, and the findings behind it.

    lacks: what a record does not hold, where that is why the claim is not run.
    """

    claim: Claim
    tier: str
    verdict: str
    findings: tuple[Finding, ...] = ()
    lacks: str = ""

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values: id, paper, statement, tier, verdict, effect, interval and details.

        effect and interval are the first comparison's; all of them stand in "comparisons".
        """
        first = self.findings[0] if self.findings else None
        return {
            "id": self.claim.id,
            "paper": self.claim.paper,
            "statement": self.claim.statement,
            "where": self.claim.where,
            "tier": self.tier,
            "verdict": self.verdict,
            "effect": None if first is None else round(first.effect, 4),
            "interval": None if first is None else [round(x, 4) for x in first.interval],
            "why": self.claim.why or self.lacks,
            "note": self.claim.note,
            "comparisons": [_finding_row(finding) for finding in self.findings],
        }


def tiers_measured() -> list[str]:
    """Tiers that have records below data/measured; benchmarks are kept there too, and no tier."""
    root = measured_root()
    folders = [p for p in root.iterdir() if p.name != BENCH] if root.is_dir() else []
    return sorted(p.name for p in folders if any(p.glob("*.json")))


def verdicts(
    tiers: Sequence[str] | None = None, papers: Sequence[str] | None = None
) -> list[Verdict]:
    """The verdict of every claim of the papers on every tier, from the published records."""
    chosen = list(papers or paper_names())
    stored = cache(_published_record)
    return [
        judge(claim, tier, partial(stored, tier))
        for name in chosen
        for claim in load_paper(name).claims
        for tier in (tiers or tiers_measured())
    ]


def judge(claim: Claim, tier: str, record: Callable[[str], Record | None] | None = None) -> Verdict:
    """Judge one claim on one tier; `record` finds a system's record (default: data/measured).

    Raises DiscoError where two records do not belong together or lack the metric compared.
    """
    rule = claim.rule(tier)
    if not rule:
        return Verdict(claim, tier, NOT_RUN if claim.why.startswith(NOT_YET) else PUBLISHED)
    look_up = record or (lambda system: _published_record(tier, system))
    names = dict.fromkeys(name for item in rule for name in item.systems)
    found = {name: look_up(name) for name in names}
    if any(value is None for value in found.values()):
        return Verdict(claim, tier, NOT_RUN)
    try:
        findings = tuple(
            weigh(item, *(found[name] for name in item.systems), comparisons=len(rule))
            for item in rule
        )
    except NotMeasured as lack:
        return Verdict(claim, tier, NOT_RUN, lacks=str(lack))
    if all(finding.holds for finding in findings):
        verdict = REPRODUCED
    elif any(finding.holds for finding in findings) or all(f.points for f in findings):
        verdict = PARTLY
    else:
        verdict = NOT
    return Verdict(claim, tier, verdict, findings)


def judge_elsewhere(claims: Iterable[Claim], tier: str) -> list[Verdict]:
    """Judge claims on every other tier that has stored records, all tiers of a claim together."""
    others = [other for other in tiers_measured() if other != tier]
    return [judge(claim, other) for claim in claims for other in others]


def _published_record(tier: str, system: str) -> Record | None:
    path = measured_root() / tier / f"{system}.json"
    return read_record(path) if path.is_file() else None


def _finding_row(finding: Finding) -> dict[str, object]:
    item = finding.comparison
    return {
        "reads": item.words(),
        "a": item.a,
        "b": item.b,
        "metric": item.metric,
        "direction": item.direction,
        "margin": item.margin,
        "depth": None if item.depth is None else list(item.depth),
        "growth": item.growth,
        "bound": item.bound,
        "factor": item.factor,
        "than": None if item.than is None else list(item.than),
        "where": None if item.where is None else list(item.where),
        "effect": round(finding.effect, 4),
        "interval": [round(x, 4) for x in finding.interval],
        "p": None if finding.p is None else round(finding.p, 5),
        "turns": finding.n if item.unit == "turns" else None,
        "conversations": finding.n if item.unit == "conversations" else None,
        "holds": finding.holds,
    }
