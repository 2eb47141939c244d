"""Verdicts: published claims judged by measured records, by rules written before the run.

A comparison "a greater than b" holds when the paired difference over turns (mean over seeds) is
positive, its Bonferroni-corrected t-test has p < 0.05, and, with several seeds, the difference has
that sign on every seed. "Similar" holds when the 95 % interval of the difference lies within the
margin. The claim is reproduced when all its comparisons hold, partly reproduced when some hold or
all point the right way, not reproduced otherwise; not run when a record is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from disco_lib.papers import Claim, Comparison, load_paper, paper_names
from disco_lib.records import Record, measured_root, read_record
from disco_lib.significance import compare

ALPHA = 0.05
COSTS = ("active_terms", "flops")
REPRODUCED, PARTLY, NOT, NOT_RUN, PUBLISHED = (
    "reproduced",
    "partly reproduced",
    "not reproduced",
    "not run",
    "published only",
)


@dataclass(frozen=True)
class Finding:
    """What one comparison gave: effect is a - b in the metric's units, with its 95 % interval."""

    comparison: Comparison
    effect: float
    interval: tuple[float, float]
    p: float | None
    n: int
    holds: bool
    points: bool


@dataclass(frozen=True)
class Verdict:
    """A claim's verdict on a tier, and the findings behind it."""

    claim: Claim
    tier: str
    verdict: str
    findings: tuple[Finding, ...] = ()

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
            "why": self.claim.why,
            "comparisons": [
                {
                    "a": f.comparison.a,
                    "b": f.comparison.b,
                    "metric": f.comparison.metric,
                    "direction": f.comparison.direction,
                    "effect": round(f.effect, 4),
                    "interval": [round(x, 4) for x in f.interval],
                    "p": None if f.p is None else round(f.p, 5),
                    "turns": f.n,
                    "holds": f.holds,
                }
                for f in self.findings
            ],
        }


def tiers_measured() -> list[str]:
    """Tiers that have records below data/measured."""
    root = measured_root()
    return sorted(p.name for p in root.iterdir() if any(p.glob("*.json"))) if root.is_dir() else []


def verdicts(
    tiers: Sequence[str] | None = None, papers: Sequence[str] | None = None
) -> list[Verdict]:
    """The verdict of every claim of the papers on every tier, from the published records."""
    chosen = list(papers or paper_names())
    return [
        judge(claim, tier)
        for name in chosen
        for claim in load_paper(name).claims
        for tier in (tiers or tiers_measured())
    ]


def judge(claim: Claim, tier: str, record: Callable[[str], Record | None] | None = None) -> Verdict:
    """Judge one claim on one tier; `record` finds a system's record (default: data/measured)."""
    if not claim.comparisons:
        return Verdict(claim, tier, PUBLISHED)
    look_up = record or (lambda system: _published_record(tier, system))
    found = {name: look_up(name) for c in claim.comparisons for name in (c.a, c.b)}
    if any(value is None for value in found.values()):
        return Verdict(claim, tier, NOT_RUN)
    findings = tuple(
        _find(item, found[item.a], found[item.b], len(claim.comparisons))
        for item in claim.comparisons
    )
    if all(finding.holds for finding in findings):
        verdict = REPRODUCED
    elif any(finding.holds for finding in findings) or all(f.points for f in findings):
        verdict = PARTLY
    else:
        verdict = NOT
    return Verdict(claim, tier, verdict, findings)


def paired_values(a: Record, b: Record, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Per-turn values of two records on the turns that both have, mean over seeds."""
    place = {turn: i for i, turn in enumerate(b.turn_ids)}
    shared = [(i, place[turn]) for i, turn in enumerate(a.turn_ids) if turn in place]
    rows = np.array(shared, dtype=int).reshape(-1, 2)
    return a.per_turn(metric)[rows[:, 0]], b.per_turn(metric)[rows[:, 1]]


def _find(item: Comparison, a: Record, b: Record, comparisons: int) -> Finding:
    if item.metric in COSTS:
        return _find_cost(item, a, b)
    x, y = paired_values(a, b, item.metric)
    result = compare(x, y, comparisons=comparisons)
    interval = (result.low, result.high)
    if item.direction == "similar":
        holds = -item.margin < result.low and result.high < item.margin
        points = abs(result.difference) < item.margin
        return Finding(item, result.difference, interval, result.p_t, result.n, holds, points)
    sign = 1.0 if item.direction == "greater" else -1.0
    points = sign * result.difference > 0
    seeds = [sign * (u - v) for u, v in _seed_pairs(a, b, item.metric)]
    holds = points and result.p_t < ALPHA and all(d > 0 for d in seeds)
    return Finding(item, result.difference, interval, result.p_t, result.n, holds, points)


def _find_cost(item: Comparison, a: Record, b: Record) -> Finding:
    # A cost has no turns to pair; the spread over seeds is its interval.
    pairs = [(u[item.metric], v[item.metric]) for u in a.costs.values() for v in b.costs.values()]
    differences = np.array([u - v for u, v in pairs])
    sign = -1.0 if item.direction == "less" else 1.0
    holds = bool((sign * differences > 0).all())
    points = bool(sign * differences.mean() > 0)
    interval = (float(differences.min()), float(differences.max()))
    return Finding(item, float(differences.mean()), interval, None, len(pairs), holds, points)


def _seed_pairs(a: Record, b: Record, metric: str) -> list[tuple[float, float]]:
    # Only a comparison on the same turns can be made seed by seed.
    if a.turn_ids != b.turn_ids:
        return []
    x, y = a.seed_means(metric), b.seed_means(metric)
    if len(x) == len(y):
        return list(zip(x, y, strict=True))
    return [(u, v) for u in x for v in y]


def _published_record(tier: str, system: str) -> Record | None:
    path = measured_root() / tier / f"{system}.json"
    return read_record(path) if path.is_file() else None
