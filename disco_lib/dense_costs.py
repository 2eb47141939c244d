"""What dense encoders cost, in floating-point operations, counted by torch as they run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from disco_lib.dense_encoder import DenseEncoder

#: A training step costs its forward pass and, for the gradients, twice as much again.
TRAINING = 3


def encoding_flops(encoder: DenseEncoder, lengths: Iterable[int]) -> np.ndarray:
    """Floating-point operations of encoding texts of these lengths alone, int64 (texts,).

    lengths: in tokens, special tokens included. A product and its addition count as 2. Counted by
    running the encoder once for each distinct length; look-ups, norms and softmaxes do not count.
    """
    lengths = np.asarray(list(lengths), dtype=np.int64)
    counted = {int(n): _flops_of_length(encoder, int(n)) for n in np.unique(lengths)}
    return np.array([counted[int(n)] for n in lengths], dtype=np.int64)


def training_flops(
    encoder: DenseEncoder,
    queries: Sequence[Sequence[int]],
    documents: Sequence[Sequence[int]],
    shown: float,
    negatives: int = 0,
) -> float:
    """Operations of a training, forward and backward, without padding.

    queries, documents: token ids of the pairs that it learns from. shown: how often it shows each
    on the average. negatives: further documents that are encoded with each pair, of average length.
    """
    each = encoding_flops(encoder, map(len, queries)).sum()
    texts = encoding_flops(encoder, map(len, documents)).sum()
    return float(TRAINING * shown * (each + (1 + negatives) * texts))


def _flops_of_length(encoder: DenseEncoder, length: int) -> int:
    ids = torch.full((1, max(1, length)), encoder.tokenizer.pad_token_id, device=encoder.device)
    config, was_training = encoder.model.config, encoder.training
    before = config._attn_implementation
    encoder.eval()
    encoder.model.set_attn_implementation("eager")  # as products that the counter knows
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            encoder(ids, torch.ones_like(ids))
    finally:
        encoder.model.set_attn_implementation(before)
        encoder.train(was_training)
    return int(counter.get_total_flops())
