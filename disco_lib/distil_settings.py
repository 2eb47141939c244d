"""DistilSettings: everything that decides a student's weights, checked where it is written."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from disco_lib.conversations import INPUTS, Limits
from disco_lib.errors import DiscoError
from disco_lib.nested_settings import Range, check_fields, check_number, number_if_written_so
from disco_lib.sampling import Sampler, WindowSampler
from disco_lib.sampling_arms import KINDS, sampler_from_dict

_RANGES: dict[str, Range] = {
    "epochs": (float, None, math.inf),
    "steps": (int, 1, math.inf),
    "min_depth": (int, 1, math.inf),
    "batch_size": (int, 1, math.inf),
    "learning_rate": (float, None, math.inf),
    "warmup": (float, 0, 1),
    "weight_decay": (float, 0, math.inf),
    "max_grad_norm": (float, 0, math.inf),
    "ramp": (float, 0, 1),
    "dropout": (float, 0, 1),
    "document_length": (int, 2, math.inf),
    "seed": (int, 0, 2**32 - 1),
}
_OPTIONAL = ("steps", "dropout")
_DOCUMENTS = ("frozen", "trained")
#: Settings that students trained before them do not have: written only where they say otherwise.
_UNWRITTEN = {"documents": "frozen"}


@dataclass(frozen=True)
class DistilSettings:
    """Everything that decides a student's weights, besides data, teacher and initial weights.

    The defaults are DiSCo's public recipe; see `Objective`, `Limits` and the samplers for the
    nested settings; a sampler's mapping names its kind, "window" where it does not. warmup: share
    of steps in which the learning rate rises. ramp: share of steps in which the regularisers'
    weights rise quadratically (0: full weight from the start). dropout: None keeps the model's own.
    steps, where given, replaces epochs: objectives that can use different numbers of turns are so
    compared at equal cost. min_depth: shallowest turn to learn from; a first turn (depth 1) is its
    own rewrite and teaches the least. documents: "frozen" keeps their vectors as they are;
    "trained" trains an encoder of their own beside the queries'.
    """

    objective: Mapping[str, Any] = field(
        default_factory=lambda: {"kl_divergence": 0.99, "info_nce": 0.01, "l1": 1e-3}
    )
    input: str = "conversation"
    limits: Limits = Limits()
    sampler: Sampler = WindowSampler()
    epochs: float = 5
    steps: int | None = None
    min_depth: int = 1
    batch_size: int = 10
    learning_rate: float = 2e-5
    warmup: float = 0.01
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    ramp: float = 0.0
    dropout: float | None = None
    document_length: int = 256
    seed: int = 123
    documents: str = "frozen"

    def __post_init__(self) -> None:
        for name, allowed in _RANGES.items():
            value = getattr(self, name)
            if not (value is None and name in _OPTIONAL):
                check_number(name, value, allowed)
        if not isinstance(self.objective, Mapping):
            raise DiscoError(
                f"Setting 'objective' is {self.objective!r}; give a loss and its weight, as in "
                "{kl_divergence: 1.0}."
            )
        if self.input not in INPUTS and not str(self.input).startswith("rewrite:"):
            raise DiscoError(f"Setting 'input' is {self.input!r}; use one of {', '.join(INPUTS)}.")
        if self.documents not in _DOCUMENTS:
            raise DiscoError(
                f"Setting 'documents' is {self.documents!r}; use one of {', '.join(_DOCUMENTS)}."
            )
        if not isinstance(self.limits, Limits):
            there = ", ".join(f.name for f in dataclasses.fields(Limits))
            raise DiscoError(f"Setting 'limits' is {self.limits!r}; give a mapping of: {there}.")
        if not isinstance(self.sampler, Sampler):
            raise DiscoError(
                f"Setting 'sampler' is {self.sampler!r}; give a mapping of its settings, with one "
                f"of these as its kind: {', '.join(KINDS)}."
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DistilSettings:
        """Settings from a mapping, as YAML holds them.

        DiscoError names a setting that does not exist, or whose value is of the wrong form.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise DiscoError(f"No setting {unknown[0]!r}; there are: {', '.join(sorted(known))}.")
        nested = {
            name: number_if_written_so(value) if name in _RANGES else value
            for name, value in values.items()
        }
        if isinstance(nested.get("limits"), Mapping):
            check_fields("limits", Limits, nested["limits"])
            nested["limits"] = Limits(**nested["limits"])
        if isinstance(nested.get("sampler"), Mapping):
            nested["sampler"] = sampler_from_dict(nested["sampler"])
        return cls(**nested)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values, by whose hash a student is found again."""
        values = dataclasses.asdict(self) | {"sampler": self.sampler.to_dict()}
        values = json.loads(json.dumps(values))
        absent = object()
        return {k: v for k, v in values.items() if _UNWRITTEN.get(k, absent) != v}
