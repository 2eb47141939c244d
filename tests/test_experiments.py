from dataclasses import replace

import numpy as np
import pytest

from disco_lib import records
from disco_lib.conversations import context_ids
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.experiments import Laboratory
from disco_lib.index import InvertedIndex
from disco_lib.metrics import METRICS, evaluate, remove_earlier_answers
from disco_lib.records import read_record
from disco_lib.sparsity import active_terms, flops
from disco_lib.storage import cache_root
from disco_lib.tiers import Tier
from disco_lib.training import distil

pytestmark = pytest.mark.usefixtures("short_collections")

DISTIL = {
    "input": "conversation",
    "limits": {"utterance": 16, "answer": 16, "total": 48},
    "document_length": 48,
    "sampler": {"negatives": 6, "start": 1, "end": 20},
    "objective": {"kl_divergence": 1.0},
    "steps": 4,
    "batch_size": 4,
    "learning_rate": 0.003,
}
SYSTEMS = {
    "bm25": {"run": "bm25", "input": "conversation", "label": "BM25"},
    "utterance": {"run": "encoder", "input": "utterance"},
    "rewrite": {"run": "encoder", "input": "rewrite:long"},
    "student": {"run": "student", "teachers": ["gold"], "label": "A student"},
    "questions": {"run": "student", "teachers": ["gold"], "input": "questions"},
    "contrast": {"run": "student", "teachers": ["gold"], "objective": {"info_nce": 1.0}},
}


@pytest.fixture(autouse=True)
def own_root(tmp_path, monkeypatch):
    """Let data/measured lie in tmp_path."""
    monkeypatch.setattr(records, "ROOT", tmp_path / "repository")


@pytest.fixture
def tier(collection_folder, encoder_folder):
    return Tier(
        "tiny", "for tests", str(collection_folder), "train", "test", str(encoder_folder),
        seeds=(1, 2), depth=40, teacher_depth=40,
        evaluation={"later_turns": True, "remove_earlier_answers": False},
        distil=DISTIL, systems=SYSTEMS,
    )  # fmt: skip


@pytest.fixture
def laboratory(tier):
    return Laboratory(tier, progress=False)


@pytest.fixture
def runs(monkeypatch):
    """Note every (system, seed) that is run."""
    noted = []
    run = Laboratory._run

    def noting(self, name, seed):
        noted.append((name, seed))
        return run(self, name, seed)

    monkeypatch.setattr(Laboratory, "_run", noting)
    return noted


# What is measured


def test_an_encoders_record_is_what_its_parts_give(laboratory, collection, encoder):
    record = laboratory.measure("utterance")
    turns = [turn for turn in collection.iter_turns("test") if turn.depth > 1]
    assert record.turn_ids == [turn.turn_id for turn in turns] and len(turns) == 10
    limits = laboratory.base_settings.limits
    ids = [context_ids(turn, "utterance", encoder.tokenizer, limits) for turn in turns]
    queries = encoder.encode(ids, 48)
    documents = encoder.encode(collection.passage_texts(), 48)
    run = InvertedIndex.build(documents, collection.pids).search(queries, 40, record.turn_ids)
    expected = evaluate(collection.qrels("test"), run, turn_ids=record.turn_ids)
    assert list(record.values) == record.seeds == ["-"]
    for metric in METRICS:
        np.testing.assert_allclose(record.per_turn(metric), expected.values[metric], atol=1e-6)
        assert record.mean(metric) == pytest.approx(expected.mean()[metric], abs=1e-6)
        low, high = record.intervals[metric]
        assert low <= record.mean(metric) <= high
        assert record.unremoved_mean(metric) == pytest.approx(record.mean(metric), abs=1e-6)
    assert record.cost("active_terms") == pytest.approx(active_terms(queries).mean(), abs=1e-3)
    assert record.cost("flops") == pytest.approx(flops(queries, documents), abs=1e-3)
    assert record.label == "utterance" and record.provenance["python"].startswith("3.")


def test_a_students_record_has_every_seed(laboratory, runs):
    record = laboratory.measure("student")
    assert runs == [("student", 1), ("student", 2)] and record.seeds == ["1", "2"]
    first, second = (np.array(record.values[seed]["MRR"]) for seed in ("1", "2"))
    assert len(first) == 10 and not np.array_equal(first, second)
    np.testing.assert_allclose(record.per_turn("MRR"), (first + second) / 2)
    assert record.seed_means("MRR") == [pytest.approx(first.mean()), pytest.approx(second.mean())]
    assert record.label == "A student"


