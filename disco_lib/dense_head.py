"""What follows a dense encoder's pooling: projection, and its place in a folder of modules.

A folder in sentence-transformers' layout lists its modules in modules.json: the transformer, the
pooling, and what a head is made of, each with its own folder (2_Dense, 3_LayerNorm, 4_Normalize).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.utils import cached_file

from disco_lib.errors import DiscoError
from disco_lib.storage import read_json, write_json

POOLINGS = ("mean", "cls")
LAYER_NORMS = ("before", "after", None)

_PACKAGE = "sentence_transformers.models"
_ACTIVATION = "torch.nn.modules.linear.Identity"
_OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True)
class Layout:
    """The way from hidden states to a vector, as a folder's modules.json says it.

    pooling: "mean" or "cls". head: dropout, layer norm and projections without an activation.
    """

    pooling: str
    head: nn.Sequential
    normalize: bool


def projection_head(
    width: int,
    dimensions: int,
    dropout: float = 0.1,
    layer_norm: str | None = None,
    seed: int = 0,
) -> nn.Sequential:
    """Dropout and z = W h + b (the report's equation 5), with weights drawn by `seed`.

    width: of the pooled hidden state. dimensions: of z. dropout in [0, 1), 0 for none. layer_norm:
    "before" or "after" the projection, or None. Raises DiscoError for other values.
    """
    if width < 1 or dimensions < 1:
        raise DiscoError(f"A projection from {width} to {dimensions} dimensions; give 1 or more.")
    if not 0 <= dropout < 1:
        raise DiscoError(f"dropout is {dropout}; it must lie in [0, 1).")
    if layer_norm not in LAYER_NORMS:
        raise DiscoError(f'layer_norm {layer_norm!r}; allowed: "before", "after", None.')
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        modules: list[nn.Module] = [nn.Linear(width, dimensions)]
    if layer_norm == "before":
        modules.insert(0, nn.LayerNorm(width))
    if dropout:
        modules.insert(len(modules) - 1, nn.Dropout(dropout))
    if layer_norm == "after":
        modules.append(nn.LayerNorm(dimensions))
    return nn.Sequential(*modules)


def head_width(head: nn.Sequential, width: int) -> int:
    """Dimensions that come out where `width` go in."""
    return next((m.out_features for m in reversed(head) if isinstance(m, nn.Linear)), width)


def write_layout(folder: Path, layout: Layout, width: int, positions: int) -> None:
    """Write modules.json and the modules' folders beside a saved transformer.

    width: of its hidden states. positions: tokens that it reads at most. Raises DiscoError for a
    head of other parts than those of `projection_head`.
    """
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": positions})
    pooling = {"embedding_dimension": width, "pooling_mode": layout.pooling}
    parts = [("Pooling", pooling, {}), *map(_written, layout.head)]
    parts += [("Normalize", {}, {})] if layout.normalize else []
    listed = [{"idx": 0, "name": "0", "path": "", "type": f"{_PACKAGE}.Transformer"}]
    for place, (kind, config, weights) in enumerate(parts, start=1):
        name = f"{place}_{kind}"
        write_json(folder / name / "config.json", config)
        if weights:
            save_file(weights, folder / name / "model.safetensors")
        about = {"idx": place, "name": str(place), "path": name, "type": f"{_PACKAGE}.{kind}"}
        listed.append(about)
    write_json(folder / "modules.json", listed)


def read_layout(source: str) -> Layout | None:
    """The layout of a folder or hub id; None for a transformer without modules.json.

    Only JSON and safetensors are read. Raises DiscoError for a module that a dense encoder here
    has not, naming it, and for one whose files are missing or do not fit.
    """
    listed = _file(source, "modules.json")
    if listed is None:
        return None
    modules = read_json(listed)
    if not isinstance(modules, list) or not all(isinstance(m, Mapping) for m in modules):
        raise DiscoError(f"{listed}: not a list of modules. Write the model again.")
    kinds = [str(m.get("type", "")).rpartition(".")[2] for m in modules]
    if kinds[:2] != ["Transformer", "Pooling"]:
        raise DiscoError(
            f"{source}: its modules are {', '.join(kinds) or 'none'}; a dense encoder begins with "
            "Transformer, Pooling."
        )
    folders = [_folder(source, module.get("path")) for module in modules[1:]]
    normalize = kinds[-1] == "Normalize"
    inner = list(zip(kinds[2:], folders[1:], strict=True))[: len(kinds) - 2 - normalize]
    head = [_loaded(source, kind, folder) for kind, folder in inner]
    return Layout(_pooling(_config(source, folders[0]), source), nn.Sequential(*head), normalize)


def _folder(source: str, path: Any) -> str:
    # One folder below the model's, so that no file from elsewhere is read.
    if not isinstance(path, str) or not re.fullmatch(r"\w[\w.-]*", path):
        raise DiscoError(f"{source}: modules.json names a module's folder {path!r}; give its name.")
    return path


def _pooling(config: Mapping[str, Any], source: str) -> str:
    mode = config.get("pooling_mode")
    if mode is None:
        mode = [name for key, name in _OLD_POOLINGS.items() if config.get(key)] or "mean"
    if isinstance(mode, list) and len(mode) == 1:
        mode = mode[0]
    if mode not in POOLINGS:
        raise DiscoError(f"{source}: its pooling is {mode!r}; known are: {', '.join(POOLINGS)}.")
    return mode


def _written(module: nn.Module) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """Kind, configuration and weights of a part of the head."""
    if isinstance(module, nn.Dropout):
        return "Dropout", {"dropout": module.p}, {}
    if isinstance(module, nn.LayerNorm):
        kind, config = "LayerNorm", {"dimension": module.normalized_shape[0]}
    elif not isinstance(module, nn.Linear):
        raise DiscoError(
            f"A head with {type(module).__name__} cannot be saved; use Dropout, LayerNorm, Linear."
        )
    else:
        kind = "Dense"
        config = {"in_features": module.in_features, "out_features": module.out_features}
        config |= {"bias": module.bias is not None, "activation_function": _ACTIVATION}
    prefix = _KINDS[kind][1]
    weights = {prefix + k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
    return kind, config, weights


def _dropout(config: Mapping[str, Any]) -> nn.Module:
    return nn.Dropout(float(config["dropout"]))


def _layer_norm(config: Mapping[str, Any]) -> nn.Module:
    return nn.LayerNorm(int(config["dimension"]))


def _dense(config: Mapping[str, Any]) -> nn.Module:
    if config.get("activation_function") != _ACTIVATION or config.get("use_residual"):
        raise ValueError(
            f"activation {config.get('activation_function')}, residual "
            f"{bool(config.get('use_residual'))}; known is a linear projection alone"
        )
    return nn.Linear(config["in_features"], config["out_features"], bool(config["bias"]))


_KINDS: dict[str, tuple[Callable[[Mapping[str, Any]], nn.Module], str]] = {
    "Dropout": (_dropout, ""),
    "LayerNorm": (_layer_norm, "norm."),
    "Dense": (_dense, "linear."),
}


def _loaded(source: str, kind: str, path: str) -> nn.Module:
    if kind not in _KINDS:
        there = ", ".join([*_KINDS, "Normalize (last)"])
        raise DiscoError(f"{source}: no module {kind} after the pooling; known are: {there}.")
    make, prefix = _KINDS[kind]
    try:
        module = make(_config(source, path))
        if prefix:
            weights = load_file(_needed(source, f"{path}/model.safetensors"))
            module.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items()})
    except (KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DiscoError(f"{source}/{path}: no {kind} can be loaded ({reason}).") from error
    return module


def _config(source: str, path: str) -> Mapping[str, Any]:
    config = read_json(Path(_needed(source, f"{path}/config.json")))
    if not isinstance(config, Mapping):
        raise DiscoError(f"{source}/{path}/config.json: not an object. Write the model again.")
    return config


def _needed(source: str, name: str) -> str:
    found = _file(source, name)
    if found is None:
        raise DiscoError(f"{source}/{name}: missing. Write or download the model again.")
    return str(found)


def _file(source: str, name: str) -> Path | None:
    folder = Path(source)
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    # None where a hub repository has no such file; OSError where that cannot be known.
    found = cached_file(source, name, _raise_exceptions_for_missing_entries=False)
    return None if found is None else Path(found)
