import shutil
from dataclasses import replace

import numpy as np
import pytest

from disco_lib import experiments, records
from disco_lib.blend import blend
from disco_lib.conversations import context_ids
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.experiments import Laboratory
from disco_lib.fusion import fuse
from disco_lib.index import InvertedIndex
from disco_lib.metrics import METRICS, evaluate, remove_earlier_answers
from disco_lib.records import read_record
from disco_lib.runs import run_from_dict
from disco_lib.sparsity import active_terms, flops
from disco_lib.storage import MANIFEST, cache_root
from disco_lib.teacher_distance import kl_to_teacher
from disco_lib.tiers import Tier
from disco_lib.training import distil, document_encoder_of

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
    run = Laboratory.run

    def noting(self, name, seed="-"):
        noted.append((name, seed))
        return run(self, name, seed)

    monkeypatch.setattr(Laboratory, "run", noting)
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
    turns, run, queries = laboratory.run("bm25")
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
    turns, run, _ = laboratory.run("bm25")
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
    assert laboratory.record_if_there("gpt") is None
    assert laboratory.record_if_there("bm25").system == "bm25"


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
    read = []
    monkeypatch.setattr(
        experiments,
        "context_ids",
        lambda turn, given, *rest: read.append(given) or context_ids(turn, given, *rest),
    )
    record = laboratory.measure("questions")
    assert set(read) == {"questions"}
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


# Other kinds of system


def own(tier, **systems):
    return Laboratory(replace(tier, systems={**SYSTEMS, **systems}), progress=False)


def test_an_aggregate_is_the_mean_of_its_inputs_vectors(tier):
    inputs = ["rewrite:gold", "rewrite:long"]
    laboratory = own(
        tier,
        both={"run": "aggregate", "inputs": inputs},
        gold={"run": "encoder", "input": inputs[0]},
    )
    turns, mean = laboratory.queries("both")
    # Only turns that have all the rewrites.
    assert {turn.turn_id for turn in turns} == set(laboratory.measure("rewrite").turn_ids)
    of_gold = dict(
        zip(
            [t.turn_id for t in laboratory.queries("gold")[0]],
            laboratory.queries("gold")[1],
            strict=True,
        )
    )
    _, of_long = laboratory.queries("rewrite")
    expected = (np.vstack([of_gold[t.turn_id].toarray() for t in turns]) + of_long.toarray()) / 2
    np.testing.assert_allclose(mean.toarray(), expected, rtol=1e-6)
    record = laboratory.measure("both")
    assert record.seeds == ["-"] and record.cost("active_terms") > 0


def test_a_fusion_searches_its_parts_on_each_seed(tier, collection):
    laboratory = own(tier, fused={"run": "fusion", "of": ["student", "rewrite"]})
    record = laboratory.measure("fused")
    assert record.seeds == ["1", "2"] and np.isnan(record.cost("flops"))
    # On the turns that both parts have.
    assert record.turn_ids == laboratory.measure("rewrite").turn_ids
    turns, run, queries = laboratory.run("fused", 1)
    assert queries is None
    names = [turn.turn_id for turn in turns]
    parts = [
        run_from_dict({t: r for t, r in laboratory.run(n, 1)[1].to_dict().items() if t in names})
        for n in ("student", "rewrite")
    ]
    assert run.to_dict() == fuse(parts, depth=40).to_dict()
    expected = evaluate(collection.qrels("test"), run, turn_ids=names)
    np.testing.assert_allclose(record.values["1"]["MRR"], expected.values["MRR"], atol=1e-6)
    assert record.settings["of"][0]["distil"]["steps"] == 4


def test_a_fusion_of_untrained_systems_has_no_seed(tier):
    laboratory = own(tier, fused={"run": "fusion", "of": ["bm25", "utterance"], "method": "rrf"})
    assert laboratory.measure("fused").seeds == ["-"]


