"""Measured records: what a run gave, per turn and seed, with everything needed to trust it."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.significance import bootstrap_interval
from disco_lib.storage import atomic_path, cache_root, read_json, settings_hash

PACKAGES = ("torch", "transformers", "datasets", "numpy", "scipy", "numba", "ranx", "bm25s")
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Record:
    """One system on one tier.

    values: {seed: {metric: per-turn values in the order of turn_ids}}, after the removal of earlier
    answers where the tier's evaluation asks for it; unremoved: {seed: {metric: mean}} without it.
    costs: {seed: {"active_terms", "flops", "search_ms", "kl", "taught_turns", "seconds"}}; kl: a
    student's mean KL to its teacher in nats (`teacher_distance`); taught_turns: those that the
    teacher has; seconds are those of the training, where it was run for this record. A system
    without training has the seed "-". depths and conversations: of each turn, from 1, and its
    conversation's id; turn_costs: {seed: {"active_terms", "kl", "best_score": per turn}}, None for
    a turn without one; best_score: of the first passage. What records from before it was kept do
    not have is empty. What dense systems keep besides, `dense_experiments` says.
    """

    tier: str
    system: str
    label: str
    settings: dict[str, Any]
    settings_hash: str
    turn_ids: list[str]
    values: dict[str, dict[str, list[float]]]
    unremoved: dict[str, dict[str, float]]
    costs: dict[str, dict[str, float]]
    intervals: dict[str, list[float]]
    provenance: dict[str, Any]
    depths: list[int] = field(default_factory=list)
    conversations: list[str] = field(default_factory=list)
    turn_costs: dict[str, dict[str, list[float | None]]] = field(default_factory=dict)

    @property
    def seeds(self) -> list[str]:
        """The seeds measured, as strings."""
        return list(self.values)

    def per_turn(self, metric: str) -> np.ndarray:
        """Per-turn values (turns,), mean over seeds."""
        return np.mean([seed[metric] for seed in self.values.values()], axis=0)

    def mean(self, metric: str) -> float:
        """Mean over turns and seeds."""
        return float(self.per_turn(metric).mean())

    def per_turn_cost(self, name: str) -> np.ndarray:
        """Per-turn cost (turns,), mean over seeds, NaN for a turn without one.

        DiscoError where the record has none at all.
        """
        try:
            each = [self.turn_costs[seed][name] for seed in self.values]
            return np.mean(np.array(each, dtype=np.float64), axis=0)
        except KeyError as error:
            raise DiscoError(
                f"The record of {self.system} on {self.tier} has no {name} a turn. {MEASURE_AGAIN}"
                f" disco measure --tier {self.tier} --system {self.system}"
            ) from error

    def seed_means(self, metric: str) -> list[float]:
        """Mean over turns, one value a seed."""
        return [float(np.mean(seed[metric])) for seed in self.values.values()]

    def cost(self, name: str) -> float:
        """Mean over seeds of one of `costs`, as "flops"; NaN where it was not measured."""
        found = [seed[name] for seed in self.costs.values() if name in seed]
        return float(np.mean(found)) if found else float("nan")

    def unremoved_mean(self, metric: str) -> float:
        """Mean over seeds with the conversation's own earlier answers left in the ranking."""
        return float(np.mean([seed[metric] for seed in self.unremoved.values()]))


def intervals(values: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, list[float]]:
    """95 % bootstrap intervals over turns of each metric's mean over seeds."""
    metrics = next(iter(values.values()))
    return {
        metric: list(
            bootstrap_interval(np.mean([seed[metric] for seed in values.values()], axis=0))
        )
        for metric in metrics
    }


MEASURE_AGAIN = "Measure again: remove the file and run"
#: The folder of benchmarks below `measured_root`: beside the tiers' folders, and no tier.
BENCH = "bench"


def measured_root() -> Path:
    """Where the repository keeps its records: data/measured."""
    return ROOT / "data" / "measured"


def find(tier: str, system: str, settings: Mapping[str, Any]) -> Record | None:
    """The record of exactly these settings, from the repository or the cache; None without one."""
    wanted = settings_hash(dict(settings))
    for path in (_published(tier, system), _cached(tier, system, wanted)):
        if path.is_file():
            record = read_record(path)
            if record.settings_hash == wanted:
                return record
    return None


def published_records(tier: str) -> dict[str, Record]:
    """Every record of a tier below data/measured, by system; empty where it was not run."""
    paths = sorted((measured_root() / tier).glob("*.json"))
    return {path.stem: read_record(path) for path in paths}


def read_record(path: Path) -> Record:
    """Read one record; IntegrityError where the file is not one or was edited."""
    remedy = _remedy(path)
    try:
        content = read_json(path)
    except IntegrityError as error:
        raise IntegrityError(f"{error}. {remedy}") from error
    checksum = content.pop("checksum", None) if isinstance(content, dict) else None
    if checksum is not None and checksum != settings_hash(content):
        raise IntegrityError(f"{path}: it was edited after it was written. {remedy}")
    try:
        record = Record(**content)
    except TypeError as error:
        raise IntegrityError(f"{path}: not a record ({error}). {remedy}") from error
    if settings_hash(record.settings) != record.settings_hash:
        raise IntegrityError(f"{path}: settings and their hash disagree. {remedy}")
    return record


def write_record(record: Record, publish: bool) -> Path:
    """Write a record to data/measured (publish) or to the cache; one line a top-level field."""
    path = (
        _published(record.tier, record.system)
        if publish
        else _cached(record.tier, record.system, record.settings_hash)
    )
    content = json.loads(json.dumps(asdict(record)))
    lines = [
        f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
        for key, value in {**content, "checksum": settings_hash(content)}.items()
    ]
    with atomic_path(path) as part:
        part.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return path


def provenance() -> dict[str, Any]:
    """Versions, machine, threads, commit and date of a run; no name of a host or a folder."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": _commit(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
    }


def _remedy(path: Path) -> str:
    system = re.sub(r"-[0-9a-f]{12}$", "", path.stem)
    command = f"disco measure --tier {path.parent.name} --system {system}"
    return f"{MEASURE_AGAIN} {command}"


def _published(tier: str, system: str) -> Path:
    return measured_root() / tier / f"{system}.json"


def _cached(tier: str, system: str, key: str) -> Path:
    return cache_root() / "measured" / tier / f"{system}-{key}.json"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "disco_lib")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
