"""Published numbers and claims: one YAML file a paper below data/papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from disco_lib.errors import DataError, DiscoError
from disco_lib.records import ROOT
from disco_lib.rules import Comparison, read_comparison
from disco_lib.storage import parse_yaml

PUBLISHED_ONLY, NOT_YET = "published only:", "not measured yet:"
FOLDER = ROOT / "data" / "papers"


@dataclass(frozen=True)
class Claim:
    """A statement of a paper, where it stands, and the comparisons that judge it.

    by_tier: {tier: comparisons} in their place, for a tier whose systems have other names; none for
    a tier that cannot measure the claim. Without comparisons `why` says why there is no verdict:
    "published only: ..." where it cannot be measured, "not measured yet: ..." where it can. `note`
    says where the paper contradicts itself and what the rule had to choose.
    """

    id: str
    paper: str
    statement: str
    where: str
    comparisons: tuple[Comparison, ...] = ()
    why: str = ""
    note: str = ""
    by_tier: Mapping[str, tuple[Comparison, ...]] = field(default_factory=dict)

    def rule(self, tier: str) -> tuple[Comparison, ...]:
        """The comparisons that judge the claim on a tier."""
        return self.by_tier.get(tier, self.comparisons)


@dataclass(frozen=True)
class Paper:
    """A paper's published tables and claims.

    tables: {number: {"where", "caption", "rows": [{"method", "values": {data set: {metric: x}},
    "measured": [systems that are its counterpart here, by tier] or "published_only": why none}]}};
    facts: numbers given in words, {"id", "value", "unit", "where", "what"}; recipe: the published
    settings of a training.
    """

    id: str
    title: str
    reference: str
    tables: Mapping[str, Mapping[str, Any]]
    claims: tuple[Claim, ...]
    facts: tuple[Mapping[str, Any], ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def row(self, table: str, method: str) -> Mapping[str, Any]:
        """One row of a table; DiscoError lists the tables or the methods there are."""
        if table not in self.tables:
            tables = ", ".join(self.tables) or "none"
            raise DiscoError(f"{self.id}: no table {table!r}; there are: {tables}.")
        rows = self.tables[table]["rows"]
        for row in rows:
            if row["method"] == method:
                return row
        known = ", ".join(row["method"] for row in rows)
        raise DiscoError(f"{self.id}, table {table}: no method {method!r}; there are: {known}.")

    def fact(self, name: str) -> Mapping[str, Any]:
        """One number given in words; DiscoError lists the numbers there are."""
        for fact in self.facts:
            if fact["id"] == name:
                return fact
        known = ", ".join(fact["id"] for fact in self.facts)
        raise DiscoError(f"{self.id}: no number {name!r} in words; there are: {known}.")


@cache
def load_paper(name: str) -> Paper:
    """Read data/papers/NAME.yaml; DataError names what is malformed."""
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        raise DiscoError(f"No paper {name!r}; there are: {', '.join(paper_names())}.")
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        raise DataError(path, line, None, "not YAML", "Mend it.") from error
    try:
        claims = tuple(_claim(name, claim, path) for claim in content["claims"])
        paper = Paper(
            name, content["title"], content["reference"], content["tables"], claims,
            tuple(content.get("facts", ())), content.get("recipe", {}),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            path, None, str(error), "missing or of the wrong form", "Mend it."
        ) from error
    for number, table in paper.tables.items():
        for row in table["rows"]:
            if bool(row.get("measured")) == bool(row.get("published_only")):
                raise DataError(
                    path, None, f"table {number}, {row['method']}",
                    "neither a counterpart here nor a reason, or both",
                    "Give measured: [systems], or published_only: why there is none.",
                )  # fmt: skip
    ids = [claim.id for claim in paper.claims]
    if len(set(ids)) != len(ids):
        raise DataError(path, None, "claims", "an id stands twice", "Give each claim its own id.")
    return paper


def paper_names() -> list[str]:
    """The papers there are, by file name."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def _claim(paper: str, claim: Mapping[str, Any], path: Path) -> Claim:
    def read(items: Sequence[Mapping[str, Any]]) -> tuple[Comparison, ...]:
        return tuple(read_comparison(item, path, claim["id"]) for item in items)

    comparisons = read(claim.get("comparisons", ()))
    by_tier = {tier: read(items) for tier, items in claim.get("by_tier", {}).items()}
    why = claim.get("why", "")
    if not comparisons and not why.startswith((PUBLISHED_ONLY, NOT_YET)):
        raise DataError(
            path, None, claim["id"], "neither comparisons nor a 'why'",
            f"Add one; a 'why' begins with '{PUBLISHED_ONLY}' or '{NOT_YET}'.",
        )  # fmt: skip
    return Claim(
        claim["id"], paper, " ".join(claim["statement"].split()), claim["where"], comparisons,
        why, " ".join(claim.get("note", "").split()), by_tier,
    )  # fmt: skip
