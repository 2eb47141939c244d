import shutil
from pathlib import Path

import pytest

from disco_lib import gguf_files
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.gguf_files import unpacked
from disco_lib.rewriting import LanguageModelRewriter
from disco_lib.weights import WEIGHTS, resolve


@pytest.fixture
def gguf():
    try:
        folder = resolve("smollm2")
    except DiscoError as error:
        pytest.skip(str(error))
    return Path(folder) / WEIGHTS["smollm2"].check


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DISCO_CACHE", str(tmp_path))
    yield tmp_path
    shutil.rmtree(tmp_path / "unpacked", ignore_errors=True)  # half a gigabyte


@pytest.mark.slow
def test_an_unpacked_model_is_the_model_of_the_file(gguf, cache, monkeypatch):
    monkeypatch.setattr(gguf_files, "LARGEST", 0)
    read = LanguageModelRewriter.from_pretrained(gguf)
    assert unpacked(gguf) is None and not (cache / "unpacked").exists()
    monkeypatch.setattr(gguf_files, "LARGEST", gguf.stat().st_size)
    loaded = LanguageModelRewriter.from_pretrained(gguf)
    assert loaded.fingerprint == read.fingerprint
    chat = [{"role": "user", "content": "Who wrote  “Hamlet”?\n"}]
    ids = [r.tokenizer.apply_chat_template(chat)["input_ids"] for r in (read, loaded)]
    assert ids[0] == ids[1] and len(ids[0]) > 10
    assert loaded.tokenizer.special_tokens_map == read.tokenizer.special_tokens_map

    folder = unpacked(gguf)
    assert folder == unpacked(gguf) and folder.parent.parent == cache
    weights = folder / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(IntegrityError, match=r"model\.safetensors: its bytes have changed.*remov"):
        LanguageModelRewriter.from_pretrained(gguf)


def test_nothing_is_kept_of_a_file_that_is_no_model(cache):
    file = cache / "model.gguf"
    file.write_bytes(b"not GGUF" * 100)
    with pytest.raises(DiscoError, match=r"model\.gguf: no language model can be loaded"):
        LanguageModelRewriter.from_pretrained(file)
    assert not list((cache / "unpacked").glob("*/*"))
