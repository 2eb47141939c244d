"""The disco command: what it prints, what it writes, and how it refuses."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from typer.main import get_command
from typer.testing import CliRunner

from disco_lib import claims as claims_module
from disco_lib import cli, experiments, records, tiers
from disco_lib.claims import verdicts
from disco_lib.conversations import Limits, context_ids
from disco_lib.datasets import load
from disco_lib.encoders import SpladeEncoder
from disco_lib.expansion import HistoricalExpansion
from disco_lib.index import InvertedIndex
from disco_lib.metrics import evaluate, remove_earlier_answers
from disco_lib.papers import load_paper, paper_names
from disco_lib.records import Record, intervals, read_record, write_record
from disco_lib.rewrites import read_notes
from disco_lib.runs import read_trec, write_trec
from disco_lib.storage import settings_hash
from disco_lib.teachers import DistillationRun, teach
from disco_lib.training import DistilSettings, distil, read_log
from disco_lib.vectors import Vectors, load_vectors, save_vectors

ROOT = Path(__file__).resolve().parent.parent
VOCABULARY = 30
SETTINGS = {
    "epochs": 2,
    "batch_size": 6,
    "learning_rate": 1e-3,
    "sampler": {"negatives": 5, "start": 0, "end": 20, "positive": "window"},
}


def disco(*arguments):
    """Run the command in this process; an error that is not for the user fails the test."""
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], catch_exceptions=False)


def done(*arguments):
    """Run the command, which has to end well, and return its standard output."""
    result = disco(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def refused(arguments, *parts):
    """Run the command, which has to end with 2 and one line on stderr that holds the parts."""
    result = disco(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("disco: ") and "Traceback" not in lines[0]
    for part in parts:
        assert str(part) in lines[0], lines[0]
    return lines[0]


def start(*arguments, **options):
    """Run `python -m disco_lib.cli` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "disco_lib.cli", *map(str, arguments)],
        text=True, timeout=300, env=os.environ | {"PYTHONPATH": str(ROOT)}, **options,
    )  # fmt: skip


def settings_options(settings):
    return [f"--set={name}={json.dumps(value)}" for name, value in settings.items()]


