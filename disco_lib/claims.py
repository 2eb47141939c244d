"""Verdicts: published claims judged by measured records, by rules written before the run.

A comparison "a greater than b" holds when the paired difference over turns (mean over seeds) is
positive, its Bonferroni-corrected t-test has p < 0.05, and, with several seeds, the difference has
that sign on every seed. "Similar" holds when the 95 % interval of the difference lies within the
margin. Turns are those that both records have. A cost is one number a seed: a direction holds when
every pair of seeds shows it, "similar" when every pair lies within the margin. The claim is
reproduced when all its comparisons hold, partly reproduced when some hold or all point the right
way, not reproduced otherwise. It is not run when a record is missing or nothing measures it yet,
published only when nothing here can.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from disco_lib.errors import DiscoError
from disco_lib.papers import NOT_YET, Claim, Comparison, load_paper, paper_names
from disco_lib.records import BENCH, Record, measured_root, read_record
from disco_lib.significance import compare

ALPHA = 0.05
COSTS = ("active_terms", "flops")
SHARED = ("collection", "split", "depth", "evaluation")
REPRODUCED, PARTLY, NOT, NOT_RUN, PUBLISHED = (
    "reproduced",
    "partly reproduced",
    "not reproduced",
    "not run",
    "published only",
)


@dataclass(frozen=True)
class Finding:
    """What one comparison gave: effect is a - b in the metric's units, with its 95 % interval.

    n turns. A cost has no p; its interval is the range over n pairs of seeds.
    """

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
            "note": self.claim.note,
            "comparisons": [
                {
                    "a": f.comparison.a,
                    "b": f.comparison.b,
                    "metric": f.comparison.metric,
                    "direction": f.comparison.direction,
                    "margin": f.comparison.margin,
                    "effect": round(f.effect, 4),
                    "interval": [round(x, 4) for x in f.interval],
                    "p": None if f.p is None else round(f.p, 5),
                    "turns": None if f.comparison.metric in COSTS else f.n,
                    "holds": f.holds,
                }
                for f in self.findings
            ],
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
    return [
        judge(claim, tier)
        for name in chosen
        for claim in load_paper(name).claims
        for tier in (tiers or tiers_measured())
    ]


def judge(claim: Claim, tier: str, record: Callable[[str], Record | None] | None = None) -> Verdict:
    """Judge one claim on one tier; `record` finds a system's record (default: data/measured).

    Raises DiscoError where two records do not belong together or lack what the claim compares.
    """
    if not claim.comparisons:
        return Verdict(claim, tier, NOT_RUN if claim.why.startswith(NOT_YET) else PUBLISHED)
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
    """Per-turn values (shared turns,) of two records on the turns both have, mean over seeds."""
    x, y = _shared_values(a, b, metric)
    return x.mean(axis=0), y.mean(axis=0)


def _find(item: Comparison, a: Record, b: Record, comparisons: int) -> Finding:
    _check_together(a, b)
    if item.metric in COSTS:
        return _find_cost(item, a, b)
    x, y = paired_values(a, b, item.metric)
    if len(x) < 2:
        raise DiscoError(
            f"{a.tier}: {a.system} and {b.system} share {len(x)} turns; a test needs 2."
        )
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
    # A record keeps one cost a seed, not one a turn: no turns to pair, no test.
    x, y = _seed_costs(a, item.metric), _seed_costs(b, item.metric)
    differences = np.subtract.outer(x, y).ravel()
    effect = float(differences.mean())
    interval = (float(differences.min()), float(differences.max()))
    if item.direction == "similar":
        holds = bool((abs(differences) < item.margin).all())
        points = abs(effect) < item.margin
    else:
        sign = -1.0 if item.direction == "less" else 1.0
        holds = bool((sign * differences > 0).all())
        points = sign * effect > 0
    return Finding(item, effect, interval, None, len(differences), holds, points)


def _seed_pairs(a: Record, b: Record, metric: str) -> list[tuple[float, float]]:
    # The same seed in both records orders their training turns alike, so it is a pair.
    values_a, values_b = _shared_values(a, b, metric)
    x, y = values_a.mean(axis=1).tolist(), values_b.mean(axis=1).tolist()
    if a.seeds == b.seeds:
        return list(zip(x, y, strict=True))
    return [(u, v) for u in x for v in y]


def _shared_values(a: Record, b: Record, metric: str) -> tuple[np.ndarray, np.ndarray]:
    # Values (seeds, shared turns) of both, the turns in a's order.
    place = {turn: i for i, turn in enumerate(b.turn_ids)}
    shared = [(i, place[turn]) for i, turn in enumerate(a.turn_ids) if turn in place]
    rows = np.array(shared, dtype=int).reshape(-1, 2)
    return _values(a, metric)[:, rows[:, 0]], _values(b, metric)[:, rows[:, 1]]


def _values(record: Record, metric: str) -> np.ndarray:
    for seed, metrics in record.values.items():
        if metric not in metrics:
            raise _lacks(record, metric, seed)
    return np.array([metrics[metric] for metrics in record.values.values()], dtype=np.float64)


def _seed_costs(record: Record, name: str) -> np.ndarray:
    for seed, costs in record.costs.items():
        if name not in costs:
            raise _lacks(record, name, seed)
    return np.array([costs[name] for costs in record.costs.values()], dtype=np.float64)


def _lacks(record: Record, what: str, seed: str) -> DiscoError:
    return DiscoError(
        f"The record of {record.system} on {record.tier} has no {what} for seed {seed}. "
        "Measure it again, or mend the claim's comparison."
    )


def _check_together(a: Record, b: Record) -> None:
    # Records of two versions of a tier can carry the same turn ids; their difference means nothing.
    for name in SHARED:
        if a.settings.get(name) != b.settings.get(name):
            raise DiscoError(
                f"The records of {a.system} and {b.system} on {a.tier} differ in {name!r}: "
                f"{a.settings.get(name)} and {b.settings.get(name)}. Measure the older one again."
            )


def _published_record(tier: str, system: str) -> Record | None:
    path = measured_root() / tier / f"{system}.json"
    return read_record(path) if path.is_file() else None
