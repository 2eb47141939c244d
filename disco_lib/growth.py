"""Growth: a larger encoder that, at first, says exactly what the smaller one says."""

from __future__ import annotations

import copy

import torch
from torch import nn
from transformers import BertForMaskedLM

from disco_lib.encoders import SpladeEncoder
from disco_lib.errors import DiscoError

SEED = 0


def grow(
    encoder: SpladeEncoder, layers: int | None = None, feed_forward: int | None = None
) -> SpladeEncoder:
    """A larger encoder of BERT's kind, in layers or feed-forward units, that gives equal vectors.

    What is new contributes nothing until it is trained: its outgoing weights are 0, its incoming
    ones those of the layer below, or for feed-forward units drawn with the deviation of those that
    are there (Net2Net's idea, Chen et al., ICLR 2016). layers: number of transformer layers;
    feed_forward: units of each feed-forward part; None keeps what there is. A layer of BERT ends in
    a layer norm, LN(x) = g u + b with u standardised: the layer below keeps u alone, and the new
    one, whose sublayers add 0, has g and b, so that vectors are equal up to rounding. Raises
    DiscoError for an encoder of another kind, and for sizes below its own.
    """
    if not isinstance(encoder.model, BertForMaskedLM):
        raise DiscoError(f"Only BERT can grow, not {type(encoder.model).__name__}.")
    grown = copy.deepcopy(encoder)
    config = grown.model.config
    wanted = {"num_hidden_layers": layers, "intermediate_size": feed_forward}
    for name, size in wanted.items():
        if size is not None and size < getattr(config, name):
            raise DiscoError(f"{name} is {getattr(config, name)} and can grow, not become {size}.")
    if feed_forward is not None:
        generator = torch.Generator().manual_seed(SEED)
        for layer in grown.model.bert.encoder.layer:
            _widen(layer, feed_forward, generator)
        config.intermediate_size = feed_forward
    if layers is not None:
        grown.model.bert.encoder.layer = _deepen(grown.model.bert.encoder.layer, layers)
        config.num_hidden_layers = layers
    return grown.eval()


def _deepen(stack: nn.ModuleList, layers: int) -> nn.ModuleList:
    # New layers are spread over the old ones: each follows the layer that it is a copy of.
    each, more = divmod(layers, len(stack))
    deep: list[nn.Module] = []
    for place, layer in enumerate(stack):
        deep.append(layer)
        for _ in range(each - 1 + (place < more)):
            deep.append(_silent_copy(deep[-1]))
    for number, layer in enumerate(deep):
        if hasattr(layer.attention.self, "layer_idx"):
            layer.attention.self.layer_idx = number
    return nn.ModuleList(deep)


@torch.no_grad()
def _silent_copy(layer: nn.Module) -> nn.Module:
    new = copy.deepcopy(layer)
    for part in (new.attention.output.dense, new.output.dense):
        nn.init.zeros_(part.weight)
        nn.init.zeros_(part.bias)
    # Standardising twice is standardising once; scale and shift move up to the new layer's end.
    for norm in (new.attention.output.LayerNorm, layer.output.LayerNorm):
        nn.init.ones_(norm.weight)
        nn.init.zeros_(norm.bias)
    return new


@torch.no_grad()
def _widen(layer: nn.Module, units: int, generator: torch.Generator) -> None:
    old_in, old_out = layer.intermediate.dense, layer.output.dense
    width, there = old_in.in_features, old_in.out_features
    new_in, new_out = nn.Linear(width, units), nn.Linear(units, width)
    drawn = torch.randn(new_in.weight.shape, generator=generator)
    new_in.weight.copy_(drawn * old_in.weight.std().cpu())
    nn.init.zeros_(new_in.bias)
    nn.init.zeros_(new_out.weight)
    new_in.weight[:there] = old_in.weight.cpu()
    new_in.bias[:there] = old_in.bias.cpu()
    new_out.weight[:, :there] = old_out.weight.cpu()
    new_out.bias.copy_(old_out.bias.cpu())
    layer.intermediate.dense = new_in.to(old_in.weight.device)
    layer.output.dense = new_out.to(old_out.weight.device)
