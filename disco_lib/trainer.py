"""transformers' Trainer for students: the objective of a batch, and how sparse it makes them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from disco_lib.document_side import DocumentSide, FrozenDocuments, TrainedDocuments, TwoEncoders
from disco_lib.encoders import SpladeEncoder
from disco_lib.losses import Batch, Objective
from disco_lib.whole_checkpoints import WholeCheckpointTrainer

WEIGHTS = "model.safetensors"
DOCUMENT_WEIGHTS = "document_model.safetensors"


class DistilTrainer(WholeCheckpointTrainer):
    """transformers' Trainer with the objective's parts in its log and whole checkpoints.

    Beside the parts a log entry holds active_terms, those of a query, and flops_metric
    (`sparsity.flops`): of the batch's queries and the whole collection, or, where documents are
    trained, of the batch's documents, and then document_active_terms too.
    """

    def __init__(
        self,
        encoder: SpladeEncoder,
        objective: Objective,
        documents: DocumentSide,
        ramp_steps: int,
        **arguments: Any,
    ) -> None:
        trained = isinstance(documents, TrainedDocuments)
        model = TwoEncoders(encoder, documents.encoder) if trained else encoder.model
        super().__init__(model=model, **arguments)
        self.encoder, self.objective, self.ramp_steps = encoder, objective, ramp_steps
        self.documents = documents

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The objective of one batch; its parts are added up for the next log entry."""
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        if isinstance(self.documents, FrozenDocuments):
            queries, vectors = self.encoder(ids, mask).float(), inputs.get("document_vectors")
        else:
            queries, vectors = model(ids, mask, inputs["document_tokens"])
        batch = score(queries, vectors, inputs, self.documents, self.objective)
        parts = self.objective(batch, self._regularisation())
        self._note(parts, batch)
        return parts["loss"]

    def _regularisation(self) -> float:
        if self.ramp_steps <= 0:
            return 1.0
        return min(1.0, (self.state.global_step + 1) / self.ramp_steps) ** 2

    def _note(self, parts: Mapping[str, Tensor], batch: Batch) -> None:
        active = (batch.queries.detach() > 0).float()
        documents = self.documents.activation(batch.document_vectors).to(active.device)
        sparsity = {
            "active_terms": active.sum(-1).mean(),
            "flops_metric": (active.mean(0) * documents).sum(),
        }
        if batch.documents_trained:
            sparsity["document_active_terms"] = documents.sum()
        self.note({k: v for k, v in {**parts, **sparsity}.items() if k != "loss"})

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        if isinstance(self.documents, FrozenDocuments):
            super()._save(output_dir, state_dict)
            return
        # Not as one model: the two share a layout, and each ties weights of its own.
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.encoder.model, str(folder / WEIGHTS))
        save_model(self.documents.encoder.model, str(folder / DOCUMENT_WEIGHTS))

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        if isinstance(self.documents, FrozenDocuments):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        folder = Path(resume_from_checkpoint)
        load_model(self.encoder.model, folder / WEIGHTS)
        load_model(self.documents.encoder.model, folder / DOCUMENT_WEIGHTS)


def score(
    queries: Tensor,
    vectors: Tensor | None,
    inputs: dict[str, Any],
    documents: DocumentSide,
    objective: Objective,
) -> Batch:
    """What the losses look at, of queries (batch, vocabulary) and what the collator drew for them.

    vectors (documents, vocabulary): of the batch's distinct documents; None where no loss looks at
    frozen ones.
    """
    chosen = inputs["chosen"]
    n_queries, n_documents = chosen.shape
    with torch.autocast(queries.device.type, enabled=False):
        every = documents.scores(queries, vectors, inputs)
    blocks = every.reshape(n_queries, n_queries, n_documents)
    whole = objective.needs_batch_scores
    return Batch(
        queries,
        blocks[torch.arange(n_queries), torch.arange(n_queries)],
        inputs["teacher_scores"],
        inputs["positive"],
        every if whole else None,
        _duplicates(chosen) if whole else None,
        inputs.get("teacher_queries"),
        inputs.get("positive_documents"),
        vectors,
        isinstance(documents, TrainedDocuments),
        inputs.get("all_teacher_scores"),
    )


def _duplicates(chosen: Tensor) -> Tensor:
    n_queries, n_documents = chosen.shape
    same = (chosen.reshape(1, -1, 1) == chosen.reshape(n_queries, 1, n_documents)).any(-1)
    owner = torch.arange(n_queries, device=chosen.device).repeat_interleave(n_documents)
    return same & (owner != torch.arange(n_queries, device=chosen.device).unsqueeze(1))
