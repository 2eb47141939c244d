"""A flipped byte or a missing file anywhere is found on opening, named, with how to rebuild it."""

import random
import shutil

import numpy as np
import pytest
from scipy import sparse
from typer.testing import CliRunner

from disco_lib import records
from disco_lib.cli import app
from disco_lib.encoders import SpladeEncoder
from disco_lib.errors import IntegrityError
from disco_lib.index import InvertedIndex
from disco_lib.records import Record, find, intervals, read_record, write_record
from disco_lib.storage import MANIFEST, settings_hash
from disco_lib.teachers import DistillationRun, teach
from disco_lib.training import DistilSettings, distil, read_log
from disco_lib.vectors import Vectors, load_vectors, save_vectors

pytestmark = pytest.mark.usefixtures("short_collections")

ARTEFACTS = ["vectors", "index", "index in bytes", "teacher", "student"]
COMMANDS = {"vectors": "encode", "index": "index", "teacher": "teach", "student": "distil"}


@pytest.fixture
def student(collection, encoder, tmp_path):
    settings = {
        "steps": 2, "batch_size": 4, "sampler": {"negatives": 4, "start": 0, "end": 20},
        "limits": {"utterance": 16, "answer": 16, "total": 48}, "document_length": 48,
    }  # fmt: skip
    teacher = teach(collection, "train", ["gold"], encoder, 20, max_length=48)
    given = DistilSettings.from_dict(settings)
    distil(encoder, collection, teacher, given, tmp_path / "student", progress=False)
    return tmp_path / "student"


@pytest.fixture
def artefact(request, collection, encoder, tmp_path):
    """A folder, how it is opened, and the command that makes it."""
    name = request.param.split()[0]
    folder = tmp_path / name
    # Above 64 KiB, a file of an index is checked by other sums.
    rows = sparse.random(6000, 60, 0.2, "csr", np.float32, np.random.default_rng(3))
    ids = [f"passage-{i}" for i in range(6000)]
    if name == "vectors":
        save_vectors(folder, Vectors(rows, ids, {}))
        return folder, load_vectors, "disco encode"
    if name == "index":
        storage = "uint8" if "bytes" in request.param else "float32"
        InvertedIndex.build(rows, ids, storage).save(folder)
        return folder, InvertedIndex.load, "disco index"
    if name == "teacher":
        teach(collection, "train", ["gold", "long"], encoder, 20, max_length=48).save(folder)
        return folder, lambda path: DistillationRun.load(path, collection.pids), "disco teach"
    return request.getfixturevalue("student"), SpladeEncoder.from_pretrained, "disco distil"


@pytest.mark.parametrize("artefact", ARTEFACTS, indirect=True)
def test_every_file_is_watched(artefact, full):
    folder, opened, command = artefact
    opened(folder)
    rng = random.Random(5)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 6 and sum(path.name == MANIFEST for path in files) == 1
    for path in files:
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(IntegrityError, match=command) as caught:
            opened(folder)
        # Of a missing manifest the folder is named.
        assert str(path) in str(caught.value) or f"{folder}: no {MANIFEST}" in str(caught.value)
        middle = [rng.randrange(len(content)) for _ in range(200 if full else 8)] if content else []
        for place in {0, len(content) - 1, *middle} if content and path.name != MANIFEST else ():
            damaged = bytearray(content)
            damaged[place] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged)
            with pytest.raises(IntegrityError, match=command) as caught:
                opened(folder)
            assert str(path) in str(caught.value)
        path.write_bytes(content[:-1] if content else b"x")
        if path.name != MANIFEST:  # its last byte is a line end
            with pytest.raises(IntegrityError, match=command):
                opened(folder)
        path.write_bytes(content)
    opened(folder)


@pytest.mark.parametrize("name", ["run.trec", "run.json"])
def test_every_byte_of_a_run_is_watched(collection, encoder, tmp_path, full, name):
    path = tmp_path / name
    teach(collection, "train", ["gold"], encoder, 20, max_length=48).save(path)
    DistillationRun.load(path, collection.pids)
    content, rng = path.read_bytes(), random.Random(5)
    for place in [0, len(content) - 1, *rng.sample(range(len(content)), 200 if full else 8)]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match="its bytes have changed.*disco (teach|search)"):
            DistillationRun.load(path, collection.pids)
    path.write_bytes(content)
    DistillationRun.load(path, collection.pids)


@pytest.mark.parametrize("artefact", ["vectors"], indirect=True)
def test_a_broken_manifest_says_how_to_rebuild(artefact):
    folder, opened, command = artefact
    for content in (b"{", b"\xff", b"[]", b"[" * 100_000, b'{"files": 1' + b"0" * 5000 + b"}"):
        (folder / MANIFEST).write_bytes(content)
        with pytest.raises(IntegrityError, match=f"{MANIFEST}.*{command}"):
            opened(folder)


def test_a_damaged_student_is_refused_wherever_it_is_used(student, collection_folder, tmp_path):
    flip(student / "model.safetensors", 900)
    arguments = ["encode", "--data", collection_folder, "--model", student, "--out", tmp_path / "v"]
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 2 and not (tmp_path / "v").exists()
    assert f"{student / 'model.safetensors'}: its bytes have changed" in result.stderr
    assert "Rebuild it with: disco distil" in result.stderr


def test_a_damaged_log_is_found(student):
    assert read_log(student) == []  # two steps make no entry
    (student / "distil_log.json").write_text('[{"loss": 0.1}]\n')
    with pytest.raises(IntegrityError, match=r"distil_log.json: its bytes.*disco distil"):
        read_log(student)


def test_a_model_that_is_no_student_needs_no_seal(student, tmp_path):
    shutil.copytree(student, tmp_path / "model")
    for name in (MANIFEST, "distil_settings.json"):
        (tmp_path / "model" / name).unlink()
    SpladeEncoder.from_pretrained(tmp_path / "model")


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("publish", [True, False])
def test_every_byte_of_a_record_is_watched(publish, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "ROOT", tmp_path / "repository")
    values = {"1": {"MRR": [1.0, 0.5, 0.0], "R@10": [1.0, 1.0, 0.0]}}
    settings = {"depth": 10, "name": "é"}
    record = Record(
        "mini", "student-kl", "A student", settings, settings_hash(settings), ["a", "b", "c"],
        values, {"1": {"MRR": 0.4}}, {"1": {"seconds": 3.0}}, intervals(values), {"x": "1"},
    )  # fmt: skip
    path = write_record(record, publish)
    content = path.read_bytes()
    command = "disco measure --tier mini --system student-kl$"
    for place in range(len(content)):
        for mask in (1, 4, 32):
            damaged = bytearray(content)
            damaged[place] ^= mask
            path.write_bytes(damaged)
            try:
                found = read_record(path)
            except IntegrityError as error:
                assert str(error).startswith(str(path)) and "Measure again" in str(error)
                with pytest.raises(IntegrityError, match=command):
                    read_record(path)
            else:  # other white space, or the same number written otherwise
                assert found == record, content[place - 20 : place + 20]
    path.unlink()
    assert find("mini", "student-kl", settings) is None