def test_a_grid_is_measured_like_any_system(tier):
    grid = {"base": "student", "vary": "objective.l1", "values": [0, 0.01]}
    laboratory = Laboratory(replace(tier, grids={"l1": grid}, seeds=(1,)), progress=False)
    assert laboratory.tier.grid("l1") == {"0": "l1-0", "0.01": "l1-0.01"}
    record = laboratory.measure("l1-0.01")
    assert record.settings["distil"]["objective"] == {"kl_divergence": 1.0, "l1": 0.01}
    assert laboratory.student_folder("l1-0.01", 1) != laboratory.student_folder("student", 1)


# Elsewhere


def test_a_student_is_taken_to_other_turns_as_it_is(tier, runs):
    there = {"data": tier.data, "split": "train", "evaluation": {}, "systems": ["student"]}
    laboratory = Laboratory(replace(tier, elsewhere={"seen": there}, seeds=(1,)), progress=False)
    record = laboratory.measure("student@seen")
    assert record.label == "A student, seen"
    assert record.settings["split"] == "train" and record.settings["evaluation"] == {}
    assert record.settings["trained_on"] == laboratory.collection.fingerprint
    turns, _, queries = laboratory.run("student@seen", 1)
    assert record.turn_ids == [turn.turn_id for turn in turns] and len(turns) == 30
    assert queries.shape[0] == 30
    # The same student: nothing is trained anew for the other place.
    assert len(list((cache_root() / "students").glob(f"*/{MANIFEST}"))) == 1
    with pytest.raises(DiscoError, match="no place 'moon'; there are: seen"):
        laboratory.measure("student@moon")
    assert not laboratory.tier.has("student@moon") and laboratory.tier.has("utterance@seen")


