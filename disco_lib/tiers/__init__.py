"""Tiers: the same chapters in three sizes. A tier is one YAML file of settings, beside this one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from disco_lib.errors import DataError, DiscoError
from disco_lib.grids import expand
from disco_lib.storage import parse_yaml

FOLDER = Path(__file__).parent
RUNS = ("bm25", "encoder", "aggregate", "rewriter", "student", "blend", "fusion")
#: Those of `dense_experiments`.
DENSE_RUNS = ("dense", "dense-student")
#: The dense systems and grids that tiers share; a tier's own go before.
SHARED = FOLDER / "shared"
SHARED_DENSE = SHARED / "dense.yaml"
#: Between a system and the data that it is taken to: "student-kl@ood".
AT = "@"


@dataclass(frozen=True)
class Place:
    """What a system is evaluated on: a data set, a split of it, and which of its turns count."""

    data: str
    split: str
    evaluation: Mapping[str, Any]


@dataclass(frozen=True)
class Tier:
    """What a tier runs on and with.

    data: the data set's name; train, test: splits; encoder: the model that students start from and
    documents are encoded with; seeds: of every training; depth: of rankings; evaluation: which
    turns count; distil: settings shared by all students; systems: what is compared, by name; grids:
    systems with one setting varied (see `grids.expand`); elsewhere: other data that a system can be
    taken to as it is, {name: data, split, evaluation}; draft: settings of a quicker training, and
    its seeds, for a chapter that finds no record; language_models: the rewrites that one wrote.

    dense: what dense encoders are run with (see `dense_experiments`), empty where there are none:
    teacher; base, whose first layers a student is made of, the teacher where it is not given;
    rewriter, whose rewrite is a pair's query; teacher_length, tokens that the teacher reads;
    selected, the percentile of the teacher's training scores from which a held-out pair counts as
    selected; student, settings that all dense students share; systems and grids; draft_share, of a
    training's length where a chapter finds no record.
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
    grids: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    elsewhere: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    draft: Mapping[str, Any] = field(default_factory=dict)
    language_models: tuple[str, ...] = ()
    dense: Mapping[str, Any] = field(default_factory=dict)

    def system(self, name: str) -> Mapping[str, Any]:
        """The settings of one system, wherever it is taken; DiscoError lists the systems."""
        base, _, there = name.partition(AT)
        places = (self.systems, self._grids[1], self.dense_systems, self._own(there))
        for systems in places:
            if base in systems:
                return systems[base]
        known = ", ".join(name for systems in places for name in systems)
        raise DiscoError(f"Tier {self.name} has no system {base!r}; there are: {known}.")

    def has(self, name: str) -> bool:
        """Whether the tier has this system, and the place where one is named."""
        base, _, place = name.partition(AT)
        places = (self.systems, self._grids[1], self.dense_systems, self._own(place))
        known = any(base in systems for systems in places)
        return known and (not place or place in self.elsewhere)

    @property
    def dense_systems(self) -> Mapping[str, Mapping[str, Any]]:
        """The systems of the tier's dense part by name, those of its grids after the listed ones"""
        return {**self.dense.get("systems", {}), **self._dense_grids[1]}

    def is_dense(self, name: str) -> bool:
        """Whether a system is one of `dense_experiments`."""
        return self.system(name)["run"] in DENSE_RUNS

    def grid(self, name: str) -> dict[str, str]:
        """{value as text: system's name} of one grid; DiscoError lists the grids there are."""
        for grids in (self._grids[0], self._dense_grids[0]):
            if name in grids:
                return dict(grids[name])
        known = ", ".join([*self._grids[0], *self._dense_grids[0]]) or "none"
        raise DiscoError(f"Tier {self.name} has no grid {name!r}; there are: {known}.")

    def place(self, name: str) -> Place:
        """Where a system is evaluated: the tier's test split, or what follows its "@"."""
        there = name.partition(AT)[2]
        if not there:
            return Place(self.data, self.test, self.evaluation)
        if there not in self.elsewhere:
            known = ", ".join(self.elsewhere) or "none"
            raise DiscoError(f"Tier {self.name}: no place {there!r}; there are: {known}.")
        other = self.elsewhere[there]
        return Place(other["data"], other["split"], other.get("evaluation", {}))

    def rewriters(self, name: str) -> list[str]:
        """The rewriters whose text a system needs for a query; [] where it reads what was said."""
        system, there = self.system(name), name.partition(AT)[2]
        if system["run"] == "fusion":
            parts = (f"{part}{AT}{there}" if there else part for part in system["of"])
            return list(dict.fromkeys(r for part in parts for r in self.rewriters(part)))
        if system["run"] in DENSE_RUNS:
            return [self.dense["rewriter"]]
        inputs = system.get("inputs") or [system.get("input", self.distil.get("input", ""))]
        return [given.removeprefix("rewrite:") for given in inputs if given.startswith("rewrite:")]

    def llm_calls(self, name: str) -> int:
        """Calls of a language model that a system needs for one query, one for each rewrite."""
        own = self.system(name)["run"] == "rewriter"
        return own + sum(rewriter in self.language_models for rewriter in self.rewriters(name))

    def label(self, name: str) -> str:
        """The system's name for readers."""
        base, _, there = name.partition(AT)
        label = str(self.system(name).get("label", base))
        return f"{label}, {self.elsewhere[there].get('label', there)}" if there else label

    def names(self) -> list[str]:
        """Every system, those of the grids after the listed ones, and where each is taken."""
        taken = (f"{n}{AT}{p}" for p in self.elsewhere for n in self.taken_to(p))
        return [*self.systems, *self._grids[1], *self.dense_systems, *taken]

    def taken_to(self, place: str) -> list[str]:
        """The systems that are taken to a place, without its name; those that it alone has last."""
        self.place(AT + place)  # an unknown place is told
        return [*self.elsewhere[place]["systems"], *self._own(place)]

    def _own(self, place: str) -> Mapping[str, Mapping[str, Any]]:
        return self.elsewhere.get(place, {}).get("own", {})

    @cached_property
    def _grids(self) -> Grids:
        return _expanded(self.grids, self.systems, self.distil)

    @cached_property
    def _dense_grids(self) -> Grids:
        grids, systems = (self.dense.get(key, {}) for key in ("grids", "systems"))
        return _expanded(grids, systems, self.dense.get("student", {}))


