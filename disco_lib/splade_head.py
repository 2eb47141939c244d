"""The vocabulary max-pooling of SPLADE, exact, without a (batch, length, vocabulary) graph.

SPLADE scores a vocabulary entry by its best position (Formal et al., 2021):

    w_j = max_i log(1 + relu(h_i . e_j + b_j))

log(1 + relu(x)) never falls with x, so the maximum can be taken over logits, and an entry whose
largest logit is not positive is 0 with gradient 0. Three steps use that:

1. without a graph, slice by slice of the vocabulary: an upper bound of each entry's largest logit.
   Where the processor multiplies bfloat16 fast, the product is made in bfloat16, and what rounding
   can have taken away is added to it;
2. for the few entries whose bound is positive: exact logits at every position, and the best one;
3. with a graph: one dot product for each entry that is active.

Value and gradient are those of the naive head, up to the rounding of a dot product.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from disco_lib.precision import multiplies_bfloat16

VOCABULARY_SLICE = 4096
ROWS = 128
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
    lengths = mask.sum(1).tolist()
    rows = hidden[mask]  # real positions alone, text after text
    bounds = _upper_bounds(rows, lengths, weight, bias, coarse or _coarse_format(hidden))
    # "Not at most 0" instead of "above 0": NaN must come out as NaN, not as an empty vector.
    found = [
        _best_positions(text, weight, bias, torch.nonzero(~(bound <= 0)).squeeze(1))
        if len(text)
        else (bound.new_empty(0, dtype=torch.long),) * 2
        for text, bound in zip(rows.split(lengths), bounds, strict=True)
    ]
    counts = torch.tensor([len(entry) for entry, _ in found], device=hidden.device)
    text = torch.repeat_interleave(torch.arange(len(lengths), device=hidden.device), counts)
    entry = torch.cat([entry for entry, _ in found])
    # A place among the real positions, and then among all.
    place = torch.cat([position for _, position in found])
    real = torch.argsort(~mask, dim=1, stable=True)
    return text, entry, real[text, place]


def _upper_bounds(
    rows: Tensor, lengths: list[int], weight: Tensor, bias: Tensor | None, coarse: torch.dtype
) -> Tensor:
    """Per text and entry a number, positive wherever a logit is: (texts, vocabulary)."""
    exact = coarse == rows.dtype
    offset = bias if exact else _rounded_up(rows, weight, bias)
    bounds = []
    for part, shift in _slices(weight.to(coarse), None if offset is None else offset.to(coarse)):
        logits = torch.nn.functional.linear(_padded(rows.to(coarse)), part, shift)
        texts = logits[: len(rows)].split(lengths)
        bounds.append(torch.stack([_largest(text) for text in texts]))
    return torch.cat(bounds, dim=1)


def _rounded_up(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # |h.e - round(h).round(e)| <= (2u + u^2) |h| |e|. Added to the bias, this keeps what stands for
    # a positive logit positive, and rounding a sum does not change its sign. The bias is rounded
    # too, and perhaps the product before it is added; the last factor covers the sums' rounding.
    longest = rows.norm(dim=-1).amax() if len(rows) else rows.new_zeros(())
    lost = (2 + BFLOAT16_ROUNDING) * BFLOAT16_ROUNDING * longest * weight.norm(dim=-1)
    if bias is not None:
        lost = lost + 4 * BFLOAT16_ROUNDING * (bias.abs() + lost)
    return lost * 1.05 + (0 if bias is None else bias)


def _slices(weight: Tensor, offset: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    for start in range(0, weight.shape[0], VOCABULARY_SLICE):
        chosen = slice(start, start + VOCABULARY_SLICE)
        yield weight[chosen], None if offset is None else offset[chosen]


def _padded(rows: Tensor) -> Tensor:
    # Few different shapes: libraries keep a compiled kernel for each.
    return torch.nn.functional.pad(rows, (0, 0, 0, -len(rows) % ROWS))


def _largest(logits: Tensor) -> Tensor:
    # Of each column, (positions, slice) -> (slice). As whole numbers, the bits of bfloat16 are in
    # the order of the values they stand for while one is positive or NaN: all that is asked here.
    if not len(logits):
        return logits.new_full(logits.shape[1:], float("-inf"))
    if logits.dtype == torch.bfloat16:
        return logits.view(torch.int16).amax(dim=0).view(torch.bfloat16)
    return logits.amax(dim=0)


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
    fast = hidden.device.type == "cpu" and multiplies_bfloat16(hidden.device)
    return torch.bfloat16 if fast and hidden.dtype == torch.float32 else hidden.dtype
