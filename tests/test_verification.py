import json

import pytest

from disco_lib.datasets import load
from disco_lib.errors import DataError
from disco_lib.verification import Check, language_checks, structure_checks, verify

PASSAGES = [
    {"pid": "p1", "text": "Violins carry four strings tuned in perfect fifths from low G upward.",
     "title": "Violin: tuning", "topic": "Violin", "domain": "music"},
    {"pid": "p2", "text": "A cello rests on an endpin that was rare before the nineteenth century.",
     "title": "Cello: endpin", "domain": "music"},
    {"pid": "p3", "text": "Glaciers move because ice deforms under the weight of snow above it.",
     "title": "Glacier: flow", "domain": "ice"},
]  # fmt: skip
LANGUAGE = [
    "near-duplicate passages",
    "longest run of words that an answer shares with its passage",
    "distinct 4-grams of utterances",
    "commonest opening of three words",
    "later utterances that do not name their topic",
]


def turn(turn_id, utterance, **fields):
    conversation = turn_id.rpartition("_")[0]
    return {"conv_id": conversation, "turn_id": turn_id, "utterance": utterance, **fields}


TRAIN = [
    turn("a_1", "How is a violin tuned?", answer="In fifths.", positives=["p1"], domain="music",
         rewrites={"gold": "How is a violin tuned?"}),
    turn("a_2", "Since when do they stand on a spike?", positives=["p2"], domain="music"),
    turn("a_3", "Thanks! Anything on harps?", answer="Not here.", domain="music"),
    turn("a_4", "So who plays one without it?", answer="Few.", positives=["p2"], domain="music"),
]  # fmt: skip
OOD = [turn("o_1", "Why does a glacier creep?", positives=["p3"], domain="ice")]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DISCO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def make(tmp_path):
    """Load a data set of these passages and turns."""

    def made(passages=PASSAGES, card=None, qrels=None, **splits):
        folder = tmp_path / "set"
        folder.mkdir()
        write(folder / "collection.jsonl", passages)
        for split, rows in (splits or {"train": TRAIN, "ood": OOD}).items():
            write(folder / f"turns_{split}.jsonl", rows)
        for split, lines in (qrels or {}).items():
            (folder / f"qrels_{split}.tsv").write_text(lines)
        if card is not None:
            (folder / "README.md").write_text(card)
        return load(folder)

    return made


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def named(checks):
    found = {check.name: check for check in checks}
    assert len(found) == len(checks)
    return found


# Structure


def test_a_sound_collection_passes(make):
    checks = structure_checks(make())
    assert all(check.ok for check in checks)
    assert sum(check.judged for check in checks) >= 10


def test_counts_and_gaps_are_reported_without_a_verdict(make):
    found = named(structure_checks(make()))
    assert found["passages"] == Check("passages", 3, ok=True, judged=False)
    assert found["turns in train"] == Check.report("turns in train", 4, "1 conversations")
    assert found["turns in ood"].value == 1
    assert found["turns without an answer"] == Check.report(
        "turns without an answer", 0.4, "2 of 5"
    )
    assert found["turns without a positive"].value == pytest.approx(1 / 5)
    assert found["turns with rewrite gold"].value == pytest.approx(1 / 5)


@pytest.mark.parametrize(
    ("name", "splits", "first"),
    [
        ("turn ids that are there twice",
         {"train": TRAIN, "test": [turn("a_2", "Really?", conv_id="z")]}, "a_2"),
        ("conversations in two splits", {"train": TRAIN, "test": [turn("a_9", "And?")]}, "a"),
        ("ids with white space", {"test": [turn("a b_1", "Why?")]}, "a b_1"),
        ("utterances without text", {"test": [turn("c_1", " ")]}, "c_1"),
        ("turns that name a positive twice",
         {"test": [turn("c_1", "Why?", positives=["p1", "p1"])]}, "c_1"),
        ("out-of-domain domains that training sees",
         {"train": TRAIN, "ood": [*OOD, turn("o_2", "And a cello?", domain="music")]}, "music"),
        ("out-of-domain domains that training sees",
         {"dev": TRAIN, "ood": [turn("o_1", "And a cello?", positives=["p2"])]}, "music"),
    ],
)  # fmt: skip
def test_a_fault_of_structure_is_found_and_named(make, name, splits, first):
    checks = structure_checks(make(**splits))
    (check,) = [check for check in checks if not check.ok]
    assert (check.name, check.value) == (name, 1)
    assert check.note.split(" (")[0] == first


def test_passages_without_text_are_found_even_with_a_title(make):
    passages = [*PASSAGES, {"pid": "p4", "text": " ", "title": "Harp: nothing"}]
    check = named(structure_checks(make(passages)))["passages without text"]
    assert (check.value, check.ok, check.note) == (1, False, "p4")


def test_positives_that_the_qrels_do_not_call_relevant_are_found(make):
    collection = make(qrels={"train": "a_1\t0\tp1\t2\na_2\t0\tp2\t0\na_4\t0\tp1\t1\n"})
    check = named(structure_checks(collection))[
        "turns with a positive that the qrels do not call relevant"
    ]
    assert (check.value, check.ok, check.note) == (2, False, "a_2, a_4")


def test_references_are_checked_without_trust_in_load(make, monkeypatch):
    collection = make()
    monkeypatch.setattr(type(collection), "pids", ["p1", "p1", "p3"])
    found = named(structure_checks(collection))
    assert found["passage ids that are there twice"].note == "p1"
    assert found["turns with a positive that is in no collection"].note == "a_2, a_4"
    assert found["unknown turns or passages in the qrels"].note == "p2"