@pytest.fixture
def teacher_folder(collection, tmp_path):
    """A teacher of 20 random documents for each training turn, without query vectors."""
    rng = np.random.default_rng(5)
    turns = [turn.turn_id for turn in collection.iter_turns("train")]
    documents = np.array([rng.permutation(len(collection.pids))[:20] for _ in turns], np.int32)
    scores = -np.sort(-rng.uniform(1, 9, documents.shape).astype(np.float32))
    DistillationRun(turns, collection.pids, documents, scores).save(tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.fixture
def vectors_folder(collection, tmp_path):
    """Random vectors of the passages."""
    rows = sparse.random(len(collection.pids), VOCABULARY, 0.3, "csr", np.float32, 3)
    save_vectors(tmp_path / "vectors", Vectors(rows, collection.pids, {}))
    return tmp_path / "vectors"


@pytest.fixture
def queries_folder(collection, tmp_path):
    """Random vectors of the test turns."""
    ids = [turn.turn_id for turn in collection.iter_turns("test")]
    rows = sparse.random(len(ids), VOCABULARY, 0.5, "csr", np.float32, 4)
    save_vectors(tmp_path / "queries", Vectors(rows, ids, {}))
    return tmp_path / "queries"


@pytest.fixture
def index_folder(vectors_folder, tmp_path):
    """The index of the random vectors."""
    stored = load_vectors(vectors_folder)
    InvertedIndex.build(stored.rows, stored.ids).save(tmp_path / "index")
    return tmp_path / "index"


@pytest.fixture
def run_file(index_folder, queries_folder, tmp_path):
    """A TREC run of the test turns."""
    queries = load_vectors(queries_folder)
    run = InvertedIndex.load(index_folder).search(queries.rows, 10, queries.ids)
    write_trec(run, tmp_path / "run.trec")
    return tmp_path / "run.trec"


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """An empty folder of published records."""
    folder = tmp_path / "measured"
    monkeypatch.setattr(records, "measured_root", lambda: folder)
    monkeypatch.setattr(claims_module, "measured_root", lambda: folder)
    return folder


# Help


def all_commands(command=None, path=()):
    command = command or get_command(cli.app)
    if not hasattr(command, "commands"):
        return [(path, command)]
    return [x for name, sub in command.commands.items() for x in all_commands(sub, (*path, name))]


def test_the_commands():
    names = {" ".join(path) for path, _ in all_commands()}
    assert names >= {"data list", "data verify", "teach", "distil", "encode", "index", "search"}
    assert names >= {"rewrite", "blend", "evaluate", "measure", "claims"}


@pytest.mark.parametrize(
    "path, command", all_commands(), ids=[" ".join(p) for p, _ in all_commands()]
)
def test_every_command_explains_itself_and_every_option(path, command):
    text = done(*path, "--help")
    summary = command.help.split("\n\n")[0].split()
    assert " ".join(summary[:3]) in text
    for parameter in command.params:
        assert parameter.help, f"{' '.join(path)}: {parameter.name} has no help"
        shown = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.name
        assert shown.lower() in text.lower()


def test_help_comes_without_loading_a_model_library():
    code = (
        "import sys; from disco_lib.cli import app\n"
        "try: app(['distil', '--help'])\n"
        "finally: assert not {'torch', 'transformers', 'datasets', 'numba'} & set(sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "--save-steps" in result.stdout


def test_searching_and_evaluating_need_no_torch(
    index_folder, queries_folder, collection_folder, tmp_path
):
    code = (
        "import sys; from disco_lib.cli import app\n"
        "for arguments in (sys.argv[1:7], sys.argv[7:]):\n"
        "    try: app(arguments)\n"
        "    except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    search = ["search", index_folder, "--queries", queries_folder, "--out", tmp_path / "r.trec"]
    arguments = [*search, "evaluate", tmp_path / "r.trec", "--data", collection_folder]
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "MRR@10" in result.stdout


# From conversations to metrics


def test_the_chain_gives_what_the_library_gives(collection_folder, encoder_folder, tmp_path):
    folder = tmp_path / "cli"
    data, model = ["--data", collection_folder], ["--model", encoder_folder]

    rewrites = ["--rewrite", "gold", "--rewrite", "long"]
    forms = ["--json", folder / "t.json", "--trec", folder / "t.trec"]
    text = done("teach", *data, *model, *rewrites, "--depth", 20, "--out", folder / "t", *forms)
    assert text == f"{folder / 't'}: 30 turns, up to 20 documents each\n"
    collection = load(collection_folder)
    encoder = SpladeEncoder.from_pretrained(encoder_folder)
    expected = teach(collection, "train", ["gold", "long"], encoder, 20, max_length=192)
    for name in ("t", "t.json", "t.trec"):
        run = DistillationRun.load(folder / name, collection.pids)
        assert sorted(run.turn_ids) == sorted(expected.turn_ids)
        rows = [run.turn_ids.index(turn) for turn in expected.turn_ids]
        np.testing.assert_array_equal(run.documents[rows], expected.documents)
        np.testing.assert_array_equal(run.scores[rows], expected.scores)

    options = [*data, *model, "--seed", 3, *settings_options(SETTINGS)]
    text = done("distil", *options, "--teacher", folder / "t", "--out", folder / "s")
    assert text.endswith(f"{folder / 's'}: student of 30 turns, seed 3\n")
    # Epochs asked for outrank the tier's steps.
    settings = {**tiers.load_tier("mini").distil, **SETTINGS, "steps": None, "seed": 3}
    student = distil(
        SpladeEncoder.from_pretrained(encoder_folder), collection, expected,
        DistilSettings.from_dict(settings), tmp_path / "library", progress=False,
    )  # fmt: skip
    weights = (tmp_path / "library" / "model.safetensors").read_bytes()
    assert (folder / "s" / "model.safetensors").read_bytes() == weights
    assert (encoder_folder / "model.safetensors").read_bytes() != weights
    assert json.loads((folder / "s" / "distil_settings.json").read_text())["epochs"] == 2
    done("distil", *options, "--teacher", folder / "t.json", "--out", folder / "s-json")
    assert (folder / "s-json" / "model.safetensors").read_bytes() == weights
    # A TREC file is sorted by turn, and samples are drawn by place: the same turns, other draws.
    done("distil", *options, "--teacher", folder / "t.trec", "--out", folder / "s-trec")
    assert len(read_log(folder / "s-trec")) == len(read_log(folder / "s"))

    text = done("encode", *data, *model, "--out", folder / "documents")
    documents = encoder.encode(collection.passage_texts(), 192)
    assert text == f"{folder / 'documents'}: 45 vectors, {documents.nnz} active terms\n"
    stored = load_vectors(folder / "documents")
    assert stored.ids == collection.pids
    assert_equal_rows(stored.rows, documents)

    student_option = ["--model", folder / "s"]
    done("encode", *data, *student_option, "--split", "test", "--out", folder / "queries")
    turns = collection.iter_turns("test")
    ids = [context_ids(t, "conversation", encoder.tokenizer, Limits(total=192)) for t in turns]
    queries = student.encode(ids, 192)
    assert_equal_rows(load_vectors(folder / "queries").rows, queries)

    text = done("index", folder / "documents", "--out", folder / "index")
    assert text == f"{folder / 'index'}: 45 documents, {documents.nnz} postings\n"
    output = ["--queries", folder / "queries", "--out", folder / "run.trec"]
    text = done("search", folder / "index", *output, "-k", 12, "--tag", "tiny")
    assert text == f"{folder / 'run.trec'}: 15 queries\n"
    index = InvertedIndex.build(documents, collection.pids)
    run = index.search(queries, 12, [turn.turn_id for turn in turns])
    found = read_trec(folder / "run.trec")
    # A student of random weights may find nothing for a turn; TREC has no line for that.
    ranked = {turn: ranking for turn, ranking in run.to_dict().items() if ranking}
    assert list(found) == list(ranked)
    for turn, ranking in ranked.items():
        assert list(found[turn]) == list(ranking)
        # The file has nine digits, which tell all float32 numbers apart.
        assert list(found[turn].values()) == pytest.approx(list(ranking.values()), rel=1e-7)
    assert {line.split()[-1] for line in (folder / "run.trec").open()} == {"tiny"}

    per_turn = folder / "per-turn.json"
    text = done("evaluate", folder / "run.trec", *data, "--json", "--per-turn", per_turn)
    texts = {row["pid"]: row["text"] for row in collection.passages}
    later = [turn for turn in turns if turn.history]
    names = [turn.turn_id for turn in later]
    kept = evaluate(collection.qrels("test"), run, turn_ids=names)
    cleaned = remove_earlier_answers(run, later, texts)
    removed = evaluate(collection.qrels("test"), cleaned, turn_ids=names)
    assert json.loads(text) == {"turns": 10, "removed": removed.mean(), "kept": kept.mean()}
    assert 0 < kept.mean()["R@10"] < 1  # two equal zeros would show nothing
    values = json.loads(per_turn.read_text())
    assert values["turn_ids"] == names
    assert values["removed"] == {name: list(v) for name, v in removed.values.items()}

    lines = done("evaluate", folder / "run.trec", *data).splitlines()
    assert lines[0].split() == ["10", "turns", *kept.values]
    for line, evaluation in zip(lines[1:], (removed, kept), strict=True):
        assert line.split()[3:] == [f"{x:.4f}" for x in evaluation.mean().values()]
    text = done("evaluate", folder / "run.trec", *data, "--json", "--no-later-turns")
    every = evaluate(collection.qrels("test"), run)
    assert json.loads(text)["turns"] == 15 and json.loads(text)["kept"] == every.mean()
    text = done("evaluate", folder / "run.trec", *data, "--json", "--with-rewrite", "long")
    assert json.loads(text)["turns"] == 5


def assert_equal_rows(found, expected):
    assert found.shape == expected.shape
    for name in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_a_rewrite_is_encoded_where_there_is_one(collection_folder, encoder_folder, tmp_path):
    options = ["--data", collection_folder, "--model", encoder_folder, "--split", "test"]
    done("encode", *options, "--input", "rewrite:long", "--out", tmp_path / "long")
    collection, encoder = load(collection_folder), SpladeEncoder.from_pretrained(encoder_folder)
    turns = [turn for turn in collection.iter_turns("test") if "long" in turn.rewrites]
    assert load_vectors(tmp_path / "long").ids == [turn.turn_id for turn in turns]
    texts = [turn.rewrites["long"] for turn in turns]
    assert_equal_rows(load_vectors(tmp_path / "long").rows, encoder.encode(texts, 192))


def test_what_is_finished_is_not_made_again(collection_folder, encoder_folder, tmp_path):
    command = ["encode", "--data", collection_folder, "--model", encoder_folder]
    done(*command, "--out", tmp_path / "v")
    before = (tmp_path / "v" / "data.npy").stat()
    result = disco(*command, "--out", tmp_path / "v")
    assert result.exit_code == 0 and "%" not in result.stderr
    assert (tmp_path / "v" / "data.npy").stat().st_mtime_ns == before.st_mtime_ns
    done(*command, "--out", tmp_path / "v", "--max-length", 8)
    assert (tmp_path / "v" / "data.npy").stat().st_size != before.st_size


def test_long_commands_show_their_progress_on_stderr(
    collection_folder, encoder_folder, teacher_folder, tmp_path
):
    options = ["--data", collection_folder, "--model", encoder_folder]
    teaching = disco("teach", *options, "--rewrite", "gold", "--out", tmp_path / "t")
    distilling = disco(
        "distil", *options, "--teacher", teacher_folder, "--out", tmp_path / "s",
        *settings_options(SETTINGS),
    )  # fmt: skip
    encoding = disco("encode", *options, "--split", "test", "--out", tmp_path / "v", "--shard", 4)
    for result in (teaching, distilling, encoding):
        assert result.exit_code == 0
        assert "100%|" in result.stderr and "%|" not in result.stdout
        assert "Warning" not in result.stderr
    assert "15/15" in encoding.stderr and "texts/s" in encoding.stderr
    assert "10/10" in distilling.stderr  # steps: 2 epochs of 30 turns, 6 a batch


# Rewrites

# On the tiny collection a topic's name is salient, and so is no word of the questions.
HQE = ["--model", "hqe", "--set", "topic=1.0", "--set", "subtopic=1.0"]


def test_rewriting_ends_in_a_collection_to_teach_from(collection_folder, encoder_folder, tmp_path):
    out = tmp_path / "copy"
    before = {path.name: path.read_bytes() for path in collection_folder.iterdir()}
    command = ["rewrite", "--data", collection_folder, "--name", "hqe", *HQE]
    assert done(*command, "--out", out) == (f"{out}: 45 rewrites 'hqe', 15 as the utterance was\n")
    assert {path.name: path.read_bytes() for path in collection_folder.iterdir()} == before
    copied = load(out)
    passages = copied.passage_texts()
    writer = HistoricalExpansion(passages, topic=1.0, subtopic=1.0)
    for split in ("test", "train"):
        turns = copied.iter_turns(split)
        assert [turn.rewrites["hqe"] for turn in turns] == writer.rewrite(turns)
        for turn in turns:
            added = f" {turn.conv_id}" if turn.history else ""
            assert turn.rewrites["hqe"] == turn.utterance + added
            assert "gold" in turn.rewrites

    lines = done("data", "verify", "--data", out).splitlines()
    assert all(line.startswith("ok ") for line in lines)
    assert any("rewrite hqe" in line and "45 of 45" in line for line in lines)
    options = ["--data", out, "--model", encoder_folder, "--out", tmp_path / "teacher"]
    done("teach", *options, "--rewrite", "hqe", "--depth", 5)
    assert len(DistillationRun.load(tmp_path / "teacher", copied.pids)) == 30

    note = read_notes(out)["hqe"]
    assert note["command"] == (
        "disco rewrite --data tiny-collection --name hqe --out copy --model hqe --set topic=1.0 "
        "--set subtopic=1.0"
    )
    assert (note["turns"], note["unchanged"], note["topic"]) == (45, 15, 1.0)

    # In place, the same command gives the same files.
    done(*command, "--out", collection_folder)
    for name in before:
        assert (collection_folder / name).read_bytes() == (out / name).read_bytes()
    in_place = {"command": note["command"].replace("--out copy", "--out tiny-collection")}
    assert read_notes(collection_folder)["hqe"] == note | in_place
    done(*command, "--out", collection_folder)
    for name in before:
        assert (collection_folder / name).read_bytes() == (out / name).read_bytes()


def test_rewriting_one_split(collection_folder):
    train = (collection_folder / "turns_train.jsonl").read_bytes()
    command = ["rewrite", "--data", collection_folder, "--name", "new", "--out", collection_folder]
    text = done(*command, *HQE, "--split", "test", "--split", "test", "--batch-size", 4)
    assert ": 15 rewrites 'new', 5 as the utterance was" in text
    assert (collection_folder / "turns_train.jsonl").read_bytes() == train
    assert all("new" in turn.rewrites for turn in load(collection_folder).iter_turns("test"))
    command = read_notes(collection_folder)["new"]["command"]
    assert command.endswith(
        "--split test --split test --set topic=1.0 --set subtopic=1.0 --batch-size 4"
    )


@pytest.mark.parametrize(
    "options, parts",
    [
        (["--set", "topic"], ["--set 'topic'", "NAME=VALUE"]),
        (["--set", "topik=2"], ["--set topik: unknown", "topic, subtopic, window, ambiguous for"]),
        (["--set", "topic=high"], ["--set topic=high: give a number"]),
        (["--set", "topic=true"], ["--set topic=True: give a number"]),
        (["--set", "topic=.inf"], ["topic is inf; use a finite number"]),
        (["--set", "topic=[2"], ["--set 'topic=[2'", "not YAML", "brackets"]),
        (["--set", "topic=1.0"], ["subtopic is 3.5, above topic 1.0"]),
        (["--set", "window=2.5"], ["--set window=2.5: give a whole number"]),
        (["--set", "window=-1"], ["window is -1; use 0"]),
        (["--set", "exchanges=3"], ["--set exchanges: unknown", "for hqe"]),
        (["--prompt", "disco"], ["--prompt: historical query expansion has none", "Leave it out"]),
        (["--model", "modle"], ["--model modle: no language model", "'smollm2', 'hqe'"]),
        (["--model", "minilm"], ["--model minilm: no language model"]),
        (["--model", "no/where/at/all"], ["no/where/at/all: no language model"]),
        (["--model", "no.gguf"], ["no.gguf: no language model", "a .gguf file"]),
        (
            ["--model", "m", "--set", "topic=2"],
            ["--set topic: unknown", "max_prompt, keep_utterance, dtype for m"],
        ),
        (["--model", "m", "--set", "exchanges=few"], ["exchanges=few: give a whole number"]),
        (["--model", "m", "--set", "dtype=16"], ["--set dtype=16: give a word"]),
        (["--model", "m", "--set", "dtype=int8"], ["dtype 'int8'; use float32"]),
        (["--model", "m", "--prompt", "typo"], ["No prompt 'typo'; there are: canard, disco"]),
        (["--model", "m", "--prompt", "bad.yaml"], ["bad.yaml:2: not YAML", "Mend its syntax"]),
        (["--model", "m"], ["m: no language model can be loaded from there"]),
        (["--name", "a b"], ["name 'a b': give one word"]),
        (["--name", "gold"], ["--name gold", "which no program made", "Choose another name"]),
        (["--out", "other"], ["other: there already", "or a new folder"]),
    ],
)
def test_rewrite_refuses(options, parts, collection_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "bad.yaml").write_text("form: [chat\nform: chat\n")
    given = dict(zip(options[::2], options[1::2], strict=True))
    defaults = {"--model": "hqe", "--name": "new", "--out": "out"}
    rest = [x for pair in defaults.items() if pair[0] not in given for x in pair]
    before = {path: path.read_bytes() for path in collection_folder.iterdir()}
    refused(["rewrite", "--data", collection_folder, *rest, *options], *parts)
    assert {path: path.read_bytes() for path in collection_folder.iterdir()} == before
    assert not (tmp_path / "out").exists() and not list((tmp_path / "other").iterdir())


def test_teach_and_rewrite_take_models_of_their_own(collection_folder, tmp_path):
    options = ["--data", collection_folder, "--out", tmp_path / "t", "--rewrite", "gold"]
    for model in ("hqe", collection_folder / "collection.jsonl"):
        refused(["teach", *options, "--model", model], f"--model {model}: no such folder")


# Data


def test_data_list(collection_folder, monkeypatch):
    monkeypatch.setenv("DISCO_DATA", str(collection_folder.parent))
    rows = {row["name"]: row for row in json.loads(done("data", "list", "--json"))}
    assert set(rows) >= {"mini", "qrecc", "tiny-collection"}
    assert rows["mini"]["about"]["licence"] == "CC BY 4.0"
    assert not rows["qrecc"]["present"] and rows["qrecc"]["folder"] is None
    assert rows["tiny-collection"]["present"] and rows["tiny-collection"]["passages"] == 45
    assert rows["tiny-collection"]["folder"] == str(collection_folder)
    assert rows["tiny-collection"]["turns"] == {"test": 15, "train": 30}
    text = done("data", "list")
    assert all(re.search(rf"^ +name  {re.escape(name)}$", text, re.M) for name in rows)


def test_data_verify(collection_folder, monkeypatch):
    lines = done("data", "verify", "--data", collection_folder).splitlines()
    assert lines and all(line.startswith("ok ") for line in lines)
    monkeypatch.setenv("DISCO_DATA", str(collection_folder.parent))
    assert done("data", "verify", "tiny-collection").splitlines() == lines
    # A fault that the loader lets pass.
    with (collection_folder / "collection.jsonl").open("a") as file:
        file.write('{"pid": "blank", "text": " "}\n')
    result = disco("data", "verify", "--data", collection_folder)
    faults = [line for line in result.stdout.splitlines() if line.startswith("FAULT")]
    assert result.exit_code == 1 and len(faults) == 1 and "blank" in faults[0]


def test_data_verify_takes_a_name_or_a_folder(collection_folder):
    refused(["data", "verify"], "Give a data set's name or --data FOLDER")
    refused(["data", "verify", "mini", "--data", collection_folder], "one of them")
    refused(["data", "verify", "typo"], "'typo'", "Known: mini, qrecc", "DISCO_DATA")


@pytest.fixture
def reading(collection_folder, encoder_folder, teacher_folder, run_file, tmp_path):
    """By command: the arguments of each one that reads a collection, which follows --data."""
    model, out = ["--model", encoder_folder], ["--out", tmp_path / "out"]
    return {
        "data verify": ["data", "verify"],
        "rewrite": ["rewrite", "--model", "hqe", "--name", "new", *out],
        "teach": ["teach", *model, *out, "--rewrite", "gold"],
        "distil": ["distil", *model, *out, "--teacher", teacher_folder],
        "encode": ["encode", *model, *out],
        "evaluate": ["evaluate", run_file],
    }


READING = ["data verify", "rewrite", "teach", "distil", "encode", "evaluate"]


@pytest.mark.parametrize("command", READING)
def test_no_data_set(reading, command, tmp_path):
    missing = tmp_path / "nowhere"
    refused([*reading[command], "--data", missing], missing, "Set DISCO_DATA to the folder")
    (tmp_path / "empty").mkdir()
    line = refused([*reading[command], "--data", tmp_path / "empty"], "no collection.jsonl")
    assert "Put it there" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize(
    "file, row, parts",
    [
        ("collection.jsonl", '{"pid": "x", ', [":46:", "not JSON"]),
        ("collection.jsonl", '{"pid": "x"}', [":46:", "field 'text'"]),
        ("collection.jsonl", '{"pid": 5, "text": "t"}', [":46:", "field 'pid'"]),
        ("turns_test.jsonl", '{"conv_id": "c", "utterance": "u"}', [":16:", "field 'turn_id'"]),
    ],
)
def test_a_malformed_row(reading, collection_folder, command, file, row, parts):
    with (collection_folder / file).open("a") as stream:
        stream.write(row + "\n")
    line = refused([*reading[command], "--data", collection_folder], file, *parts)
    assert re.search(r"\. [A-Z][^.]+.*$", line)  # a remedy follows


@pytest.mark.parametrize("command", READING[1:])
def test_a_split_that_is_not_there(reading, collection_folder, command):
    arguments = [*reading[command], "--data", collection_folder, "--split", "dev"]
    refused(arguments, "tiny-collection has no split 'dev'; it has: test, train")


# What other inputs are refused


@pytest.mark.parametrize(
    "options, parts",
    [
        (["--rewrite", "typo"], ["tiny-collection", "'typo'", "that is there: gold, long"]),
        (["--rewrite", "gold", "--rewrite", "typo"], ["'typo'", "gold, long"]),
        (["--rewrite", "gold", "--missing", "typo"], ["typo", "rescore, available, zero"]),
        (["--rewrite", "gold", "--max-length", "2"], ["--max-length 2", "Give 3 or more"]),
        (["--rewrite", "gold", "--max-length", "300"], ["max_length 300", "2 to 256", "Lower"]),
        (["--rewrite", "gold", "--json", "t.txt"], ["--json t.txt", "t.txt.json"]),
        (["--rewrite", "gold", "--trec", "t.json"], ["--trec t.json", "t.json.trec"]),
        (["--rewrite", "gold", "--model", "no/where/at/all"], ["no such folder", "'splade-tiny'"]),
        (["--rewrite", "gold", "--model", "modle"], ["--model modle", "hub id OWNER/NAME"]),
    ],
)
def test_teach_refuses(options, parts, collection_folder, encoder_folder, tmp_path):
    arguments = ["teach", "--data", collection_folder, "--out", tmp_path / "t"]
    model = [] if "--model" in options else ["--model", encoder_folder]
    refused([*arguments, *model, *options], *parts)
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    "options, parts",
    [
        (["--set", "epoch=3"], ["No setting 'epoch'", "there are: batch_size, "]),
        (["--set", "epochs"], ["--set 'epochs'", "NAME=VALUE"]),
        (["--set", "epochs=many"], ["'epochs' is 'many'", "give a number above 0"]),
        (["--set", "epochs=0"], ["'epochs' is 0", "above 0"]),
        (["--set", "epochs=.inf"], ["'epochs' is inf"]),
        (["--set", "batch_size=2.5"], ["'batch_size' is 2.5", "a whole number from 1"]),
        (["--set", "warmup=2"], ["'warmup' is 2", "from 0 to 1"]),
        (["--set", "dropout=true"], ["'dropout' is True"]),
        (["--set", "input=questoins"], ["'input' is 'questoins'", "conversation"]),
        (["--set", "limits=5"], ["'limits' is 5", "utterance, answer, total"]),
        (["--set", "limits={total: 500}"], ["'limits'", "2 to 256", "Lower"]),
        (["--set", "limits={totl: 90}"], ["limits: no setting 'totl'", "total"]),
        (["--set", "sampler={negatives: two}"], ["sampler: 'negatives' is 'two'", "whole"]),
        (["--set", "sampler={negatives: 45}"], ["46 documents a turn", "only 45", "Lower"]),
        (["--set", "objective={kl_divergenec: 1.0}"], ["No loss 'kl_divergenec'", "info_nce"]),
        (["--set", "objective={l1: {weight: 1.0, x: 2}}"], ["l1: no option 'x'"]),
        (["--set", "objective=kl_divergence"], ["'objective' is 'kl_divergence'", "weight"]),
        (["--set", "objective={kl: 1"], ["--set 'objective={kl: 1'", "not YAML", "brackets"]),
        (["--set", "objective={representation_mse: 1.0}"], ["query vectors", "disco teach"]),
        (["--set", "seed=4"], ["--seed 4"]),
        (["--system", "typo"], ["no system 'typo'", "student-kl"]),
        (["--tier", "typo"], ["No tier 'typo'", "mini"]),
        (["--model", "no/where/at/all"], ["no such folder", "disco distil"]),
    ],
)
def test_distil_refuses(
    options, parts, collection_folder, encoder_folder, teacher_folder, tmp_path
):
    arguments = ["distil", "--data", collection_folder, "--teacher", teacher_folder]
    model = [] if "--model" in options else ["--model", encoder_folder]
    refused([*arguments, "--out", tmp_path / "s", *model, *options], *parts)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "name, content, parts",
    [
        ("no-folder", None, ["no-folder: no MANIFEST.json", "disco teach"]),
        ("no-file.json", None, ["no-file.json: no such distillation run", "disco teach"]),
        ("t.json", '{\n"a": {"b": 1,}}', ["t.json:2:", "The form is {turn_id: {pid: score}}"]),
        ("t.json", '{"a": {"b": "1"}}', ["t.json", "field 'a'", "score of 'b' is '1'"]),
        ("t.json", '{"a": {"b": 1}}', ["t.json", "'a'", "'b'", "the collection it was made on"]),
        ("t.trec", "a Q0 b 1 2.0 x\na Q0 b 2\n", ["t.trec:2:", "4 columns, not 6", "A line is:"]),
        ("t.trec", "a Q0 b 1 high x\n", ["t.trec:1:", "field 'score'", "'high'"]),
        ("t.json", '{"x": {"violin-made": 1}}', ["No turn to learn from"]),
    ],
)
def test_distil_refuses_a_teacher(
    name, content, parts, collection_folder, encoder_folder, tmp_path
):
    if content is not None:
        (tmp_path / name).write_text(content)
    arguments = ["distil", "--data", collection_folder, "--model", encoder_folder]
    arguments += ["--teacher", tmp_path / name, "--out", tmp_path / "s"]
    refused(arguments, *parts)


def test_distil_refuses_the_teacher_of_another_collection(
    collection_folder, encoder_folder, teacher_folder, tmp_path
):
    path = collection_folder / "collection.jsonl"
    path.write_text(path.read_text() + '{"pid": "new", "text": "another"}\n')
    arguments = ["distil", "--data", collection_folder, "--model", encoder_folder]
    arguments += ["--teacher", teacher_folder, "--out", tmp_path / "s"]
    refused(arguments, teacher_folder, "another collection", "Run `disco teach`")


def test_distil_refuses_a_student_of_other_making(
    collection_folder, encoder_folder, collection, teacher_folder, tmp_path
):
    run = DistillationRun.load(teacher_folder, collection.pids)
    run.save(tmp_path / "a.json")
    run.scores = run.scores * np.float32(0.5)
    run.save(tmp_path / "b.json")
    command = ["distil", "--data", collection_folder, "--model", encoder_folder]
    command += ["--out", tmp_path / "s", *settings_options(SETTINGS)]
    done(*command, "--teacher", tmp_path / "a.json")
    weights = (tmp_path / "s" / "model.safetensors").read_bytes()
    # The same turns and documents, but other scores: the student that is there learnt otherwise.
    refused([*command, "--teacher", tmp_path / "b.json"], "student of other settings", "another")
    refused([*command, "--teacher", tmp_path / "a.json", "--seed", "2"], "other settings")
    assert (tmp_path / "s" / "model.safetensors").read_bytes() == weights
    flip(tmp_path / "s" / "model.safetensors")
    line = refused([*command, "--teacher", tmp_path / "a.json"], "s/model.safetensors", "changed")
    assert "after removing that folder" in line


@pytest.mark.parametrize(
    "options, parts",
    [
        (["--split", "test", "--input", "typo"], ["No input 'typo'", "conversation"]),
        (["--split", "test", "--input", "rewrite:x"], ["'x'", "that is there: gold, long"]),
        (["--max-length", "2"], ["--max-length 2", "Give 3 or more"]),
        (["--max-length", "300"], ["max_length 300", "2 to 256", "Lower"]),
        (["--model", "no/where/at/all"], ["no such folder", "'splade-tiny'"]),
        (["--model", "broken"], ["broken", "no masked language model"]),
    ],
)
def test_encode_refuses(options, parts, collection_folder, encoder_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(encoder_folder, tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"no weights")
    model = [] if "--model" in options else ["--model", encoder_folder]
    arguments = ["encode", "--data", collection_folder, "--out", "v", *model, *options]
    refused(arguments, *parts)
    assert not (tmp_path / "v").exists()


def flip(path, place=-1):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def test_damaged_and_missing_vectors(vectors_folder, index_folder, tmp_path):
    out = ["--out", tmp_path / "out"]
    refused(["index", tmp_path / "nowhere", *out], "nowhere: no MANIFEST.json", "disco encode")
    refused(["index", index_folder, *out], index_folder, "not vectors", "disco encode")
    flip(vectors_folder / "data.npy")
    refused(["index", vectors_folder, *out], "vectors/data.npy", "changed", "disco encode")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["weight_starts.npy", "steps.npy", "weights.npy", "id_text.npy"])
def test_a_damaged_index(index_folder, queries_folder, tmp_path, name):
    flip(index_folder / name, 100)
    arguments = ["search", index_folder, "--queries", queries_folder, "--out", tmp_path / "r"]
    refused(arguments, f"index/{name}", "changed", "Rebuild it with: disco index")
    assert not (tmp_path / "r").exists()


def test_search_refuses(index_folder, vectors_folder, queries_folder, tmp_path):
    out = ["--out", tmp_path / "r"]
    queries = ["--queries", queries_folder]
    refused(["search", tmp_path / "x", *queries, *out], "x: no MANIFEST.json", "disco index")
    refused(
        ["search", vectors_folder, *queries, *out], vectors_folder, "not an index", "disco index"
    )
    refused(["search", index_folder, "--queries", tmp_path / "x", *out], "disco encode")
    wider = sparse.random(2, VOCABULARY + 1, 0.5, "csr", np.float32, 4)
    save_vectors(tmp_path / "wider", Vectors(wider, ["a", "b"], {}))
    line = refused(["search", index_folder, "--queries", tmp_path / "wider", *out], "wider", "31")
    assert "index has 30" in line and "one vocabulary" in line
    refused(["search", index_folder, *queries, *out, "--tag", "a b"], "'a b'", "white space")
    refused(["search", index_folder, *queries, "--out", tmp_path], tmp_path, "Check the path")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    "content, options, parts",
    [
        (None, [], ["run.trec: no such run", "disco search"]),
        ("t Q0 p 1 2.0 x\nt Q0 p\n", [], ["run.trec:2:", "3 columns, not 6", "A line is:"]),
        ("t Q0 p 1 nan x\n", [], ["run.trec:1:", "field 'score'", "A line is:"]),
        ("t Q0 p 1 2 x\nt Q0 p 2 1 x\n", [], ["run.trec:2:", "p stands twice", "Keep one"]),
        (b"\xff\xfe", [], ["run.trec", "not UTF-8"]),
        ("other Q0 p 1 2.0 x\n", [], ["ranks none of the 10 turns of 'test'", "Give the split"]),
        ("t Q0 p 1 2.0 x\n", ["--with-rewrite", "typo"], ["'typo'", "gold, long"]),
    ],
)
def test_evaluate_refuses(content, options, parts, collection_folder, tmp_path):
    path = tmp_path / "run.trec"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(["evaluate", path, "--data", collection_folder, *options], *parts)


