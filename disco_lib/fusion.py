"""Fusion: several rankings of the same turns made into one. Computed by ranx."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import ranx
from numba.core.errors import NumbaTypeSafetyWarning
from ranx import Run

from disco_lib.errors import DiscoError
from disco_lib.runs import run_from_dict

NORMS = ("min-max", "max", "sum", "zmuv", "rank", "borda")
METHODS = ("mean", "max", "rrf", "mnz")
#: The book's names, and how ranx spells them. A sum ranks as a mean over as many runs does.
_METHODS = {"mean": "sum", "max": "max", "rrf": "rrf", "mnz": "mnz"}


def fuse(
    runs: Sequence[Run], method: str = "mean", norm: str | None = "min-max", depth: int = 1000
) -> Run:
    """Fuse rankings of the same turns; a turn keeps its `depth` best documents.

    norm: what each turn's scores are brought to before, one of NORMS, or None. method, one of
    METHODS: the paper takes the mean of min-max normalised scores (DiSCo, section 4.3); "rrf" looks
    at ranks alone. A document that a run lacks has the score 0 in it; a turn for which only one run
    found something keeps that ranking. Raises DiscoError for another method or norm, and for fewer
    than two runs.
    """
    if method not in METHODS or (norm is not None and norm not in NORMS):
        raise DiscoError(
            f"Fusion {method!r} of {norm!r}: methods are {', '.join(METHODS)}; "
            f"norms {', '.join(NORMS)}."
        )
    if len(runs) < 2:
        raise DiscoError("A fusion needs at least two runs.")
    rankings = [run.to_dict() if len(run) else {} for run in runs]
    turns = sorted(set().union(*rankings))
    shared = [turn for turn in turns if all(ranking.get(turn) for ranking in rankings)]
    alone = [turn for turn in turns if turn not in set(shared)]
    fused = {turn: next(r[turn] for r in rankings if r.get(turn)) for turn in alone}
    if shared:
        fused |= _fuse([{t: dict(r[t]) for t in shared} for r in rankings], method, norm)
    return run_from_dict({turn: _best(fused[turn], depth) for turn in turns})


def _fuse(
    rankings: Sequence[dict[str, dict[str, float]]], method: str, norm: str | None
) -> dict[str, dict[str, float]]:
    with warnings.catch_warnings():
        # Told once, when ranx is compiled for the first time.
        warnings.simplefilter("ignore", NumbaTypeSafetyWarning)
        runs = [run_from_dict(ranking) for ranking in rankings]
        return ranx.fuse(runs, norm=norm, method=_METHODS[method]).to_dict()


def _best(ranking: Mapping[str, float], depth: int) -> dict[str, float]:
    order = sorted(ranking, key=lambda pid: (-ranking[pid], pid))[:depth]
    return {pid: float(ranking[pid]) for pid in order}
