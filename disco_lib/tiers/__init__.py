"""Tiers: the same chapters in three sizes. A tier is one YAML file of settings, beside this one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from disco_lib.errors import DataError, DiscoError

FOLDER = Path(__file__).parent
RUNS = ("bm25", "encoder", "student")


@dataclass(frozen=True)
class Tier:
    """What a tier runs on and with.

    data: the data set's name; train, test: splits; encoder: the model that students start from and
    documents are encoded with; seeds: of every training; search: depth of rankings; evaluation:
    which turns count; distil: settings shared by all students; systems: what is compared, by name.
    """

    name: str
    what: str
    data: str
    train: str
    test: str
    encoder: str
    seeds: tuple[int, ...]
    depth: int
    teacher_depth: int
    evaluation: Mapping[str, Any]
    distil: Mapping[str, Any]
    systems: Mapping[str, Mapping[str, Any]]

    def system(self, name: str) -> Mapping[str, Any]:
        """The settings of one system; DiscoError lists the systems there are."""
        if name not in self.systems:
            known = ", ".join(self.systems)
            raise DiscoError(f"Tier {self.name} has no system {name!r}; there are: {known}.")
        return self.systems[name]


def tier_names() -> list[str]:
    """The tiers there are, by file name."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def load_tier(name: str | None = None) -> Tier:
    """The tier of that name, or of $DISCO_TIER, or mini.

    Raises DiscoError for an unknown tier, DataError for a file that lacks a setting.
    """
    name = name or os.environ.get("DISCO_TIER") or "mini"
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(tier_names())
        raise DiscoError(f"No tier {name!r}; there are: {known}. Set DISCO_TIER or --tier.")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        tier = Tier(name=name, **{**content, "seeds": tuple(content["seeds"])})
    except (TypeError, KeyError) as error:
        raise DataError(path, None, None, str(error), "Compare it with mini.yaml.") from error
    for system, settings in tier.systems.items():
        if settings.get("run") not in RUNS:
            raise DataError(path, None, system, "no known 'run'", f"Use one of {', '.join(RUNS)}.")
    return tier
