import json

import pytest
import torch
from torch import nn

from disco_lib.dense_head import Layout, head_width, projection_head, read_layout, write_layout
from disco_lib.errors import DiscoError, IntegrityError

TRANSFORMER = {"type": "sentence_transformers.models.Transformer", "path": ""}
POOLING = {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}
NORMALIZE = {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"}


def write_modules(folder, modules, pooling=None):
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling or {}))
    (folder / "modules.json").write_text(json.dumps(modules))
    return str(folder)


def kinds(head):
    return [type(module).__name__ for module in head]


# Heads


@pytest.mark.parametrize(
    ("dropout", "layer_norm", "expected"),
    [
        (0.1, None, ["Dropout", "Linear"]),
        (0.0, None, ["Linear"]),
        (0.1, "before", ["LayerNorm", "Dropout", "Linear"]),
        (0.1, "after", ["Dropout", "Linear", "LayerNorm"]),
    ],
)
def test_a_head_projects(dropout, layer_norm, expected):
    head = projection_head(16, 6, dropout, layer_norm).eval()
    assert kinds(head) == expected and head_width(head, 16) == 6
    assert head(torch.zeros(3, 16)).shape == (3, 6)


def test_a_head_without_layer_norm_is_equation_5():
    head = projection_head(4, 2, dropout=0.5).eval()
    hidden = torch.arange(12.0).reshape(3, 4)
    linear = head[-1]
    torch.testing.assert_close(head(hidden), hidden @ linear.weight.T + linear.bias)
    torch.manual_seed(0)
    assert not torch.equal(head.train()(hidden), head.eval()(hidden))


def test_the_seed_draws_the_weights_and_nothing_else():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first, second, other = (projection_head(8, 3, seed=s)[-1].weight for s in (1, 1, 2))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(torch.rand(1), expected), "a head must not move the caller's draws"


def test_no_head_leaves_the_width():
    assert head_width(nn.Sequential(), 16) == 16
    assert head_width(nn.Sequential(nn.Dropout(0.1), nn.LayerNorm(16)), 16) == 16


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"width": 0, "dimensions": 2}, "from 0 to 2 dimensions"),
        ({"width": 2, "dimensions": 0}, "from 2 to 0 dimensions"),
        ({"width": 2, "dimensions": 2, "dropout": 1.0}, "dropout is 1.0"),
        ({"width": 2, "dimensions": 2, "dropout": -0.1}, "dropout is -0.1"),
        ({"width": 2, "dimensions": 2, "layer_norm": "around"}, "layer_norm 'around'; allowed"),
    ],
)
def test_heads_that_cannot_be_are_named(options, problem):
    with pytest.raises(DiscoError, match=problem):
        projection_head(**options)


# Folders of modules


@pytest.mark.parametrize("layer_norm", [None, "before", "after"])
@pytest.mark.parametrize("normalize", [True, False])
def test_a_layout_there_and_back(tmp_path, layer_norm, normalize):
    head = projection_head(6, 4, 0.2, layer_norm).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    write_layout(tmp_path, Layout("cls", head, normalize), width=6, positions=64)
    found = read_layout(str(tmp_path))
    assert (found.pooling, found.normalize) == ("cls", normalize)
    assert kinds(found.head) == kinds(head)
    assert [m.p for m in found.head if isinstance(m, nn.Dropout)] == [0.2]
    hidden = torch.randn(3, 6)
    assert torch.equal(found.head.eval()(hidden), head(hidden))


def test_a_folder_without_modules_has_no_layout(tmp_path):
    assert read_layout(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": ["mean"]}, "mean"),
        ({}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
    ],
)
def test_poolings_old_and_new(tmp_path, pooling, expected):
    source = write_modules(tmp_path, [TRANSFORMER, POOLING, NORMALIZE], pooling)
    found = read_layout(source)
    assert found.pooling == expected and found.normalize and len(found.head) == 0


