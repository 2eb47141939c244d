"""The vocabulary max-pooling of SPLADE, exact, without a (batch, length, vocabulary) graph.

SPLADE scores a vocabulary entry by its best position (Formal et al., 2021):

    w_j = max_i log(1 + relu(h_i . e_j + b_j))

log(1 + relu(x)) never falls with x, so the maximum can be taken over logits, and an entry whose
largest logit is not positive is 0 with gradient 0. Three steps use that:

1. without a graph, slice by slice of the vocabulary: an upper bound of each entry's largest logit.
   Where the processor multiplies bfloat16 fast, the product is made in bfloat16, and what rounding
   can have taken away is added to the bound;
2. for the few entries whose bound is positive: exact logits at every position, and the best one;
3. with a graph: one dot product for each entry that is active.

Value and gradient are those of the naive head, up to the rounding of a dot product.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

VOCABULARY_SLICE = 4096
# Half the distance of 1 to the next bfloat16: the largest relative error of rounding to bfloat16.
BFLOAT16_ROUNDING = 2.0**-8


def splade_max(
    hidden: Tensor, attention_mask: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """SPLADE vectors (batch, vocabulary), differentiable in hidden, weight and bias.

    hidden (batch, length, width), attention_mask (batch, length), weight (vocabulary, width),
    bias (vocabulary). Memory with a graph grows with the number of active entries, not with
    length times vocabulary. A text without an active entry gives a row of zeros.
    """
    text, entry, position = active_entries(hidden, attention_mask, weight, bias)
    logits = (hidden[text, position] * weight[entry]).sum(-1)
    if bias is not None:
        logits = logits + bias[entry]
    # Rounding may turn a tiny positive logit into a negative one.
    active = torch.log1p(torch.relu(logits))
    vectors = active.new_zeros(hidden.shape[0], weight.shape[0])
    return vectors.index_put((text, entry), active)


@torch.no_grad()
def active_entries(
    hidden: Tensor,
    attention_mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    coarse: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Which entries are active in which text, and at which position their logit is largest.

    Shapes as in `splade_max`; returns three int64 tensors of one length: text, entry, position.
    coarse: the number format of step 1, by default bfloat16 where the processor is fast at it.
    """
    mask = attention_mask.bool()
    # A padded position repeats the text's first real one: it cannot change a maximum, and no mask
    # has to be applied to the large product.
    first = mask.int().argmax(dim=1)
    repeated = hidden[torch.arange(len(hidden), device=hidden.device), first]
    rows = torch.where(mask.unsqueeze(-1), hidden, repeated.unsqueeze(1))
    bound = _upper_bound(rows, weight, bias, coarse or _coarse_format(hidden))
    bound = bound.masked_fill(~mask.any(dim=1, keepdim=True), float("-inf"))
    # "Not at most 0" instead of "above 0": NaN must come out as NaN, not as an empty vector.
    found = [
        _best_positions(rows[i], weight, bias, torch.nonzero(~(bound[i] <= 0)).squeeze(1))
        for i in range(len(rows))
    ]
    counts = torch.tensor([len(entry) for entry, _ in found], device=hidden.device)
    text = torch.repeat_interleave(torch.arange(len(rows), device=hidden.device), counts)
    entry = torch.cat([entry for entry, _ in found])
    position = torch.cat([position for _, position in found])
    return text, entry, torch.where(mask[text, position], position, first[text])


def _upper_bound(rows: Tensor, weight: Tensor, bias: Tensor | None, coarse: torch.dtype) -> Tensor:
    low_rows, low_weight = rows.to(coarse), weight.to(coarse)
    bound = torch.cat([part.amax(dim=1) for part in _products(low_rows, low_weight)], dim=1)
    bound = bound.to(torch.promote_types(rows.dtype, torch.float32))
    if coarse == torch.bfloat16 and rows.dtype != torch.bfloat16:
        # |h.e - round(h).round(e)| <= (2u + u^2) |h| |e|, and the product is rounded once more;
        # the last factor covers the sum's own rounding.
        longest = rows.norm(dim=-1).amax(dim=1, keepdim=True) * weight.norm(dim=-1)
        lost = (2 + BFLOAT16_ROUNDING) * BFLOAT16_ROUNDING * longest
        bound = bound + (2 * BFLOAT16_ROUNDING * bound.abs() + lost) * 1.05
    return bound if bias is None else bound + bias


def _products(rows: Tensor, weight: Tensor) -> Iterator[Tensor]:
    for start in range(0, weight.shape[0], VOCABULARY_SLICE):
        yield torch.nn.functional.linear(rows, weight[start : start + VOCABULARY_SLICE])


def _best_positions(
    rows: Tensor, weight: Tensor, bias: Tensor | None, candidates: Tensor
) -> tuple[Tensor, Tensor]:
    logits = torch.nn.functional.linear(
        rows, weight[candidates], None if bias is None else bias[candidates]
    )
    best, position = logits.max(dim=0)
    active = ~(best <= 0)
    return candidates[active], position[active]


def _coarse_format(hidden: Tensor) -> torch.dtype:
    fast = hidden.device.type == "cpu" and torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast and hidden.dtype == torch.float32 else hidden.dtype
