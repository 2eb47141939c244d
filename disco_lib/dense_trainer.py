"""transformers' Trainer for dense students: a batch of pairs, its objective, a memory bank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from disco_lib.dense_collator import columns_of, teacher_scores
from disco_lib.dense_encoder import DenseEncoder
from disco_lib.dense_losses import DenseBatch, DenseObjective
from disco_lib.dense_negatives import MemoryBank
from disco_lib.early_stopping import BestWeights
from disco_lib.pair_set import PairSet
from disco_lib.trainer_arguments import VALIDATION_LOSS
from disco_lib.whole_checkpoints import WholeCheckpointTrainer

BANK = "memory_bank.safetensors"


class DenseTrainer(WholeCheckpointTrainer):
    """transformers' Trainer with the hybrid objective of a batch of pairs.

    Beside the objective's parts a log entry holds own_similarity and other_similarity, the mean
    cosines that the student gives the batch's pairs and everything else in it, and teacher_score,
    the teacher's of the pairs. eval_dataset: batches of pairs that are held out, whose loss is
    measured where the arguments ask for it; `best` then holds the weights of the lowest.
    """

    def __init__(
        self,
        encoder: DenseEncoder,
        objective: DenseObjective,
        pairs: PairSet,
        queue: int = 0,
        **arguments: Any,
    ) -> None:
        super().__init__(model=encoder, **arguments)
        self.encoder, self.objective, self.pairs = encoder, objective, pairs
        self.bank = MemoryBank(queue) if queue else None
        self.best = BestWeights()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The objective of one batch; its parts are added up for the next log entry."""
        queries = model(inputs["query_ids"], inputs["query_mask"])
        documents = model(inputs["document_ids"], inputs["document_mask"])
        # Cosines that are divided by a small temperature need more digits than bfloat16 has.
        with torch.autocast(queries.device.type, enabled=False):
            batch = self._batch(inputs, queries.float(), documents.float())
            parts = self.objective(batch)
            if model.training:
                self._note(parts, batch)
        return parts["loss"]

    @torch.no_grad()
    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The mean loss of the batches that are held out, without dropout; the best is kept."""
        self.model.eval()
        losses = []
        for items in self.eval_dataset or ():
            inputs = self._prepare_inputs(self.data_collator(items))
            with self.compute_loss_context_manager():
                losses.append(float(self.compute_loss(self.model, inputs)))
        self.model.train()
        metrics = {VALIDATION_LOSS: sum(losses) / len(losses)}
        self.log(dict(metrics))
        self.best.see(metrics[VALIDATION_LOSS], self.model)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        # From a checkpoint of the step at which patience ended, a training would go on.
        if self.control.should_training_stop and self.state.global_step < self.state.max_steps:
            return
        super()._save_checkpoint(model, trial)

    def _batch(self, inputs: dict[str, Any], queries: Tensor, documents: Tensor) -> DenseBatch:
        columns, vectors = columns_of(inputs), documents
        if self.bank is not None:
            joined, all_columns = self.bank.join(documents, columns)
            own = len(queries)
            if self.model.training:
                self.bank.push(documents[:own], columns.documents[:own])
            columns, vectors = all_columns, joined
        matrix = self.objective.needs_teacher_matrix
        teacher = teacher_scores(self.pairs, inputs, columns, matrix).to(queries)
        repeated = torch.as_tensor(columns.duplicates, device=queries.device)
        return DenseBatch(queries, vectors, teacher, repeated)

    def _note(self, parts: dict[str, Tensor], batch: DenseBatch) -> None:
        scores = batch.similarities.detach()
        own = torch.eye(*scores.shape, dtype=torch.bool, device=scores.device)
        teacher = batch.teacher if batch.teacher.ndim == 1 else batch.teacher.diagonal()
        seen = {"own_similarity": scores[own].mean(), "teacher_score": teacher.mean()}
        if scores.numel() > len(scores):
            seen["other_similarity"] = scores[~own].mean()
        self.note({name: value for name, value in parts.items() if name != "loss"} | seen)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        self.best.save(Path(output_dir or self.args.output_dir))
        if self.bank is not None and self.bank.vectors is not None:
            numbers = torch.as_tensor(self.bank.numbers)
            held = {"vectors": self.bank.vectors.contiguous(), "numbers": numbers}
            save_file(held, Path(output_dir or self.args.output_dir) / BANK)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.best = BestWeights.load(Path(resume_from_checkpoint))
        kept = Path(resume_from_checkpoint) / BANK
        if self.bank is not None and kept.is_file():
            held = load_file(kept, device=str(self.encoder.device))
            self.bank.push(held["vectors"], held["numbers"].cpu().numpy())
