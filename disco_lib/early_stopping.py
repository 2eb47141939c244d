"""Early stopping: the weights of the lowest validation loss, and when patience ends."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import EarlyStoppingCallback

_FILE, _LOSS = "best_weights.safetensors", "validation_loss"


class Patience(EarlyStoppingCallback):
    """transformers' EarlyStoppingCallback where the trainer keeps the best weights itself."""

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Nothing: transformers' own warns that the best weights are not loaded at the end."""


class BestWeights:
    """A copy of a model's weights at its lowest validation loss; written into checkpoints."""

    def __init__(self, loss: float = math.inf, weights: dict[str, Tensor] | None = None) -> None:
        self.loss, self.weights = loss, weights

    def see(self, loss: float, model: nn.Module) -> None:
        """Keep the model's weights if the loss is below every one before."""
        if loss < self.loss:
            held = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
            self.loss, self.weights = loss, held

    def restore(self, model: nn.Module) -> None:
        """Give the model the best weights, where there are any."""
        if self.weights is not None:
            model.load_state_dict(self.weights)

    def save(self, folder: Path) -> None:
        """Write the weights and their loss into a folder, where there are any."""
        if self.weights is not None:
            loss = {_LOSS: torch.tensor(self.loss, dtype=torch.float64)}
            own = {name: tensor.contiguous() for name, tensor in self.weights.items()}
            save_file(own | loss, folder / _FILE)

    @classmethod
    def load(cls, folder: Path) -> BestWeights:
        """What `save` wrote; without weights where it wrote none."""
        if not (folder / _FILE).is_file():
            return cls()
        held = load_file(folder / _FILE)
        return cls(float(held.pop(_LOSS)), held)
