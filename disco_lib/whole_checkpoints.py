"""transformers' Trainer with whole checkpoints, and the parts of a loss in its log."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import Trainer

from disco_lib.errors import IntegrityError
from disco_lib.storage import atomic_folder, open_sealed, remove_leftovers


class WholeCheckpointTrainer(Trainer):
    """A Trainer whose checkpoints are sealed with checksums, and of which the last one is kept."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._sums: dict[str, float] = {}
        self._count = 0
        self._staging: Path | None = None

    def note(self, parts: Mapping[str, Tensor]) -> None:
        """Add a batch's numbers to those whose means the next log entry holds."""
        for name, value in parts.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value.detach())
        self._count += 1

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the mean of each noted number since the last entry."""
        if "loss" in logs and self._count:
            logs |= {name: total / self._count for name, total in self._sums.items()}
            self._sums, self._count = {}, 0
        super().log(logs, start_time)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._staging or self.args.output_dir)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        # Written aside, sealed, then renamed: a checkpoint is whole or not there.
        work = Path(self.args.output_dir)
        target = work / f"checkpoint-{self.state.global_step}"
        remove_leftovers(target)
        with atomic_folder(target) as part:
            self._staging = part / "staging"
            super()._save_checkpoint(model, trial)
            self._staging = None
            for file in (part / "staging" / target.name).iterdir():
                file.rename(part / file.name)
            shutil.rmtree(part / "staging")
        for old in work.glob("checkpoint-*"):
            if old != target:
                shutil.rmtree(old)


def last_checkpoint(work: Path, rebuild: str) -> str | None:
    """The latest whole checkpoint below a folder, None without one; damaged ones are removed."""
    found = sorted(work.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1]))
    for checkpoint in found:
        try:
            open_sealed(checkpoint, rebuild)
            return str(checkpoint)
        except IntegrityError:
            shutil.rmtree(checkpoint)
    return None
