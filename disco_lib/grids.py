"""Grids: a system varied in one setting; each value becomes a system of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from disco_lib.errors import DiscoError

FIELDS = {"base", "vary", "values", "label"}
#: What a system means that does not say it.
DEFAULTS = {"missing": "rescore", "method": "mean", "norm": "min-max", "label": ""}

Systems = Mapping[str, Mapping[str, Any]]


def expand(
    name: str, grid: Mapping[str, Any], systems: Systems, shared: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """One grid -> ({value as text: system's name}, {name: settings} of the systems that are new).

    grid: base, a system; vary, the setting that changes ("objective.l1", "teachers") or several of
    them; values, a list, or a mapping {name: value} where a value has no short text; label, with
    {value} in it. Without vary, each value is a mapping of the settings that it changes. shared:
    the tier's distillation settings, which a nested setting starts from.
    A value that gives a system of the tier again is that system, so nothing is run twice. Raises
    DiscoError for a grid that lacks a field, or whose values do not fit what it varies.
    """
    missing, unknown = sorted(FIELDS - {"label", "vary"} - set(grid)), sorted(set(grid) - FIELDS)
    if missing or unknown:
        problem = f"lacks {missing[0]!r}" if missing else f"has no field {unknown[0]!r}"
        raise DiscoError(f"Grid {name!r} {problem}; it takes {', '.join(sorted(FIELDS))}.")
    if grid["base"] not in systems:
        known = ", ".join(systems)
        raise DiscoError(f"Grid {name!r}: no system {grid['base']!r}; there are: {known}.")
    names: dict[str, str] = {}
    new: dict[str, dict[str, Any]] = {}
    for text, value in _named(grid["values"]).items():
        system = copy.deepcopy(dict(systems[grid["base"]]))
        for place, own in _changes(name, grid.get("vary"), value).items():
            _put(system, place, own, shared)
        there = next((n for n, s in systems.items() if _same(s, system, shared)), None)
        names[text] = there or f"{name}-{text}".replace(" ", "-")
        if there is None:
            system["label"] = grid.get("label", name + " {value}").format(value=text)
            new[names[text]] = system
    return names, new


def _changes(name: str, vary: str | Sequence[str] | None, value: Any) -> dict[str, Any]:
    if vary is None:
        if not isinstance(value, Mapping):
            raise DiscoError(
                f"Grid {name!r}: value {value!r} says no setting that it changes. Give a mapping "
                "of them, or name the setting in 'vary'."
            )
        return dict(value)
    places = [vary] if isinstance(vary, str) else list(vary)
    values = [value] if len(places) == 1 else value
    if not isinstance(values, Sequence) or len(values) != len(places):
        raise DiscoError(f"Grid {name!r}: value {value!r} does not fit {', '.join(places)}.")
    return dict(zip(places, values, strict=True))


def value_text(value: Any) -> str:
    """A value in a system's name: 0.001 -> "0.001", [gold, hqe] -> "gold+hqe", True -> "on"."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return "+".join(map(value_text, value))
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _named(values: Any) -> dict[str, Any]:
    if isinstance(values, Mapping):
        return {str(name): value for name, value in values.items()}
    return {value_text(value): value for value in values}


def _put(system: dict[str, Any], place: str, value: Any, shared: Mapping[str, Any]) -> None:
    *path, last = place.split(".")
    at = system
    for depth, key in enumerate(path):
        if key not in at:
            at[key] = copy.deepcopy(dict(shared.get(key, {}))) if depth == 0 else {}
        elif not isinstance(at[key], Mapping):  # a bare weight: {kl: 1.0} -> {kl: {weight: 1.0}}
            at[key] = {"weight": at[key]}
        at = at[key]
    at[last] = value


def _same(a: Mapping[str, Any], b: Mapping[str, Any], shared: Mapping[str, Any]) -> bool:
    x, y = ({**DEFAULTS, **shared, **system, "label": ""} for system in (a, b))
    return x == y