def test_many_finds_are_shortened(make):
    rows = [turn(f"c_{i}", "") for i in range(5)]
    check = named(structure_checks(make(test=rows)))["utterances without text"]
    assert (check.value, check.note) == (5, "c_0, c_1, c_2, ...")


def test_domains_are_checked_only_where_there_is_a_split_out_of_domain(make):
    names = named(structure_checks(make(train=TRAIN, test=OOD)))
    assert "out-of-domain domains that training sees" not in names


# Language


def test_language_is_checked_where_the_card_asks_for_it(make):
    checks = verify(make(card="---\nlanguage_checks: true\n---\n# Card\n"))
    assert [check.name for check in checks[-5:]] == LANGUAGE


@pytest.mark.parametrize(
    "card", [None, "", "# Card\n", "---\nlanguage_checks: false\n---\n", "---\nwhat: a\n---\n"]
)
def test_language_is_not_checked_otherwise(make, card):
    collection = make(card=card)
    assert not {check.name for check in verify(collection)} & set(LANGUAGE)
    assert len(verify(collection)) == len(structure_checks(collection))


def test_a_card_that_cannot_be_read_is_an_error(make):
    with pytest.raises(DataError):
        verify(make(card="---\na: [\n---\n"))


def test_sound_language_passes(make):
    turns = [*TRAIN, *(turn(f"b_{i}", f"w{i} x{i} y{i} z{i}") for i in range(40))]
    found = named(language_checks(make(train=turns)))
    assert list(found) == LANGUAGE
    assert [check.ok for check in found.values()] == [True] * 5


def test_near_duplicate_passages_are_named(make):
    copy = {"pid": "p9", "text": PASSAGES[0]["text"].replace("upward", "up")}
    check = named(language_checks(make([*PASSAGES, copy])))[LANGUAGE[0]]
    # Of ten shingles each, nine are the same: 9 / 11.
    assert (check.value, check.ok) == (1, False)
    assert check.note.startswith("p1 and p9: 0.82")


@pytest.mark.parametrize(("length", "ok"), [(12, True), (13, False)])
def test_a_copied_answer_is_named(make, length, ok):
    passage = {"pid": "p4", "text": " ".join(f"w{i}" for i in range(20))}
    copied = " ".join(f"w{i}" for i in range(3, 3 + length))
    rows = [turn("c_1", "Why?", answer=f"Because {copied}.", positives=["p1", "p4"])]
    check = named(language_checks(make([*PASSAGES, passage], test=rows)))[LANGUAGE[1]]
    assert (check.value, check.ok) == (length, ok)
    assert check.note.startswith("c_1: 'w3 w4")


def test_answers_are_compared_with_their_own_passages_only(make):
    rows = [turn("c_1", "Why?", answer=PASSAGES[1]["text"], positives=["p3"])]
    check = named(language_checks(make(test=rows)))[LANGUAGE[1]]
    assert check.value == 1


def test_repetitive_utterances_are_found(make):
    rows = [turn(f"c{i}_1", "tell me more of that") for i in range(10)]
    found = named(language_checks(make(test=rows)))
    assert (found[LANGUAGE[2]].value, found[LANGUAGE[2]].ok) == (pytest.approx(2 / 20), False)
    assert (found[LANGUAGE[3]].value, found[LANGUAGE[3]].ok) == (1.0, False)
    assert "'tell me more'" in found[LANGUAGE[3]].note


@pytest.mark.parametrize(("same", "ok"), [(3, True), (4, False)])
def test_an_opening_may_begin_three_percent(make, same, ok):
    rows = [turn(f"c{i}_1", f"so is it w{i}") for i in range(same)]
    rows += [turn(f"d{i}_1", f"w{i} x{i} y{i}") for i in range(100 - same)]
    check = named(language_checks(make(test=rows)))[LANGUAGE[3]]
    assert (check.value, check.ok) == (pytest.approx(same / 100), ok)


@pytest.mark.parametrize(
    ("utterances", "share", "ok"),
    [
        (["Is a violin loud?", "How loud?", "Why a cello?", "Is it?", "Since when?"], 0.6, True),
        (["Are violins loud?", "How loud?", "Why a cello?", "A violin?", "When?"], 0.4, False),
    ],
)
def test_the_share_that_does_not_name_the_topic(make, utterances, share, ok):
    # The topic of p1 is its field, that of p2 the title before the colon.
    asked = ["p1", "p1", "p2", "p1", "p2"]
    rows = [turn("c_0", "Violin and cello?", positives=["p1", "p2"])]
    rows += [
        turn(f"c_{i}", text, positives=[pid])
        for i, (text, pid) in enumerate(zip(utterances, asked, strict=True), 1)
    ]
    rows.append(turn("c_9", "Anything on violins and cellos elsewhere?"))
    check = named(language_checks(make(test=rows)))[LANGUAGE[4]]
    assert (check.value, check.ok) == (pytest.approx(share), ok)


def test_without_topics_the_share_is_not_judged(make):
    passages = [{"pid": "p1", "text": "one"}, {"pid": "p2", "text": "two"}]
    rows = [turn("c_1", "Why?", positives=["p1"]), turn("c_2", "How?", positives=["p2"])]
    check = named(language_checks(make(passages, test=rows)))[LANGUAGE[4]]
    assert (check.ok, check.judged) == (True, False)
    assert "no later turn" in check.note
