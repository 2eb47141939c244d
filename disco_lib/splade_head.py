"""The vocabulary max-pooling of SPLADE, exact, without a (batch, length, vocabulary) graph.

SPLADE scores a vocabulary entry by its best position (Formal et al., 2021):

    w_j = max_i log(1 + relu(h_i . e_j + b_j))

log(1 + relu(x)) never falls with x, so the maximum can be taken over logits first. Two passes:

1. without a graph, slice by slice of the vocabulary: the largest logit and its position;
2. with a graph, only for entries whose largest logit is positive: one dot product each.

An entry whose largest logit is not positive is 0 and has gradient 0 in the naive head too, so value
and gradient are the naive head's, up to the rounding of a dot product.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

VOCABULARY_SLICE = 4096


def max_logits(
    hidden: Tensor, attention_mask: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Largest logit of each vocabulary entry over a text's positions, and where it stands.

    hidden (batch, length, width), attention_mask (batch, length), weight (vocabulary, width),
    bias (vocabulary) -> two (batch, vocabulary) tensors: logits, and int64 positions. No graph.
    """
    with torch.no_grad():
        rows = _repeat_first(hidden, attention_mask)
        best = [logits.max(dim=1) for logits in _sliced_logits(rows, weight, bias)]
        position = torch.cat([indices for _, indices in best], dim=1)
        real = attention_mask.bool().gather(1, position)
        return torch.cat([values for values, _ in best], dim=1), torch.where(real, position, 0)


def splade_max(
    hidden: Tensor, attention_mask: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """SPLADE vectors (batch, vocabulary), differentiable in hidden, weight and bias.

    Shapes as in `max_logits`. Memory with a graph grows with the number of active entries, not
    with length times vocabulary. A text without an active entry gives a row of zeros.
    """
    if not torch.is_grad_enabled():
        rows = _repeat_first(hidden, attention_mask)
        best = [logits.amax(dim=1) for logits in _sliced_logits(rows, weight, bias)]
        return torch.log1p(torch.relu(torch.cat(best, dim=1)))
    value, position = max_logits(hidden, attention_mask, weight, bias)
    text, entry = torch.nonzero(value > 0, as_tuple=True)
    rows = hidden[text, position[text, entry]]
    logits = (rows * weight[entry]).sum(-1)
    if bias is not None:
        logits = logits + bias[entry]
    # Rounding may turn a tiny positive logit into a negative one.
    active = torch.log1p(torch.relu(logits))
    vectors = active.new_zeros(value.shape)
    return vectors.index_put((text, entry), active)


def _repeat_first(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    # A padded position repeats the text's first one: it cannot change a maximum, and no mask has
    # to be applied to the large product.
    return torch.where(attention_mask.bool().unsqueeze(-1), hidden, hidden[:, :1])


def _sliced_logits(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Iterator[Tensor]:
    for start in range(0, weight.shape[0], VOCABULARY_SLICE):
        part = slice(start, start + VOCABULARY_SLICE)
        yield torch.nn.functional.linear(rows, weight[part], None if bias is None else bias[part])