def test_evaluate_says_when_no_turn_is_left(collection_folder, run_file):
    path = collection_folder / "turns_test.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row | {"conv_id": row["turn_id"]}) + "\n" for row in rows))
    refused(["evaluate", run_file, "--data", collection_folder], "'test'", "--no-later-turns")
    done("evaluate", run_file, "--data", collection_folder, "--no-later-turns")


def test_nothing_of_somebody_else_is_replaced(
    reading, collection_folder, vectors_folder, index_folder, tmp_path
):
    (tmp_path / "out").mkdir()
    precious = tmp_path / "out" / "thesis.tex"
    precious.write_text("years of work")
    data = ["--data", collection_folder]
    for name in ("teach", "distil", "encode"):
        refused([*reading[name], *data], tmp_path / "out", "would be lost", "Choose another")
    refused(["index", vectors_folder, "--out", tmp_path / "out"], "would be lost")
    refused(["index", vectors_folder, "--out", vectors_folder], "vectors: holds something else")
    refused(["index", vectors_folder, "--out", precious], "thesis.tex", "would be lost")
    refused(["index", vectors_folder, "--out", precious / "x"], "thesis.tex", "Check the path")
    assert precious.read_text() == "years of work" and load_vectors(vectors_folder).ids
    before = (index_folder / "MANIFEST.json").stat().st_ino
    done("index", vectors_folder, "--out", index_folder)  # an older index may be replaced
    assert (index_folder / "MANIFEST.json").stat().st_ino != before


