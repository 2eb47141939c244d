"""Data is never run: no pickle, no code of a model's folder, no archive, no HTML of a passage."""

import ast
import dataclasses
import json
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
import yaml
from nbconvert import HTMLExporter
from scipy import sparse

from disco_lib import tables
from disco_lib.claims import judge
from disco_lib.closeup import Look, side_by_side, transcript, weighted_terms
from disco_lib.conversations import Turn
from disco_lib.encoders import SpladeEncoder
from disco_lib.errors import DiscoError
from disco_lib.index import InvertedIndex
from disco_lib.papers import Claim, load_paper
from disco_lib.rewriting import LanguageModelRewriter
from disco_lib.storage import parse_yaml, seal_folder
from disco_lib.tables import Table, claim_words, verdict_words
from disco_lib.teachers import teach
from disco_lib.training import DistilSettings, DistilTrainer, distil
from disco_lib.vectors import FORMAT, Vectors, load_vectors, save_vectors

LIBRARY = Path(__file__).resolve().parents[2] / "disco_lib"
SCRIPT = '<script>alert("x & y")</script><img src=x onerror=alert(1)>'

# The library's own code

PICKLING = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
ARCHIVES = {"tarfile", "zipfile", "unpack_archive", "extractall", "py7zr", "rarfile"}
RUNNING = {"eval", "exec", "compile", "__import__"}


def calls():
    """Every call in the library: its place, dotted name and keywords."""
    for path in sorted(LIBRARY.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                given = {k.arg: ast.unparse(k.value) for k in node.keywords}
                yield f"{path.name}:{node.lineno}", ast.unparse(node.func), given


def test_arrays_and_weights_are_read_without_pickle():
    seen = set()
    for place, name, given in calls():
        if name in ("np.load", "np.save", "numpy.load", "numpy.save"):
            assert given.get("allow_pickle") == "False", place
        if name == "torch.load":
            assert given.get("weights_only") == "True", place
        assert name not in ("torch.save", "np.savez"), place
        seen.add(name)
    assert {"np.load", "np.save"} <= seen


def test_models_are_read_from_safetensors_and_never_run_their_own_code():
    loading = 0
    for place, name, given in calls():
        if "trust_remote_code" in given:
            assert given["trust_remote_code"] == "False", place
        if (
            name.startswith("Auto")
            and name.endswith(".from_pretrained")
            or name.startswith("family.from_pretrained")
        ):
            loading += 1
            assert given.get("trust_remote_code") == "False", place
            if name.startswith(("AutoModel", "family")):
                text = json.dumps(given)
                assert "use_safetensors" in text, place
    assert loading >= 5


def test_nothing_unpickles_opens_an_archive_or_runs_text():
    for path in LIBRARY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(alias.name for alias in node.names)]
            elif isinstance(node, ast.Attribute):
                names = [node.attr]
            roots = {part for name in names for part in name.split(".")}
            assert not roots & (PICKLING | ARCHIVES), f"{path.name}:{node.lineno}"
    for place, name, given in calls():
        assert name not in RUNNING and name not in ("os.system", "os.popen"), place
        assert name not in ("yaml.load", "yaml.unsafe_load", "yaml.full_load"), place
        assert given.get("shell", "False") == "False", place


@pytest.mark.parametrize("tag", ["object/apply:os.mkdir", "name:os.mkdir", "module:os"])
def test_yaml_makes_no_object_of_any_class(tag, tmp_path):
    given = [str(tmp_path / "trap")] if "apply" in tag else "''"
    with pytest.raises(yaml.YAMLError, match="constructor"):
        parse_yaml(f"a: !!python/{tag} {given}")
    assert not (tmp_path / "trap").exists()
    assert parse_yaml("a: [1, {b: 2024-01-02}]") == yaml.safe_load("a: [1, {b: 2024-01-02}]")


# Folders that somebody else has made


class Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_pickled_arrays_are_not_read(tmp_path):
    folder = tmp_path / "v"
    save_vectors(folder, Vectors(sparse.csr_matrix(np.ones((1, 2), np.float32)), ["a"], {}))
    np.save(folder / "data.npy", np.array([Trap(tmp_path / "trap")], dtype=object))
    (folder / "MANIFEST.json").unlink()
    seal_folder(folder, format=FORMAT, settings={})
    with pytest.raises(ValueError, match="allow_pickle|Python objects"):
        load_vectors(folder)
    assert not (tmp_path / "trap").exists()


def test_pickled_weights_are_not_read(encoder, tmp_path):
    encoder.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    torch.save({"bias": Trap(tmp_path / "trap")}, tmp_path / "model" / "pytorch_model.bin")
    for family in (SpladeEncoder, LanguageModelRewriter):
        with pytest.raises(DiscoError, match="no .*language model can be loaded"):
            family.from_pretrained(tmp_path / "model")
    assert not (tmp_path / "trap").exists()


def test_code_in_a_models_folder_is_not_run(encoder, tmp_path):
    folder = tmp_path / "model"
    encoder.save_pretrained(folder)
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'trap')!r}, 'w')\nclass Evil: pass\n")
    for name in ("config.json", "tokenizer_config.json"):
        content = json.loads((folder / name).read_text())
        content["auto_map"] = {
            "AutoConfig": "evil.Evil", "AutoModelForMaskedLM": "evil.Evil",
            "AutoModelForCausalLM": "evil.Evil", "AutoTokenizer": ["evil.Evil", "evil.Evil"],
        }  # fmt: skip
        (folder / name).write_text(json.dumps(content))
    SpladeEncoder.from_pretrained(folder)  # as the model that the library knows
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | {"model_type": "evil"}))
    for family in (SpladeEncoder, LanguageModelRewriter):
        with pytest.raises(DiscoError, match="no .*language model can be loaded"):
            family.from_pretrained(folder)
    assert not (tmp_path / "trap").exists()


