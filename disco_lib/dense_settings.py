"""DenseSettings: everything that decides a dense student's weights, checked where it is written."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from disco_lib.dense_head import LAYER_NORMS, POOLINGS
from disco_lib.dense_losses import DenseObjective
from disco_lib.dense_negatives import KINDS, InBatchNegatives, Negatives, negatives_from_dict
from disco_lib.errors import DiscoError
from disco_lib.nested_settings import Range, check_number, number_if_written_so
from disco_lib.selection import RULES, PercentileRule, Rule, rule_from_dict

_RANGES: dict[str, Range] = {
    "share": (float, None, 1),
    "keep": (float, None, 1),
    "queue": (int, 0, math.inf),
    "layers": (int, 1, math.inf),
    "projection": (int, 1, math.inf),
    "head_dropout": (float, 0, 1),
    "epochs": (float, None, math.inf),
    "steps": (int, 1, math.inf),
    "patience": (int, 1, math.inf),
    "validation": (float, None, 0.5),
    "batch_size": (int, 1, math.inf),
    "learning_rate": (float, None, math.inf),
    "warmup": (float, 0, 1),
    "weight_decay": (float, 0, math.inf),
    "max_grad_norm": (float, 0, math.inf),
    "dropout": (float, 0, 1),
    "query_length": (int, 2, math.inf),
    "document_length": (int, 2, math.inf),
    "seed": (int, 0, 2**32 - 1),
}
_OPTIONAL = ("keep", "layers", "projection", "steps", "patience", "dropout")


@dataclass(frozen=True)
class DenseSettings:
    """Everything that decides a dense student's weights, besides teacher, pairs and start.

    The defaults are the report's (its sections 3.4 to 3.7). objective: see `DenseObjective`.
    selection, negatives: rules, or mappings of them with their kind. share: of the pairs that there
    are, drawn at random before the selection. keep: where given, a share of those pairs to which
    the selected ones are cut at random, so that rules can be compared at equal numbers of pairs; a
    rule that keeps fewer keeps its own. queue: document vectors in a memory bank of further
    negatives, 0 for none. layers: the first so many of the start's, None for all. projection:
    dimensions of the head, None for no head. steps, where given, replaces epochs, passes over the
    selected pairs. patience, where given, stops the training early: a share `validation` of the
    selected pairs, drawn at random, is not trained on, its loss is measured after every pass, the
    training ends after so many passes in a row that do not lower it, and the weights of its lowest
    are kept. warmup: share of steps in which the learning rate rises. dropout: of the transformer,
    None keeps its own. query_length, document_length: in tokens.
    """

    objective: Mapping[str, Any] = field(
        default_factory=lambda: {
            "contrastive": {"weight": 1.0, "temperature": 0.1},
            "diagonal_mse": 0.1,
        }
    )
    selection: Rule = PercentileRule(80.0)
    share: float = 1.0
    keep: float | None = None
    negatives: Negatives = InBatchNegatives()
    queue: int = 0
    layers: int | None = None
    pooling: str = "cls"
    projection: int | None = 256
    layer_norm: str | None = None
    head_dropout: float = 0.1
    epochs: float = 8
    steps: int | None = None
    patience: int | None = None
    validation: float = 0.1
    batch_size: int = 16
    learning_rate: float = 5e-5
    warmup: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    dropout: float | None = None
    query_length: int = 64
    document_length: int = 256
    seed: int = 123

    def __post_init__(self) -> None:
        for name, allowed in _RANGES.items():
            value = getattr(self, name)
            if not (value is None and name in _OPTIONAL):
                check_number(name, value, allowed)
        if not isinstance(self.objective, Mapping):
            raise DiscoError(
                f"Setting 'objective' is {self.objective!r}; give a loss and its weight, as in "
                "{contrastive: 1.0}."
            )
        DenseObjective(self.objective)  # tells of a loss that there is not
        for name, kind, known in (
            ("selection", Rule, RULES),
            ("negatives", Negatives, KINDS),
        ):
            if not isinstance(getattr(self, name), kind):
                raise DiscoError(
                    f"Setting {name!r} is {getattr(self, name)!r}; give a mapping with one of "
                    f"these as its kind: {', '.join(known)}."
                )
        for name, allowed in (("pooling", POOLINGS), ("layer_norm", LAYER_NORMS)):
            if getattr(self, name) not in allowed:
                known = ", ".join(map(str, allowed))
                raise DiscoError(
                    f"Setting {name!r} is {getattr(self, name)!r}; use one of {known}."
                )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DenseSettings:
        """Settings from a mapping, as YAML holds them.

        DiscoError names a setting that does not exist, or whose value is of the wrong form.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(map(str, values)) - known)
        if unknown:
            raise DiscoError(f"No setting {unknown[0]!r}; there are: {', '.join(sorted(known))}.")
        nested = {
            name: number_if_written_so(value) if name in _RANGES else value
            for name, value in values.items()
        }
        for name, read in (("selection", rule_from_dict), ("negatives", negatives_from_dict)):
            if isinstance(nested.get(name), Mapping):
                nested[name] = read(nested[name])
        return cls(**nested)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values, by whose hash a student is found again."""
        nested = {"selection": self.selection.to_dict(), "negatives": self.negatives.to_dict()}
        return json.loads(json.dumps(dataclasses.asdict(self) | nested))
