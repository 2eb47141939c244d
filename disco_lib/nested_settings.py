"""Nested settings: a mapping, as YAML holds it, checked against the fields of a dataclass."""

from __future__ import annotations

import dataclasses
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
