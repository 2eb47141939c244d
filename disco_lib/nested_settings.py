"""Settings as YAML holds them: mappings checked against a dataclass, numbers against a range."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from disco_lib.errors import DiscoError


def check_fields(
    setting: str, kind: type, values: Mapping[str, Any], besides: Sequence[str] = ()
) -> None:
    """Raise DiscoError for a key that is no field of `kind`, and for what is no whole number.

    setting: the name by which an error calls it. besides: other names that it lists. A field whose
    default is a whole number takes whole numbers.
    """
    there = [f.name for f in dataclasses.fields(kind)]
    unknown = sorted(set(map(str, values)) - set(there))
    if unknown:
        names = ", ".join([*there, *besides])
        raise DiscoError(f"{setting}: no setting {unknown[0]!r}; there are: {names}.")
    for option in dataclasses.fields(kind):
        value = values.get(option.name, option.default)
        if isinstance(option.default, int) and type(value) is not int:
            raise DiscoError(f"{setting}: {option.name!r} is {value!r}; give a whole number.")


#: (type, least value or None, greatest value) of a number; None: 0 itself is not allowed.
Range = tuple[type, float | None, float]


def check_number(name: str, value: Any, allowed: Range) -> None:
    """Raise DiscoError, naming the setting, for what is no number of the type in the range."""
    kind, least, greatest = allowed
    types = int if kind is int else int | float
    number = isinstance(value, types) and not isinstance(value, bool) and math.isfinite(value)
    if number and (value > 0 if least is None else value >= least) and value <= greatest:
        return
    what = "a whole number" if kind is int else "a number"
    low = "above 0" if least is None else f"from {least:g}"
    high = "" if math.isinf(greatest) else f" to {greatest:g}"
    raise DiscoError(f"Setting {name!r} is {value!r}; give {what} {low}{high}.")


def number_if_written_so(value: Any) -> Any:
    """A number that YAML 1.1 reads as text for want of a point, as 5e-4; else the value itself."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