@pytest.mark.parametrize(
    ("modules", "problem"),
    [
        ({}, "not a list of modules"),
        (["Transformer"], "not a list of modules"),
        ([], "its modules are none"),
        ([TRANSFORMER], "its modules are Transformer; a dense encoder begins"),
        ([TRANSFORMER, {"type": "x.SpladePooling", "path": "1_P"}], "Transformer, SpladePooling"),
        ([TRANSFORMER, POOLING, {"type": "x.LSTM", "path": "2_LSTM"}], "no module LSTM after"),
        (
            [TRANSFORMER, POOLING, {"type": "x.Dense", "path": "2_Dense"}],
            "2_Dense/config.json: mis",
        ),
        ([TRANSFORMER, POOLING, {"type": "x.Dense", "path": "../2"}], "folder '../2'"),
        ([TRANSFORMER, POOLING, {"type": "x.Dense", "path": "/etc"}], "folder '/etc'"),
        ([TRANSFORMER, POOLING, {"type": "x.Dense"}], "folder None"),
    ],
)
def test_layouts_that_are_none_are_named(tmp_path, modules, problem):
    with pytest.raises(DiscoError, match=problem):
        read_layout(write_modules(tmp_path, modules))


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode": "max"},
        {"pooling_mode": ["cls", "mean"]},
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
    ],
)
def test_other_poolings_are_named(tmp_path, pooling):
    source = write_modules(tmp_path, [TRANSFORMER, POOLING], pooling)
    with pytest.raises(DiscoError, match="its pooling is .*known are: mean, cls"):
        read_layout(source)


def test_a_missing_pooling_is_named(tmp_path):
    source = write_modules(tmp_path, [TRANSFORMER, POOLING])
    (tmp_path / "1_Pooling" / "config.json").unlink()
    with pytest.raises(DiscoError, match="1_Pooling/config.json: missing"):
        read_layout(source)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"activation_function": "torch.nn.modules.activation.Tanh"}, "activation torch.nn.*Tanh"),
        ({"use_residual": True}, "residual True"),
        ({"in_features": 5}, "size mismatch"),
        ({"bias": False}, "Unexpected key"),
        ({"out_features": None}, "2_Dense: no Dense can be loaded"),
    ],
)
def test_projections_of_other_forms_are_named(tmp_path, config, problem):
    write_layout(tmp_path, Layout("mean", projection_head(6, 4, 0.0), False), 6, 64)
    path = tmp_path / "2_Dense" / "config.json"
    assert read_layout(str(tmp_path)).head[0].out_features == 4
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    with pytest.raises(DiscoError, match=problem):
        read_layout(str(tmp_path))


def test_a_head_of_other_parts_is_not_written(tmp_path):
    head = nn.Sequential(nn.Linear(6, 4), nn.Tanh())
    with pytest.raises(DiscoError, match="A head with Tanh cannot be saved"):
        write_layout(tmp_path, Layout("mean", head, False), 6, 64)


def test_pickled_weights_are_not_read(tmp_path):
    head = projection_head(6, 4, 0.0)
    write_layout(tmp_path, Layout("mean", head, False), 6, 64)
    (tmp_path / "2_Dense" / "model.safetensors").unlink()
    weights = {f"linear.{name}": tensor for name, tensor in head[0].state_dict().items()}
    torch.save(weights, tmp_path / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(DiscoError, match="2_Dense/model.safetensors: missing"):
        read_layout(str(tmp_path))


def test_broken_files_are_named(tmp_path):
    (tmp_path / "modules.json").write_text("[")
    with pytest.raises(IntegrityError, match="modules.json:1: not JSON"):
        read_layout(str(tmp_path))
    source = write_modules(tmp_path, [TRANSFORMER, POOLING])
    (tmp_path / "1_Pooling" / "config.json").write_text("[]")
    with pytest.raises(DiscoError, match="1_Pooling/config.json: not an object"):
        read_layout(source)