def test_a_student_holds_no_pickle_and_checkpoints_are_read_as_weights_only(
    collection, encoder, tmp_path, monkeypatch
):
    settings = {
        "steps": 6, "batch_size": 4, "sampler": {"negatives": 4, "start": 0, "end": 20},
        "limits": {"utterance": 16, "answer": 16, "total": 48}, "document_length": 48,
    }  # fmt: skip
    teacher = teach(collection, "train", ["gold"], encoder, 20, max_length=48)

    def train():
        return distil(
            encoder, collection, teacher, DistilSettings.from_dict(settings), tmp_path / "s",
            save_steps=2, progress=False,
        )  # fmt: skip

    before = {name: value.clone() for name, value in encoder.model.state_dict().items()}
    compute = DistilTrainer.compute_loss

    def stop(self, *arguments, **options):
        if self.state.global_step == 4:
            raise KeyboardInterrupt
        return compute(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(DistilTrainer, "compute_loss", stop)
        with pytest.raises(KeyboardInterrupt):
            train()
    encoder.model.load_state_dict(before)
    loaded, load = [], torch.load

    def watched(file, *arguments, **options):
        loaded.append(options.get("weights_only"))
        return load(file, *arguments, **options)

    monkeypatch.setattr(torch, "load", watched)
    train()
    assert loaded and all(loaded)
    suffixes = {path.suffix for path in (tmp_path / "s").rglob("*") if path.is_file()}
    assert suffixes <= {".safetensors", ".json", ".txt", ".jinja"}


def test_a_manifest_cannot_make_a_reader_leave_its_folder(tmp_path):
    # What is read is named by the library, never by the manifest; that is only compared.
    folder = tmp_path / "v"
    save_vectors(folder, Vectors(sparse.csr_matrix(np.ones((1, 2), np.float32)), ["a"], {}))
    shutil.copytree(folder, tmp_path / "other")
    assert {path.name for path in folder.iterdir()} == {
        "MANIFEST.json", "data.npy", "indices.npy", "indptr.npy", "shape.npy", "ids.json",
    }  # fmt: skip
    load_vectors(folder)


# What is shown


def page(cell_outputs):
    """The outputs as a page shows them."""
    cell = nbformat.v4.new_code_cell("x", outputs=cell_outputs, execution_count=1)
    html, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    return html.rpartition("<main>")[2]


def shown(value):
    """A value at the end of a cell."""
    data = {"text/plain": repr(value)}
    for kind, name in (("text/html", "_repr_html_"), ("text/markdown", "_repr_markdown_")):
        if hasattr(value, name):
            data[kind] = getattr(value, name)()
    return page([nbformat.v4.new_output("execute_result", data, execution_count=1)])


def check_text(html):
    assert "<script>alert" not in html and "<img src=x" not in html
    assert "&lt;script&gt;alert" in html


def test_a_table_shows_a_script_as_text():
    table = Table.of([{f"column {SCRIPT}": SCRIPT, "n": 1}, {"n": SCRIPT}])
    assert table._repr_html_().count("&lt;script&gt;") == 3
    check_text(table._repr_html_())
    check_text(shown(table))


def test_a_passage_with_a_script_stays_text_in_a_close_up():
    look = Look(SCRIPT, f"system {SCRIPT}", SCRIPT, {SCRIPT: 1.0}, ["p"], 1)
    rows = side_by_side([look], {"p": f"title {SCRIPT}"}, {"p"})
    check_text(shown(Table.of(rows)))
    check_text(shown(Table.of([{"term": term, "weight": w} for term, w in look.terms.items()])))
    turn = Turn("c", "t", SCRIPT, ((SCRIPT, SCRIPT),), SCRIPT, {}, (), None, {})
    text = transcript(turn, 200)
    assert text.count(SCRIPT) == 3 and type(text) is str
    check_text(page([nbformat.v4.new_output("stream", name="stdout", text=text)]))
    check_text(shown(text))


def test_terms_of_a_hostile_vocabulary_stay_text(encoder):
    class Tokenizer:
        def convert_ids_to_tokens(self, numbers):
            return [SCRIPT for _ in numbers]

    terms = weighted_terms(sparse.csr_matrix(np.array([[0, 1.0]], np.float32)), Tokenizer())
    check_text(shown(Table.of([{"term": t, "weight": w} for t, w in terms.items()])))


def test_claims_and_verdicts_show_a_script_as_text(monkeypatch):
    paper = dataclasses.replace(load_paper("disco"), title=f"T {SCRIPT}")
    monkeypatch.setattr(tables, "load_paper", lambda name: paper)
    claim = Claim("x", "disco", f"A {SCRIPT}", f"section {SCRIPT}", (), why=f"why {SCRIPT}")
    words = claim_words(claim)
    assert words.text.count("&lt;script&gt;") == 3
    check_text(words._repr_markdown_())
    verdict = judge(claim, f"tier {SCRIPT}")
    check_text(verdict_words(verdict)._repr_markdown_())
    assert verdict_words(verdict).text.startswith('<span class="verdict ')  # its own marking


def test_an_index_gives_ids_back_as_they_are(tmp_path):
    rows = sparse.csr_matrix(np.ones((1, 1), np.float32))
    InvertedIndex.build(rows, [SCRIPT]).save(tmp_path / "i")
    run = InvertedIndex.load(tmp_path / "i").search(rows, 1).to_dict()
    check_text(shown(Table.of([{"pid": pid} for pid in run["0"]])))