def test_usage_errors_end_with_2():
    for arguments in (["typo"], ["teach"], ["search", "x", "--k", "none"], ["claims", "--typo"]):
        result = disco(*arguments)
        assert result.exit_code == 2 and "Usage: " in result.stderr and "--help" in result.stderr


def test_an_interruption_by_hand_ends_with_130(collection_folder, encoder_folder, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("disco_lib.datasets.load", interrupted)
    result = disco("encode", "--data", collection_folder, "--out", "v")
    assert result.exit_code == 130
    assert result.stderr == "disco: interrupted; the same command goes on from here.\n"


# Processes


def test_a_process_refuses_with_one_line(collection_folder, tmp_path):
    run = tmp_path / "run.trec"
    run.write_text("violin_1 Q0 violin-made 1\n")
    result = start("evaluate", run, "--data", collection_folder, capture_output=True)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr == (
        f"disco: {run}:1: 4 columns, not 6. A line is: turn_id Q0 pid rank score tag.\n"
    )


def test_a_reader_that_goes_away_gets_no_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    result = start("claims", "--tier", "mini", stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert result.stderr == ""


# Measuring and verdicts


def test_measure_publishes_records(
    collection_folder, encoder_folder, measured, tmp_path, monkeypatch
):
    settings = f"""
what: the tests' collection
data: {collection_folder}
train: train
test: test
encoder: {encoder_folder}
seeds: [1]
depth: 20
teacher_depth: 20
evaluation: {{later_turns: true}}
distil: {json.dumps(SETTINGS | {"document_length": 64})}
systems:
  whole: {{run: encoder, input: conversation}}
  alone: {{run: encoder, input: utterance}}
"""
    (tmp_path / "tiers").mkdir()
    (tmp_path / "tiers" / "tiny.yaml").write_text(settings)
    monkeypatch.setattr(tiers, "FOLDER", tmp_path / "tiers")
    refused(
        ["measure", "--tier", "tiny", "--system", "alone", "--system", "typo"], "'typo'", "whole"
    )
    assert not measured.exists()
    lines = done("measure", "--tier", "tiny").splitlines()
    assert [line.split()[0] for line in lines] == ["whole", "alone"]
    for line in lines:
        record = read_record(measured / "tiny" / f"{line.split()[0]}.json")
        assert f"MRR@10 {record.mean('MRR@10'):.4f}" in line and "(10 turns)" in line
    expected = experiments.Laboratory("tiny", progress=False).measure("alone")
    assert record.values == expected.values and record.system == "alone"
    assert claims_module.tiers_measured() == ["tiny"]


def test_measure_takes_the_dense_systems_alone(
    collection_folder, encoder_folder, dense_encoder, measured, tmp_path, monkeypatch
):
    dense_encoder.save_pretrained(tmp_path / "teacher")
    teacher = {"run": "dense", "encoder": "teacher"}
    lexical = {"run": "bm25", "input": "rewrite:gold"}
    dense = {
        "teacher": str(tmp_path / "teacher"), "rewriter": "gold", "teacher_length": 32,
        "selected": 80, "student": {}, "systems": {"one": teacher, "words": lexical},
    }  # fmt: skip
    tier = tiers.Tier(
        "tiny", "for tests", str(collection_folder), "train", "test", str(encoder_folder),
        (1,), 20, 20, {"later_turns": True}, {"document_length": 32},
        {"plain": {"run": "encoder", "input": "utterance"}}, dense=dense,
    )  # fmt: skip
    monkeypatch.setattr(tiers, "load_tier", lambda name: tier)
    lines = done("measure", "--tier", "tiny", "--dense").splitlines()
    assert [line.split()[0] for line in lines] == ["one", "words"]
    assert read_record(measured / "tiny" / "one.json").mean("MAE") == 0
    monkeypatch.setattr(tiers, "load_tier", lambda name: dataclasses.replace(tier, dense={}))
    refused(["measure", "--tier", "tiny", "--dense"], "tier tiny has no dense systems")


def test_measure_refuses(measured):
    refused(["measure", "--tier", "typo"], "No tier 'typo'", "mini", "--tier")
    refused(["measure", "--system", "typo"], "no system 'typo'", "student-kl")


def write_records(tier, claim):
    """Records of every system that a claim compares, whose claimed order is clear."""
    rng = np.random.default_rng(8)
    systems = {name for item in claim.comparisons for name in (item.a, item.b)}
    better = {item.a for item in claim.comparisons}
    for system in systems:
        gain = 0.2 if system in better else 0.0
        names = {item.metric for item in claim.comparisons}
        values = {m: list(0.4 + gain + rng.normal(0, 0.05, 60)) for m in names}
        write_record(
            Record(
                tier, system, system, {"collection": "c"}, settings_hash({"collection": "c"}),
                [f"t{i}" for i in range(60)], {"-": values}, {}, {"-": {}},
                intervals({"-": values}), {},
            ),
            publish=True,
        )  # fmt: skip


def test_claims(measured):
    result = disco("claims")
    assert result.exit_code == 0 and result.stdout == ""
    assert "no tier has records yet; `disco measure` makes them" in result.stderr
    assert json.loads(done("claims", "--json")) == []

    claim = next(
        claim
        for claim in load_paper("disco").claims
        if claim.comparisons
        and all(c.direction == "greater" and c.metric[0] in "MRn" for c in claim.comparisons)
    )
    write_records("mini", claim)
    rows = json.loads(done("claims", "--json"))
    every = [c.id for name in paper_names() for c in load_paper(name).claims]
    assert isinstance(rows, list) and [row["id"] for row in rows] == every
    for row in rows:
        assert set(row) >= {"id", "paper", "statement", "tier", "verdict", "effect", "interval"}
        assert row["tier"] == "mini" and row["statement"]
    assert rows == [json.loads(json.dumps(verdict.to_dict())) for verdict in verdicts()]
    judged = next(row for row in rows if row["id"] == claim.id)
    low, high = judged["interval"]
    assert judged["verdict"] == "reproduced" and low < judged["effect"] < high

    lines = done("claims").splitlines()
    assert len(lines) == 2 * len(every)
    printed = next(line for line in lines if claim.id in line.split())
    assert "reproduced" in printed and f"effect {judged['effect']:+.4f}" in printed
    assert f"{judged['comparisons'][0]['reads']} in " in printed
    assert f"and {len(claim.comparisons) - 1} more" in printed
    one = json.loads(done("claims", "--json", "--paper", "disco", "--tier", "qrecc"))
    assert {row["paper"] for row in one} == {"disco"} and {row["tier"] for row in one} == {"qrecc"}
    assert {row["verdict"] for row in one} == {"not run", "published only"}


def test_claims_refuses(measured):
    line = refused(["claims", "--tier", "typo"], "No tier 'typo'", ", ".join(tiers.tier_names()))
    assert "mini" in line and "with records: none" in line
    write_records("mini", next(c for c in load_paper("disco").claims if c.comparisons))
    refused(["claims", "--tier", "mini", "--tier", "typo", "--json"], "with records: mini")
    refused(["claims", "--paper", "typo"], "No paper 'typo'", "disco")
    (measured / "mini" / "broken.json").write_text("{")
    path = next(p for p in (measured / "mini").glob("*.json") if p.stem != "broken")
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"settings": {"collection": "edited"}}))
    refused(["claims", "--tier", "mini"], path, "edited after it was written", "Measure again")
