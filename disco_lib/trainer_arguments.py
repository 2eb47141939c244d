"""How transformers' Trainer is set up for every student, sparse or dense."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    ProgressCallback,
    Trainer,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from disco_lib.dense_settings import DenseSettings
from disco_lib.distil_settings import DistilSettings

#: The Trainer's name of the loss of pairs that are held out.
VALIDATION_LOSS = "eval_loss"
#: They print each log entry, which the progress bar and the log's file already hold.
_PRINTERS = ("PrinterCallback", "NotebookProgressCallback")


def training_arguments(
    settings: DistilSettings | DenseSettings,
    work: Path,
    steps: int,
    save_steps: int,
    logging_steps: int,
    device: torch.device,
    bfloat16: bool,
    progress: bool,
    validate_steps: int | None = None,
) -> TrainingArguments:
    """The Trainer's arguments for a training of so many steps, checkpoints and all, below `work`.

    One epoch is the whole schedule, which is in its order already. logging_steps has to divide
    save_steps, so that a checkpoint falls on a log entry and no part's sum is lost with an
    interruption. bfloat16: forward passes in that format, weights in float32. validate_steps: steps
    between two measurements of a validation loss, None for none.
    """
    cuda = device.type == "cuda"
    validated: dict[str, Any] = {}
    if validate_steps is not None:
        validated = {
            "eval_strategy": "steps",
            "eval_steps": validate_steps,
            "metric_for_best_model": VALIDATION_LOSS,
            "greater_is_better": False,
            "restore_callback_states_from_checkpoint": True,
        }
    return TrainingArguments(
        **validated,
        output_dir=str(work),
        per_device_train_batch_size=settings.batch_size,
        num_train_epochs=1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=round(settings.warmup * steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        train_sampling_strategy="sequential",
        save_strategy="steps",
        save_steps=save_steps,
        logging_steps=logging_steps,
        logging_nan_inf_filter=False,
        bf16=bfloat16,
        use_cpu=not cuda,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        disable_tqdm=not progress,
        report_to=[],
        seed=settings.seed,
    )


class LossBar(ProgressCallback):
    """The Trainer's progress bar, with the loss beside it instead of a line for each log entry."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Show the newest loss."""
        if self.training_bar is not None and "loss" in (logs or {}):
            self.training_bar.set_postfix(loss=f"{float(logs['loss']):.4g}", refresh=False)


def without_printers(trainer: Trainer) -> None:
    """Take out the callbacks that print every log entry; the progress bar stays."""
    for callback in list(trainer.callback_handler.callbacks):
        if type(callback).__name__ in _PRINTERS:
            trainer.remove_callback(type(callback))
        elif type(callback) is ProgressCallback:
            trainer.remove_callback(ProgressCallback)
            trainer.add_callback(LossBar)
