"""The embedded collection holds what its card says."""

from collections import Counter
from itertools import chain

import pytest

from disco_lib.catalogue import EMBEDDED
from disco_lib.datasets import load
from disco_lib.expansion import HistoricalExpansion
from disco_lib.retrieval_checks import _judged
from disco_lib.rewrites import read_notes
from disco_lib.verification import verify


@pytest.fixture(scope="module")
def checks(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("DISCO_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield verify(load("mini"))
    patch.undo()


@pytest.fixture
def turns():
    mini = load("mini")
    return {split: mini.iter_turns(split) for split in mini.splits}


def test_every_check_holds(checks):
    assert [check for check in checks if not check.ok] == []
    judged = [check.name for check in checks if check.judged]
    assert any("near-duplicate" in name for name in judged)
    for system in ("BM25", "SPLADE-tiny"):
        for given in ("utterance", "rewrite:hqe", "rewrite:smollm2", "conversation"):
            assert f"MRR@10 of {system}, {given}" in judged


def test_it_is_as_large_as_it_has_to_be(turns):
    conversations = {split: {t.conv_id for t in rows} for split, rows in turns.items()}
    assert len(load("mini").passages) == 1080
    assert {s: len(c) for s, c in conversations.items()} == {
        "train": 110, "dev": 20, "test": 30, "ood": 20
    }  # fmt: skip
    assert sum(map(len, turns.values())) >= 1400
    depths = Counter(turn.depth for turn in turns["test"])
    assert all(depths[depth] >= 25 for depth in range(1, 11))
    lengths = Counter(turn.conv_id for turn in chain.from_iterable(turns.values()))
    assert min(lengths.values()) >= 6 and max(lengths.values()) <= 14
    assert sum(file.stat().st_size for file in EMBEDDED.iterdir()) < 6e6


def test_each_program_among_the_rewriters_is_noted(turns):
    notes = read_notes(EMBEDDED)
    names = {name for turn in chain.from_iterable(turns.values()) for name in turn.rewrites}
    assert names == {"gold", *notes}
    for name, note in notes.items():
        assert note["command"].startswith(f"disco rewrite --data mini --name {name} ")
        assert note["turns"] == sum(map(len, turns.values()))
        assert len(note["date"]) == 10 and note["versions"]
    assert len(notes["smollm2"]["weights"]) == 64


def test_the_stored_expansions_are_those_that_the_program_makes(turns):
    note = read_notes(EMBEDDED)["hqe"]
    settings = {name: note[name] for name in ("topic", "subtopic", "window", "ambiguous")}
    expansion = HistoricalExpansion(load("mini").passage_texts(), **settings)
    assert expansion.settings()["passages"] == note["passages"]
    for rows in turns.values():
        assert expansion.rewrite(rows) == [turn.rewrites["hqe"] for turn in rows]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, None),
        ({"utterance": 0.47, "rewrite:gold": 0.56, "conversation": 0.5}, "utterance"),
        ({"rewrite:weak": 0.39}, "rewrite:weak"),
        ({"rewrite:weak": 0.71}, "rewrite:weak"),
        ({"conversation": 0.7}, "conversation"),
        ({"rewrite:gold": 0.95}, "rewrite:gold"),
        ({"rewrite:gold": 0.54, "conversation": 0.5, "rewrite:weak": 0.5}, "rewrite:gold"),
    ],
)
def test_a_value_out_of_range_is_a_fault(change, fault):
    values = {"utterance": 0.4, "rewrite:weak": 0.5, "rewrite:gold": 0.7, "conversation": 0.6}
    found = [c.name for c in _judged("SPLADE-tiny", values | change, "rewrite:gold", 9) if not c.ok]
    assert found == ([] if fault is None else [f"MRR@10 of SPLADE-tiny, {fault}"])