def test_bm25_reads_the_whole_conversation(laboratory):
    turns, run, queries = laboratory._run("bm25", "-")
    results = run.to_dict()
    assert queries is None and len(turns) == 10
    for turn in turns:
        # The topic is named in the history alone, where an answer stands word for word.
        assert turn.conv_id not in turn.utterance
        assert next(iter(results[turn.turn_id])).split("-")[0] == turn.conv_id
    record = laboratory.measure("bm25")
    assert record.mean("MRR") > 0 and np.isnan(record.cost("flops"))


def test_only_turns_with_the_input_count(laboratory):
    # A third of the turns lack the rewrite "long": those of depth 3; depth 1 is not asked for.
    record = laboratory.measure("rewrite")
    assert {name[-2:] for name in record.turn_ids} == {"_2"}


def test_first_turns_count_where_the_tier_says_so(tier):
    every = Laboratory(replace(tier, evaluation={}), progress=False)
    assert len(every.measure("utterance").turn_ids) == 15


def test_earlier_answers_are_removed_where_the_tier_says_so(tier, collection, runs):
    laboratory = Laboratory(
        replace(tier, evaluation={"remove_earlier_answers": True}), progress=False
    )
    record = laboratory.measure("bm25")
    turns, run, _ = laboratory._run("bm25", "-")
    texts = dict(zip(collection.pids, collection.passage_texts(), strict=True))
    removed = remove_earlier_answers(run, turns, texts)
    qrels = collection.qrels("test")
    for metric in METRICS:
        kept = evaluate(qrels, run, turn_ids=record.turn_ids).mean()[metric]
        without = evaluate(qrels, removed, turn_ids=record.turn_ids).mean()[metric]
        assert record.mean(metric) == pytest.approx(without, abs=1e-6)
        assert record.unremoved_mean(metric) == pytest.approx(kept, abs=1e-6)
    assert record.mean("MRR") > record.unremoved_mean("MRR")


def test_a_split_without_the_input_is_named(tier):
    systems = {"none": {"run": "encoder", "input": "rewrite:llama"}}
    with pytest.raises(DiscoError, match="Tier tiny: no turn of test has 'rewrite:llama'"):
        Laboratory(replace(tier, systems=systems), progress=False).measure("none")


def test_an_unknown_system_lists_those_there_are(laboratory):
    with pytest.raises(DiscoError, match="no system 'gpt'; there are: bm25, utterance"):
        laboratory.measure("gpt")
    assert laboratory.find_or_measure("gpt") is None
    assert laboratory.find_or_measure("bm25").system == "bm25"


# Found again


def test_a_record_is_found_instead_of_being_run_again(laboratory, tier, runs):
    first = laboratory.measure("utterance")
    assert laboratory.measure("utterance") == first
    assert Laboratory(tier, progress=False).measure("utterance") == first
    assert len(runs) == 1
    stored = list((cache_root() / "measured" / "tiny").iterdir())
    assert [read_record(path) for path in stored] == [first]


def test_a_published_record_is_found_without_the_cache(laboratory, tier, runs, monkeypatch):
    first = laboratory.measure("utterance", publish=True)
    assert (records.measured_root() / "tiny" / "utterance.json").is_file()
    monkeypatch.setenv("DISCO_CACHE", str(records.ROOT / "another-cache"))
    assert Laboratory(tier, progress=False).measure("utterance") == first
    assert len(runs) == 1


def test_a_record_of_the_cache_is_published_when_asked_for(laboratory, runs):
    first = laboratory.measure("utterance")
    assert records.published_records("tiny") == {}
    assert laboratory.measure("utterance", publish=True) == first
    assert records.published_records("tiny") == {"utterance": first}
    assert len(runs) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"depth": 39},
        {"evaluation": {"later_turns": False}},
        {"test": "train"},
        {"distil": {**DISTIL, "document_length": 47}},
        {"distil": {**DISTIL, "limits": {"utterance": 15, "answer": 16, "total": 48}}},
        {"systems": {"utterance": {"run": "encoder", "input": "questions"}}},
    ],
)
def test_a_changed_setting_is_measured_anew(laboratory, tier, runs, change):
    first = laboratory.measure("utterance", publish=True)
    other = Laboratory(replace(tier, **change), progress=False)
    again = other.measure("utterance", publish=True)
    assert len(runs) == 2 and again.settings_hash != first.settings_hash
    assert records.published_records("tiny") == {"utterance": again}