#: Names of each grid's systems by value, and the systems that are new.
Grids = tuple[dict[str, dict[str, str]], dict[str, dict[str, Any]]]


def _expanded(
    grids: Mapping[str, Any], systems: Mapping[str, Any], shared: Mapping[str, Any]
) -> Grids:
    names: dict[str, dict[str, str]] = {}
    every: dict[str, dict[str, Any]] = {}
    for name, grid in grids.items():
        names[name], new = expand(name, grid, {**systems, **every}, shared)
        every |= new
    return names, every


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
    content = parse_yaml(path.read_text(encoding="utf-8"))
    try:
        parts = {**_tuples(content), "dense": _dense(content), "grids": _grids(content)}
        tier = Tier(name=name, **{**content, **parts})
    except (TypeError, KeyError) as error:
        raise DataError(path, None, None, str(error), "Compare it with mini.yaml.") from error
    try:
        for system in tier.names():
            _check(tier, system)
    except (DiscoError, KeyError, TypeError) as error:
        raise DataError(path, None, None, str(error), "Compare it with mini.yaml.") from error
    return tier


def _tuples(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "seeds": tuple(content["seeds"]),
        "language_models": tuple(content.get("language_models", ())),
    }


def _grids(content: dict[str, Any]) -> dict[str, Any]:
    """The grids of the files under `shared`, which is taken out, and the tier's own."""
    files = [SHARED / f"{name}.yaml" for name in content.pop("shared", ())]
    shared = [parse_yaml(file.read_text(encoding="utf-8"))["grids"] for file in files]
    return {
        name: grid for part in (*shared, content.get("grids", {})) for name, grid in part.items()
    }


def _dense(content: Mapping[str, Any]) -> dict[str, Any]:
    own = content.get("dense")
    if not own:
        return {}
    shared = parse_yaml(SHARED_DENSE.read_text(encoding="utf-8"))
    both = {key: {**shared[key], **own.get(key, {})} for key in ("student", "systems", "grids")}
    return {**own, **both}


def _check(tier: Tier, name: str) -> None:
    settings = tier.system(name)
    if settings.get("run") not in (*RUNS, *DENSE_RUNS):
        known = ", ".join((*RUNS, *DENSE_RUNS))
        raise DiscoError(f"{name} has no known 'run'; use one of {known}.")
    there = name.partition(AT)[2]
    for part in settings.get("of", ()):
        tier.system(f"{part}{AT}{there}")
    if "start" in settings:
        tier.system(settings["start"])
    tier.place(name)
