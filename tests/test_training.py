import copy
import json

import numpy as np
import pytest
import torch
from scipy import sparse

from disco_lib import storage
from disco_lib.conversations import Limits, context_ids
from disco_lib.encoders import SpladeEncoder
from disco_lib.errors import DiscoError, IntegrityError
from disco_lib.losses import kl_divergence
from disco_lib.sampling import WindowSampler
from disco_lib.teachers import DistillationRun, teach
from disco_lib.trainer import DistilTrainer
from disco_lib.training import Collator, DistilSettings, distil, document_encoder_of, read_log

pytestmark = pytest.mark.usefixtures("short_collections")

LENGTH = 48
SETTINGS = DistilSettings(
    objective={"kl_divergence": 1.0, "info_nce": {"weight": 0.1, "negatives": "batch"}, "l1": 0.01},
    limits=Limits(16, 16, LENGTH),
    sampler=WindowSampler(negatives=6, start=1, end=20),
    steps=12,
    batch_size=4,
    learning_rate=3e-3,
    warmup=0.1,
    document_length=LENGTH,
    seed=5,
)
UNDISTURBED: dict[str, bytes] = {}


def settings(**changes):
    """Return the tests' settings with changes, as YAML would hold them."""
    return DistilSettings.from_dict({**SETTINGS.to_dict(), **changes})


@pytest.fixture
def teacher(collection, encoder):
    return teach(collection, "train", ["gold"], encoder, 40, max_length=LENGTH)


@pytest.fixture
def train(collection, encoder, teacher, tmp_path):
    """Train a fresh copy of the tiny encoder into the folder `name` below tmp_path."""

    def run(name="student", wanted=SETTINGS, **options):
        options = {"teacher": teacher, "save_steps": 3, "progress": False, **options}
        start = copy.deepcopy(encoder)
        return distil(start, collection, settings=wanted, out=tmp_path / name, **options)

    return run


@pytest.fixture
def whole(train, tmp_path):
    """Return the bytes of the student that an undisturbed training writes; trained once."""
    if not UNDISTURBED:
        train("whole")
        UNDISTURBED.update(contents(tmp_path / "whole"))
    return UNDISTURBED


def same_weights(first, second):
    pairs = zip(first.model.state_dict().items(), second.model.state_dict().items(), strict=True)
    return all(name == other and torch.equal(a, b) for (name, a), (other, b) in pairs)