@pytest.mark.parametrize(
    "change",
    [
        {"distil": {**DISTIL, "steps": 5}},
        {"seeds": (1, 3)},
        {"teacher_depth": 39},
        {"systems": {"student": {"run": "student", "teachers": ["gold", "long"]}}},
    ],
)
def test_a_students_settings_decide_its_record(tier, laboratory, change):
    settings = laboratory.settings("student")
    assert Laboratory(replace(tier, **change)).settings("student") != settings


def test_what_decides_nothing_is_no_setting(tier, laboratory):
    for name in ("student", "utterance"):
        settings = laboratory.settings(name)
        labelled = {**SYSTEMS, name: {**SYSTEMS[name], "label": "Another name"}}
        for change in ({"systems": labelled}, {"what": "other words"}):
            assert Laboratory(replace(tier, **change)).settings(name) == settings
    # What only trainings look at leaves the other systems' records alone.
    settings = laboratory.settings("utterance")
    for change in ({"seeds": (7,)}, {"distil": {**DISTIL, "steps": 5}}, {"teacher_depth": 3}):
        assert Laboratory(replace(tier, **change)).settings("utterance") == settings


def test_other_data_are_measured_anew(tier, laboratory, collection_folder, runs):
    first = laboratory.measure("bm25")
    with (collection_folder / "collection.jsonl").open("a") as file:
        file.write('{"pid": "more", "text": "the harp"}\n')
    again = Laboratory(tier, progress=False).measure("bm25")
    assert len(runs) == 2 and again.settings != first.settings


def test_an_edited_record_is_refused(laboratory):
    laboratory.measure("bm25", publish=True)
    path = records.measured_root() / "tiny" / "bm25.json"
    path.write_text(path.read_text().replace('"depth": 40', '"depth": 400'))
    with pytest.raises(IntegrityError, match=r"bm25\.json.*Measure again"):
        laboratory.measure("bm25")


# Students and teachers


def test_a_student_is_trained_as_its_system_says(laboratory):
    plain, contrast = (laboratory.student_settings(name, 2) for name in ("student", "contrast"))
    assert plain.seed == 2 and plain.steps == 4 and plain.objective == {"kl_divergence": 1.0}
    assert contrast.objective == {"info_nce": 1.0}
    assert replace(contrast, objective=plain.objective) == plain
    assert laboratory.student_settings("student").seed == 1


def test_a_students_own_input_is_trained_and_searched(tier, monkeypatch):
    laboratory = Laboratory(replace(tier, seeds=(1,)), progress=False)
    assert laboratory.student_settings("questions").input == "questions"
    searched = []
    search = Laboratory._search

    def noting(self, encoder, given, limits):
        searched.append(given)
        return search(self, encoder, given, limits)

    monkeypatch.setattr(Laboratory, "_search", noting)
    record = laboratory.measure("questions")
    assert searched == ["questions"]
    assert record.settings["distil"]["input"] == "questions"


def test_students_are_trained_once(laboratory, tier, monkeypatch):
    first = laboratory.student("student", 1)
    log = laboratory.training_log("student", 1)
    assert len(log) == 0 or "kl_divergence" in log[0]
    folder = laboratory.student_folder("student", 1)
    changed = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = Laboratory(tier, progress=False).student("student", 1)
    assert again.fingerprint() == first.fingerprint()
    assert all(path.stat().st_mtime_ns == when for path, when in changed.items())
    assert laboratory.student_folder("student", 2) != folder
    assert laboratory.student_folder("contrast", 1) != folder


def test_a_student_is_the_librarys_own(laboratory, collection, encoder, tmp_path):
    expected = distil(
        encoder, collection, laboratory.teacher(["gold"]),
        laboratory.student_settings("student", 1), tmp_path / "own", progress=False,
    )  # fmt: skip
    assert laboratory.student("student", 1).fingerprint() == expected.fingerprint()


def test_teachers_are_taught_once_and_again_when_damaged(laboratory, tier, monkeypatch):
    from disco_lib import experiments

    taught = []
    teach = experiments.teach

    def noting(*arguments, **options):
        taught.append(arguments[2])
        return teach(*arguments, **options)

    monkeypatch.setattr(experiments, "teach", noting)
    first = laboratory.teacher(["gold"])
    scores = np.array(first.scores)
    again = Laboratory(tier, progress=False).teacher(["gold"])
    np.testing.assert_array_equal(again.scores, scores)
    assert taught == [["gold"]]
    mean = laboratory.teacher(["gold", "long"])
    assert mean.settings["rewrites"] == ["gold", "long"] and len(taught) == 2
    for path in (cache_root() / "teachers").rglob("scores.npy"):
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    np.testing.assert_array_equal(laboratory.teacher(["gold"]).scores, scores)
    assert len(taught) == 3