def test_another_data_set_has_its_own_passages(tier, collection_folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(collection_folder, other)
    with (other / "collection.jsonl").open("a") as file:
        file.write('{"pid": "more", "text": "the harp"}\n')
    there = {"data": str(other), "split": "test", "systems": ["utterance"]}
    laboratory = Laboratory(replace(tier, elsewhere={"other": there}), progress=False)
    assert len(laboratory.ground("utterance@other").index) == len(laboratory.index) + 1
    assert laboratory.ground("utterance@other").encoder is laboratory.encoder
    record = laboratory.measure("utterance@other", publish=True)
    assert set(records.published_records("tiny")) == {"utterance@other"}
    assert record.settings["collection"] != laboratory.collection.fingerprint


# By turn, and drafts


def test_a_record_keeps_depth_and_cost_of_every_turn(laboratory):
    record = laboratory.measure("student")
    turns, _, queries = laboratory.run("student", 2)
    assert record.depths == [turn.depth for turn in turns]
    assert record.conversations == [turn.conv_id for turn in turns]
    assert record.turn_costs["2"]["active_terms"] == active_terms(queries).tolist()
    mean = record.per_turn_cost("active_terms").mean()
    assert mean == pytest.approx(record.cost("active_terms"), abs=1e-3)
    assert record.cost("search_ms") > 0
    with pytest.raises(DiscoError, match="no active_terms a turn.*disco measure --tier tiny"):
        laboratory.measure("bm25").per_turn_cost("active_terms")


def test_documents_that_were_trained_are_searched_and_their_size_is_kept(tier, laboratory):
    systems = SYSTEMS | {"both": {"run": "student", "teachers": ["gold"], "documents": "trained"}}
    laboratory = Laboratory(replace(tier, systems=systems, seeds=(1,)), progress=False)
    record = laboratory.measure("both")
    encoder = document_encoder_of(laboratory.student_folder("both", 1))
    own = encoder.encode(laboratory.collection.passage_texts(), 48)
    assert record.cost("postings") == active_terms(own).sum()
    assert record.cost("document_terms") == pytest.approx(active_terms(own).mean(), abs=1e-3)
    assert record.cost("index_mb") > 0
    turns, queries = laboratory.queries("both", 1)
    assert record.cost("flops") == pytest.approx(flops(queries, own), abs=1e-3)
    # The others search the passages as they were.
    assert np.isnan(laboratory.measure("student").cost("postings"))


def test_a_record_keeps_how_far_a_student_is_from_its_teacher(laboratory):
    record = laboratory.measure("student")
    turns, queries = laboratory.queries("student", 1)
    rewriter = laboratory.tier.system("student")["teachers"][0]
    limits = laboratory.base_settings.limits
    taught = laboratory.encoder.encode([t.rewrites[rewriter] for t in turns], limits.total)
    depth = laboratory.tier.teacher_depth
    expected = kl_to_teacher(queries, taught, laboratory.documents, depth)
    assert record.turn_costs["1"]["kl"] == pytest.approx(expected, abs=1e-5)
    assert record.cost("kl") == pytest.approx(record.per_turn_cost("kl").mean(), abs=1e-5)
    assert np.isnan(laboratory.measure("bm25").cost("kl"))
    assert record.cost("taught_turns") == len(laboratory.teacher_of("student"))


def test_a_student_may_learn_from_shared_turns_alone(tier, collection_folder):
    systems = {**tier.systems, "shared": {**tier.systems["student"], "among": ["gold", "long"]}}
    laboratory = Laboratory(replace(tier, systems=systems), progress=False)
    every, shared = (laboratory.teacher_of(name) for name in ("student", "shared"))
    turns = laboratory.collection.iter_turns("train")
    both = [t.turn_id for t in turns if t.rewrites.get("gold") and t.rewrites.get("long")]
    assert 0 < len(both) < len(every) and shared.turn_ids == both
    folders = [laboratory.student_folder(name, 1) for name in ("student", "shared")]
    assert folders[0] != folders[1]
    assert laboratory.settings("student") != laboratory.settings("shared")


def test_a_blend_is_of_each_seed_or_pooled(tier):
    of = {"run": "blend", "of": ["student"], "share": 0.25}
    systems = {**tier.systems, "blend": of, "pool": {**of, "pooled": True}}
    laboratory = Laboratory(replace(tier, systems=systems), progress=False)
    each, pooled = laboratory.measure("blend"), laboratory.measure("pool")
    assert each.seeds == ["1", "2"] and pooled.seeds == ["-"]
    students = [laboratory.student("student", seed) for seed in (1, 2)]
    start = laboratory.encoder
    expected = blend(students[1:], start, 0.25)
    assert laboratory.blended("blend", 2).fingerprint() == expected.fingerprint()
    made = laboratory.blended("pool", "-")
    assert made.fingerprint() == blend(students, start, 0.25).fingerprint()
    turns, queries = laboratory.queries("pool")
    ids = [
        context_ids(t, "conversation", start.tokenizer, laboratory.base_settings.limits)
        for t in turns
    ]
    assert (queries != made.encode(ids, 48)).nnz == 0
    assert pooled.turn_costs["-"]["active_terms"] == active_terms(queries).tolist()
    other = replace(tier, systems={**systems, "blend": {**of, "share": 0.5}})
    assert Laboratory(other, progress=False).settings("blend") != laboratory.settings("blend")


def test_measuring_again_keeps_what_a_training_took(laboratory, runs):
    first = laboratory.measure("student", publish=True)
    assert all(costs["seconds"] > 0 for costs in first.costs.values())
    assert laboratory.measure("student", publish=True) == first and len(runs) == 2
    again = laboratory.measure("student", publish=True, again=True)
    assert len(runs) == 4 and again.values == first.values
    for seed in first.seeds:
        assert again.costs[seed]["seconds"] == first.costs[seed]["seconds"]


def test_the_best_score_of_every_turn_is_kept(laboratory):
    record = laboratory.measure("utterance")
    turns, run, _ = laboratory.run("utterance")
    best = [max(run.to_dict()[turn.turn_id].values()) for turn in turns]
    assert record.turn_costs["-"]["best_score"] == pytest.approx(best, abs=1e-3)
    assert "best_score" not in laboratory.measure("bm25").turn_costs["-"]


def test_a_student_of_bm25(tier):
    taught = {**tier.systems["student"], "scorer": "bm25"}
    laboratory = own(tier, lexical=taught)
    teacher = laboratory.teacher_of("lexical")
    assert teacher.queries is None and (teacher.scores >= 0).all()
    record = laboratory.measure("lexical")
    assert "kl" not in record.costs["1"] and record.costs["1"]["taught_turns"] == len(teacher)
    assert laboratory.student_folder("lexical", 1) != laboratory.student_folder("student", 1)


@pytest.mark.parametrize(
    "change", [{"scorer": "cosine"}, {"scorer": "bm25", "teachers": ["a", "b"]}]
)
def test_a_scorer_that_there_is_not_is_told(tier, change):
    laboratory = own(tier, odd={**tier.systems["student"], **change})
    with pytest.raises(DiscoError, match="there are 'splade', and 'bm25' of one"):
        laboratory.teacher_of("odd")


def test_a_student_goes_on_from_another(tier):
    laboratory = own(tier, later={**tier.systems["student"], "start": "questions", "seeds": [2]})
    begun = laboratory.student("questions", 2).fingerprint()
    assert laboratory.start_of("later", 2).fingerprint() == begun
    assert laboratory.start_of("student", 2).fingerprint() == laboratory.encoder.fingerprint()
    record = laboratory.measure("later")
    assert record.seeds == ["2"] and record.settings["seeds"] == [2]
    assert record.settings["start"] == laboratory.settings("questions")
    assert laboratory.student("later", 2).fingerprint() not in (
        begun, laboratory.student("student", 2).fingerprint(),
    )  # fmt: skip
    folders = {laboratory.student_folder(name, 2) for name in ("later", "student", "questions")}
    assert len(folders) == 3


def test_a_student_grows_before_its_training(tier):
    grown = {**tier.systems["student"], "grow": {"layers": 3}}
    laboratory = own(tier, large=grown, pair={"run": "blend", "of": ["large"], "share": 0.5})
    student = laboratory.student("large", 1)
    assert student.model.config.num_hidden_layers == 3
    assert laboratory.encoder.model.config.num_hidden_layers < 3
    assert laboratory.student_folder("large", 1) != laboratory.student_folder("student", 1)
    expected = blend([student], laboratory.start_of("large", 1), 0.5)
    assert laboratory.blended("pair", 1).fingerprint() == expected.fingerprint()


def test_a_draft_shortens_a_training_of_its_own_length_too(tier):
    own = {**tier.systems["student"], "steps": 2 * tier.distil["steps"]}
    systems = {**tier.systems, "long": own}
    quick = Laboratory(replace(tier, systems=systems, draft={"steps": 2}), progress=False)
    assert quick._drafts.student_settings("student").steps == 2
    assert quick._drafts.student_settings("long").steps == 4
    assert quick.student_settings("long").steps == 2 * tier.distil["steps"]


def test_a_record_from_before_turns_were_told_apart_is_measured_anew(laboratory, runs):
    old = replace(laboratory.measure("bm25", publish=True), depths=[], conversations=[])
    records.write_record(old, publish=True)
    assert laboratory.record("bm25") == old  # a chapter shows what there is
    assert laboratory.measure("bm25", publish=True).depths and len(runs) == 2


def test_a_chapter_without_records_gets_a_draft(tier, laboratory, runs):
    quick = Laboratory(replace(tier, draft={"seeds": [2], "steps": 2}), progress=False)
    draft = quick.record("student")
    assert draft.label == "A student (draft)" and draft.seeds == ["2"]
    assert draft.settings["distil"]["steps"] == 2
    assert quick.record("student") == draft and runs == [("student", 2)]
    # What trains nothing is no draft, and a stored record goes first.
    assert quick.record("utterance").label == "utterance"
    full = laboratory.measure("student")
    assert quick.record("student") == full and full.seeds == ["1", "2"]
    assert laboratory.record("contrast").seeds == ["1", "2"]  # a tier without a draft