def contents(folder):
    """Return the bytes of each file of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def stop_at(patch, step):
    """Let the collator fail, as an interruption would, when it is asked for one batch more."""
    collate, calls = Collator.__call__, []

    def failing(self, items):
        calls.append([example.row for example, _ in items])
        if len(calls) > step:
            raise KeyboardInterrupt
        return collate(self, items)

    patch.setattr(Collator, "__call__", failing)
    return calls


def checkpoints(tmp_path):
    return sorted(path.name for path in tmp_path.glob(".student.*.work/checkpoint-*"))


# What is learnt


def test_training_brings_the_student_nearer_to_its_teacher(
    train, collection, encoder, teacher, tmp_path
):
    documents = encoder.encode(collection.passage_texts(), LENGTH)
    inputs = [
        context_ids(turn, "conversation", encoder.tokenizer, SETTINGS.limits)
        for turn in collection.iter_turns("train")
    ]

    def divergence(student):
        product = (student.encode(inputs, LENGTH) @ documents.T).toarray()
        own = np.take_along_axis(product, np.array(teacher.documents), axis=1)
        return float(kl_divergence(torch.from_numpy(own), torch.from_numpy(teacher.scores)))

    sampler = {"negatives": 20, "start": 0, "end": 40, "positive": "own"}
    wanted = settings(objective={"kl_divergence": 1.0}, steps=60, dropout=0.0, sampler=sampler)
    student = train(wanted=wanted)
    assert divergence(student) < 0.5 * divergence(encoder)
    steps = [entry["kl_divergence"] for entry in read_log(tmp_path / "student")]
    assert len(steps) == 60 and np.mean(steps[-10:]) < 0.5 * np.mean(steps[:10])


@pytest.mark.parametrize(
    ("objective", "part"),
    [
        ({"margin_mse": 1.0}, "margin_mse"),
        ({"info_nce": 1.0}, "info_nce"),
        ({"representation_mse": 1.0}, "representation_mse"),
        ({"document_mse": 1.0}, "document_mse"),
        ({"filtered_representation_mse": 1.0}, "filtered_representation_mse"),
        ({"kl_divergence": 0.01, "flops": 1.0}, "flops"),
        ({"kl_divergence": 0.01, "l1": 1.0}, "l1"),
    ],
)
def test_each_loss_falls_when_it_is_trained(train, tmp_path, objective, part):
    train(wanted=settings(objective=objective, steps=30, dropout=0.0), save_steps=100)
    values = [entry[part] for entry in read_log(tmp_path / "student")]
    # One entry for each ten steps.
    assert len(values) == 3 and values[2] < 0.9 * values[0]


def test_the_student_on_disk_is_the_one_that_was_trained(train, encoder, tmp_path):
    from sentence_transformers import SparseEncoder

    student = train()
    assert not same_weights(student, encoder)
    texts = ["how is the violin made", "the comet"]
    peer = SparseEncoder(str(tmp_path / "student"), device="cpu")
    found = peer.encode(texts, convert_to_tensor=True).to_dense().numpy()
    np.testing.assert_allclose(found, student.encode(texts).toarray(), atol=1e-5)
    stored = json.loads((tmp_path / "student" / "distil_settings.json").read_text())
    assert DistilSettings.from_dict(stored) == SETTINGS
    assert [path.name for path in tmp_path.glob(".student.*.work")] == []


def test_the_log_has_every_part_and_they_add_up(train, tmp_path):
    train()
    log = read_log(tmp_path / "student")
    # save_steps is 3, so every step is logged.
    assert [entry["step"] for entry in log] == list(range(1, 13))
    for entry in log:
        total = entry["kl_divergence"] + 0.1 * entry["info_nce"] + 0.01 * entry["l1"]
        assert entry["loss"] == pytest.approx(total, rel=1e-5)
        assert entry["active_terms"] > 0 and entry["flops_metric"] > 0
    rates = [entry["learning_rate"] for entry in log]
    # One of the 12 steps warms up; then the rate falls in a line.
    assert rates[1] == max(rates) and rates[-1] < 0.1 * max(rates)
    np.testing.assert_allclose(np.diff(rates[1:]), np.diff(rates[1:]).mean(), atol=1e-9)


def test_a_bar_shows_the_loss_and_nothing_is_printed(train, capfd):
    train("shown", progress=True)
    shown = capfd.readouterr()
    assert shown.out == "" and "100%|" in shown.err and "loss=" in shown.err
    train("silent", progress=False)
    silent = capfd.readouterr()
    assert silent.out == "" and "%|" not in silent.err


def test_the_same_seed_gives_the_same_weights_bit_for_bit(train, tmp_path):
    first, second = train("one"), train("two")
    assert same_weights(first, second)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert not same_weights(first, train("other", settings(seed=6)))


def test_documents_of_another_encoder_may_be_the_frozen_ones(train, encoder, collection):
    other = copy.deepcopy(encoder)
    with torch.no_grad():
        other.model.get_output_embeddings().bias += 0.3
    assert not same_weights(train("own"), train("other", document_encoder=other))


def test_the_ramp_reaches_the_loss(train, tmp_path):
    train(wanted=settings(objective={"kl_divergence": 1.0, "l1": 1.0}, steps=8, ramp=0.5))
    log = read_log(tmp_path / "student")
    shares = [(entry["loss"] - entry["kl_divergence"]) / entry["l1"] for entry in log]
    assert shares == pytest.approx([1 / 16, 4 / 16, 9 / 16, 1, 1, 1, 1, 1], rel=1e-3)


def test_dropout_0_switches_all_dropout_off(train, encoder, monkeypatch):
    seen = []
    compute_loss = DistilTrainer.compute_loss

    def noting(self, model, inputs, *arguments, **options):
        assert model.training
        vectors = [self.encoder(inputs["input_ids"], inputs["attention_mask"]) for _ in "ab"]
        seen.append(torch.equal(*vectors))
        return compute_loss(self, model, inputs, *arguments, **options)

    monkeypatch.setattr(DistilTrainer, "compute_loss", noting)
    train("without", settings(steps=2, dropout=0.0))
    train("with", settings(steps=2, dropout=0.3))
    train("own", settings(steps=2))
    assert seen == [True, True, False, False, False, False]


BATCH_KL = {"kl_divergence": {"weight": 1.0, "documents": "batch"}}


@pytest.mark.parametrize("documents", ["frozen", "trained"])
def test_a_kl_over_the_batch_falls_when_it_is_trained(train, tmp_path, documents):
    sampler = {"kind": "uniform", "negatives": 6}
    wanted = settings(
        objective=BATCH_KL, sampler=sampler, steps=30, dropout=0.0, documents=documents
    )
    train(wanted=wanted, save_steps=100)
    values = [entry["kl_divergence"] for entry in read_log(tmp_path / "student")]
    assert len(values) == 3 and values[2] < 0.9 * values[0]
    stored = json.loads((tmp_path / "student" / "distil_settings.json").read_text())
    assert DistilSettings.from_dict(stored) == wanted


def test_exact_scores_need_the_teachers_own_documents(train, encoder, teacher, tmp_path):
    top = {"kind": "top", "negatives": 6}
    for changes in ({"objective": BATCH_KL}, {"sampler": top}):
        with pytest.raises(DiscoError, match="made with another max_length"):
            train(wanted=settings(**changes, document_length=20))
    other = copy.deepcopy(encoder)
    with torch.no_grad():
        other.model.get_output_embeddings().bias += 0.3
    with pytest.raises(DiscoError, match="made with another encoder"):
        train(wanted=settings(sampler=top), document_encoder=other)
    teacher.queries = None
    with pytest.raises(DiscoError, match="kl_divergence over the batch needs the teacher's query"):
        train(wanted=settings(objective=BATCH_KL))
    assert not (tmp_path / "student").exists()
    train(wanted=settings(sampler=top, steps=2))  # what is not listed counts 0


# Trained documents


TRAINED = {"documents": "trained", "dropout": 0.1}


def test_a_document_encoder_is_trained_beside_the_students(train, encoder, tmp_path):
    student = train(wanted=settings(**TRAINED))
    documents = document_encoder_of(tmp_path / "student")
    for pair in ((student, encoder), (documents, encoder), (student, documents)):
        assert not same_weights(*pair)
    # What was handed in is not what was trained.
    start = copy.deepcopy(encoder)
    train("other", settings(**TRAINED), document_encoder=start)
    assert same_weights(start, encoder)
    assert contents(tmp_path / "other") == contents(tmp_path / "student")


def test_frozen_documents_leave_no_encoder(train, tmp_path):
    train()
    assert document_encoder_of(tmp_path / "student") is None
    assert not (tmp_path / "student" / "document_encoder").exists()


def test_the_document_encoder_loads_as_a_model_of_its_own(train, tmp_path):
    from sentence_transformers import SparseEncoder

    train(wanted=settings(**TRAINED))
    folder = tmp_path / "student" / "document_encoder"
    documents = document_encoder_of(tmp_path / "student")
    assert same_weights(SpladeEncoder.from_pretrained(folder), documents)
    texts = ["how is the violin made", "the comet"]
    peer = SparseEncoder(str(folder), device="cpu").encode(texts, convert_to_tensor=True)
    np.testing.assert_allclose(
        peer.to_dense().numpy(), documents.encode(texts).toarray(), atol=1e-5
    )


def test_training_both_sides_brings_them_nearer_to_the_teacher(
    train, collection, encoder, teacher, tmp_path
):
    passages = collection.passage_texts()
    inputs = [
        context_ids(turn, "conversation", encoder.tokenizer, SETTINGS.limits)
        for turn in collection.iter_turns("train")
    ]
    sampler = {"negatives": 20, "start": 0, "end": 40, "positive": "own"}
    parts = {"objective": {"kl_divergence": 1.0}, "sampler": sampler, "steps": 40, "dropout": 0.0}
    student = train(wanted=settings(documents="trained", **parts))

    def divergence(queries, documents):
        product = queries.encode(inputs, LENGTH) @ documents.encode(passages, LENGTH).T
        own = np.take_along_axis(product.toarray(), np.array(teacher.documents), axis=1)
        return float(kl_divergence(torch.from_numpy(own), torch.from_numpy(teacher.scores)))

    both = divergence(student, document_encoder_of(tmp_path / "student"))
    assert both < 0.5 * divergence(encoder, encoder)
    # They belong together: the student does worse with the documents it began with.
    assert both < divergence(student, encoder)


def test_document_flops_makes_trained_documents_sparser(train, tmp_path):
    active = {}
    for weight in (1e-6, 1.0):
        parts = {"kl_divergence": 1.0, "document_flops": weight}
        train(str(weight), settings(**TRAINED, objective=parts, steps=30))
        log = read_log(tmp_path / str(weight))
        active[weight] = np.mean([entry["document_active_terms"] for entry in log][-5:])
    assert active[1.0] < 0.7 * active[1e-6]


def test_document_flops_of_frozen_documents_is_logged_and_changes_nothing(train, tmp_path):
    # The papers' lambda_d, where the document encoder is frozen.
    plain = train("plain", settings(objective={"kl_divergence": 1.0}))
    parts = {"kl_divergence": 1.0, "document_flops": 10.0}
    assert same_weights(plain, train("with", settings(objective=parts)))
    for entry, without in zip(
        read_log(tmp_path / "with"), read_log(tmp_path / "plain"), strict=True
    ):
        assert entry["document_flops"] > 0 and entry["grad_norm"] == without["grad_norm"]
        total = entry["kl_divergence"] + 10 * entry["document_flops"]
        assert entry["loss"] == pytest.approx(total, rel=1e-5)


def test_the_log_of_trained_documents(train, encoder, tmp_path):
    parts = {"kl_divergence": 1.0, "document_flops": 0.1, "anti_zero": 1.0}
    train(wanted=settings(**TRAINED, objective=parts, ramp=0.5))
    first = read_log(tmp_path / "student")[0]
    assert {*parts, "active_terms", "document_active_terms", "flops_metric"} < set(first)
    assert 0 < first["document_active_terms"] < encoder.vocabulary_size


@pytest.mark.parametrize("step", [2, 7, 11])
def test_an_interrupted_training_of_both_encoders_ends_with_the_same_bytes(
    train, tmp_path, monkeypatch, step
):
    wanted = settings(**TRAINED, weight_decay=0.01)
    train("whole", wanted)
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        with pytest.raises(KeyboardInterrupt):
            train(wanted=wanted)
    done = checkpoints(tmp_path)
    assert len(done) == (step > 3)
    with monkeypatch.context() as patch:
        calls = stop_at(patch, 100)
        train(wanted=wanted)
    assert len(calls) == 12 - (int(done[0].split("-")[1]) if done else 0)
    found, expected = contents(tmp_path / "student"), contents(tmp_path / "whole")
    assert "document_encoder/model.safetensors" in found
    assert found == expected


def test_a_checkpoint_with_a_damaged_document_encoder_is_skipped(train, tmp_path, monkeypatch):
    wanted = settings(**TRAINED)
    train("whole", wanted)
    with monkeypatch.context() as patch:
        stop_at(patch, 10)
        with pytest.raises(KeyboardInterrupt):
            train(wanted=wanted)
    (weights,) = tmp_path.glob(".student.*.work/checkpoint-*/document_model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    train(wanted=wanted)
    assert contents(tmp_path / "student") == contents(tmp_path / "whole")


@pytest.mark.parametrize("missing", [False, True])
def test_a_damaged_document_encoder_is_named(train, tmp_path, missing):
    train(wanted=settings(**TRAINED, steps=2))
    path = tmp_path / "student" / "document_encoder" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    if not missing:
        path.write_bytes(content)
    for load in (
        lambda: document_encoder_of(tmp_path / "student"),
        lambda: SpladeEncoder.from_pretrained(path.parent),
        lambda: SpladeEncoder.from_pretrained(tmp_path / "student"),
        lambda: train(wanted=settings(**TRAINED, steps=2)),
    ):
        with pytest.raises(IntegrityError, match=r"document_encoder|model\.safetensors"):
            load()


def test_frozen_and_trained_documents_are_not_mistaken_for_each_other(train):
    train(wanted=settings(**TRAINED))
    with pytest.raises(DiscoError, match="other settings"):
        train(wanted=settings(dropout=0.1))


def test_documents_that_cannot_be_trained_are_named_before_anything_is_done(train, tmp_path):
    with pytest.raises(DiscoError, match="document_mse draws queries to vectors"):
        train(wanted=settings(**TRAINED, objective={"kl_divergence": 1, "document_mse": 1}))
    with pytest.raises(DiscoError, match="nothing in the objective scores documents"):
        train(wanted=settings(**TRAINED, objective={"representation_mse": 1}))
    assert not (tmp_path / "student").exists()


# Interruptions


@pytest.mark.parametrize("step", [1, 4, 6, 11])
def test_an_interrupted_training_goes_on_and_ends_with_the_same_bytes(
    train, tmp_path, monkeypatch, whole, step
):
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        with pytest.raises(KeyboardInterrupt):
            train()
    assert not (tmp_path / "student").exists()
    done = checkpoints(tmp_path)
    assert len(done) <= 1
    with monkeypatch.context() as patch:
        calls = stop_at(patch, 100)
        train()
    first = int(done[0].split("-")[1]) if done else 0
    assert len(calls) == 12 - first, "the finished steps were made again"
    assert contents(tmp_path / "student") == whole


def test_two_interruptions_are_no_different(train, tmp_path, monkeypatch, whole):
    for step in (5, 4):
        with monkeypatch.context() as patch:
            stop_at(patch, step)
            with pytest.raises(KeyboardInterrupt):
                train()
    train()
    assert contents(tmp_path / "student") == whole


def interrupt(train, monkeypatch, step):
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        with pytest.raises(KeyboardInterrupt):
            train()


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", None])
def test_a_damaged_checkpoint_is_skipped(train, tmp_path, monkeypatch, whole, name):
    interrupt(train, monkeypatch, 10)
    (checkpoint,) = tmp_path.glob(".student.*.work/checkpoint-*")
    assert int(checkpoint.name.split("-")[1]) >= 6
    if name is None:
        (checkpoint / "MANIFEST.json").unlink()
    else:
        content = bytearray((checkpoint / name).read_bytes())
        content[len(content) // 2] ^= 1
        (checkpoint / name).write_bytes(content)
    with monkeypatch.context() as patch:
        calls = stop_at(patch, 100)
        train()
    assert len(calls) == 12
    assert contents(tmp_path / "student") == whole


def test_an_interruption_while_a_checkpoint_is_written_leaves_the_one_before(
    train, tmp_path, monkeypatch, whole
):
    seal = storage.seal_folder

    def failing(folder, **extra):
        if "checkpoint-6" in folder.name:
            raise KeyboardInterrupt
        seal(folder, **extra)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "seal_folder", failing)
        with pytest.raises(KeyboardInterrupt):
            train()
    assert checkpoints(tmp_path) == ["checkpoint-3"]
    train()
    assert contents(tmp_path / "student") == whole


def test_a_checkpoint_of_other_settings_is_not_used(train, tmp_path, monkeypatch):
    interrupt(train, monkeypatch, 10)
    train(wanted=settings(seed=9))
    train("expected", settings(seed=9))
    assert contents(tmp_path / "student") == contents(tmp_path / "expected")


# Finished students


def test_a_finished_student_is_loaded_and_not_trained_again(train, tmp_path, monkeypatch):
    first = train()
    before = contents(tmp_path / "student")
    stop_at(monkeypatch, 0)
    assert same_weights(train(), first)
    assert contents(tmp_path / "student") == before


def test_a_student_of_other_settings_is_not_overwritten(train, encoder, collection, tmp_path):
    train()
    before = contents(tmp_path / "student")
    refused = pytest.raises(DiscoError, match="holds a student of other settings. Choose another")
    with refused:
        train(wanted=settings(learning_rate=1e-3))
    other = teach(collection, "train", ["long"], encoder, 40, max_length=LENGTH)
    with refused:
        train(teacher=other)
    with torch.no_grad():
        encoder.model.get_output_embeddings().bias += 0.1
    with refused:
        train()
    assert contents(tmp_path / "student") == before


def test_a_teacher_from_a_file_is_known_by_its_scores(train, teacher, tmp_path):
    teacher.save(tmp_path / "one.json")
    teacher.scores[3, 0] += 1
    teacher.save(tmp_path / "two.json")
    one, two = (DistillationRun.load(tmp_path / f"{n}.json", teacher.pids) for n in ("one", "two"))
    train(teacher=one)
    train(teacher=one)
    with pytest.raises(DiscoError, match="other settings"):
        train(teacher=two)


def test_a_damaged_student_is_named(train, tmp_path):
    train()
    path = tmp_path / "student" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"model\.safetensors: its bytes.*disco distil"):
        train()


# What can be learnt from


def test_turns_without_a_teacher_or_above_the_depth_are_left_out(
    train, collection, encoder, monkeypatch
):
    seen = stop_at(monkeypatch, 1000)
    long = teach(collection, "train", ["long"], encoder, 40, max_length=LENGTH)
    train(wanted=settings(steps=20, min_depth=2), teacher=long)
    rows = {row for batch in seen for row in batch}
    # "long" is missing at depth 3, and depth 1 is too shallow: what remains is depth 2.
    assert {long.turn_ids[row][-2:] for row in rows} == {"_2"}


def test_a_loss_of_labels_alone_leaves_out_turns_without_a_positive(
    train, collection, teacher, monkeypatch
):
    turns = collection.iter_turns("train")
    for turn in turns[::2]:
        object.__setattr__(turn, "positives", ())
    monkeypatch.setattr(collection, "iter_turns", lambda split: turns)
    for name, objective, expected in (
        ("labels", {"info_nce": 1.0}, {0}),
        ("scores", {"kl_divergence": 0.9, "info_nce": 0.1}, {0, -1}),
    ):
        positives = set()
        with monkeypatch.context() as patch:
            collate = Collator.__call__

            def noting(self, items, collate=collate, positives=positives):
                batch = collate(self, items)
                positives.update(batch["positive"].tolist())
                return batch

            patch.setattr(Collator, "__call__", noting)
            train(name, settings(objective=objective))
        assert positives == expected


def test_losses_of_a_neighbour_mix_with_each_other(train, tmp_path):
    parts = {"representation_mse": 0.5, "document_mse": 0.5, "info_nce": 1.0}
    train(wanted=settings(objective=parts, steps=4))
    for entry in read_log(tmp_path / "student"):
        total = 0.5 * (entry["representation_mse"] + entry["document_mse"]) + entry["info_nce"]
        assert entry["loss"] == pytest.approx(total, rel=1e-5)


def test_nothing_to_learn_from_is_named(train, collection, teacher):
    with pytest.raises(DiscoError, match="No turn to learn from"):
        train(split="test")
    with pytest.raises(DiscoError, match="No turn to learn from"):
        train(wanted=settings(min_depth=4))
    teacher.queries = None
    with pytest.raises(DiscoError, match="representation_mse needs the teacher's query vectors"):
        train(wanted=settings(objective={"representation_mse": 1.0}))


def test_teacher_vectors_of_another_vocabulary_are_named(train, teacher):
    teacher.queries = sparse.csr_matrix(np.ones((30, 7), np.float32))
    with pytest.raises(DiscoError, match="vectors have 7 dimensions, the student's 1"):
        train(wanted=settings(objective={"representation_mse": 1.0}))


def test_too_many_negatives_are_named(train):
    with pytest.raises(DiscoError, match="51 documents a turn, but the collection has only 45"):
        train(wanted=settings(sampler={"negatives": 50, "start": 0, "end": 900}))
