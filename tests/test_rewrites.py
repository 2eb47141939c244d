import gzip
import json
import os
from pathlib import Path

import pytest

from disco_lib import rewrites
from disco_lib.datasets import load
from disco_lib.errors import DataError, DiscoError, IntegrityError
from disco_lib.rewrites import NOTES, check_target, read_notes, store_rewrites
from disco_lib.storage import sole_writer

NOTE = {"command": "disco rewrite", "topic": 4.5, "model": "é"}

# As other programs may write it: escapes, spaces, a field of their own, a number such as 1.50.
ODD = '{"conv_id":"odd",  "turn_id": "odd_1", "utterance": "caf\\u00e9?", "grade": 1.50}'


def contents(folder):
    """Return every file below a folder with its bytes."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def texts(folder, split="test", mark="new"):
    return {turn.turn_id: f"{mark} é {turn.utterance}" for turn in load(folder).iter_turns(split)}


def compress(path):
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return packed


def test_in_place(collection_folder):
    before = contents(collection_folder)
    found = texts(collection_folder)
    store_rewrites(collection_folder, collection_folder, "mine", {"test": found}, NOTE)
    after = contents(collection_folder)
    assert set(after) == {*before, NOTES}
    changed = [name for name in before if after[name] != before[name]]
    assert changed == ["turns_test.jsonl"]
    rows = [json.loads(line) for line in before["turns_test.jsonl"].splitlines()]
    for row in rows:
        assert "gold" in row["rewrites"]
        row["rewrites"]["mine"] = found[row["turn_id"]]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    assert after["turns_test.jsonl"].decode() == "".join(lines)
    assert {t.turn_id: t.rewrites["mine"] for t in load(collection_folder).iter_turns("test")} == (
        found
    )
    assert read_notes(collection_folder) == {"mine": NOTE}


def test_a_turn_without_rewrites_gets_its_first(collection_folder):
    path = collection_folder / "turns_test.jsonl"
    path.write_text(
        '{"conv_id": "c", "turn_id": "c_1", "utterance": "u", "rewrites": null}\n'
        '{"conv_id": "c", "turn_id": "c_2", "utterance": "v"}\n'
    )
    new = {"test": {"c_1": "x", "c_2": "y"}}
    store_rewrites(collection_folder, collection_folder, "mine", new, {})
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["rewrites"] for row in rows] == [{"mine": "x"}, {"mine": "y"}]


def test_turns_that_get_no_rewrite_keep_their_bytes(collection_folder):
    path = collection_folder / "turns_test.jsonl"
    lines = [*path.read_text().splitlines(), ODD]
    path.write_text("\n".join(lines))  # and no line end behind the last
    first = json.loads(lines[0])["turn_id"]
    new = {"test": {first: "new"}}
    store_rewrites(collection_folder, collection_folder, "mine", new, {})
    after = path.read_text().splitlines()
    assert after[1:] == lines[1:] and path.read_text().endswith(ODD + "\n")
    assert json.loads(after[0])["rewrites"]["mine"] == "new"
    store_rewrites(collection_folder, collection_folder, "mine", {"test": {"odd_1": "caf"}}, {})
    row = json.loads(path.read_text().splitlines()[-1])
    assert row == json.loads(ODD) | {"rewrites": {"mine": "caf"}}


def test_a_copy(collection_folder, tmp_path):
    (collection_folder / "README.md").write_text("---\nlicence: CC0\n---\n")
    (collection_folder / "pictures").mkdir()
    (collection_folder / "pictures" / "a.txt").write_text("a")
    (collection_folder / f".{NOTES}.lock").write_text("")
    packed = compress(collection_folder / "turns_train.jsonl")
    before = contents(collection_folder)
    found = {split: texts(collection_folder, split) for split in ("test", "train")}
    out = tmp_path / "new" / "copy"
    store_rewrites(collection_folder, out, "mine", found, NOTE)
    assert contents(collection_folder) == before
    assert set(contents(out)) == {*before, NOTES} - {f".{NOTES}.lock"}
    untouched = ["collection.jsonl", "README.md", "pictures/a.txt"]
    assert all(contents(out)[name] == before[name] for name in untouched)
    for split in ("test", "train"):
        turns = load(out).iter_turns(split)
        assert {turn.turn_id: turn.rewrites["mine"] for turn in turns} == found[split]
        assert all("gold" in turn.rewrites for turn in turns)
    rows = gzip.decompress((out / packed.name).read_bytes()).decode().splitlines()
    assert len(rows) == 30 and "new é" in rows[0]
    assert [p.name for p in out.parent.iterdir()] == ["copy"]


def test_the_same_content_twice_gives_the_same_bytes(collection_folder, tmp_path, monkeypatch):
    compress(collection_folder / "turns_train.jsonl")
    found = {split: texts(collection_folder, split) for split in ("test", "train")}
    store_rewrites(collection_folder, tmp_path / "a", "mine", found, NOTE)
    monkeypatch.setattr("time.time", lambda: 2e9)  # what gzip would note
    store_rewrites(collection_folder, tmp_path / "b", "mine", found, NOTE)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    store_rewrites(tmp_path / "b", tmp_path / "b", "mine", found, NOTE)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    # Another text of the same name takes the place of the old one.
    other = {split: texts(collection_folder, split, "other") for split in found}
    store_rewrites(tmp_path / "b", tmp_path / "b", "mine", other, NOTE)
    assert contents(tmp_path / "a") != contents(tmp_path / "b")
    assert [t.rewrites["mine"] for t in load(tmp_path / "b").iter_turns("test")] == list(
        other["test"].values()
    )


def test_notes_of_several_rewriters(collection_folder):
    assert read_notes(collection_folder) == {}
    found = {"test": texts(collection_folder)}
    for name, note in (("a", {"x": 1}), ("b", {"y": 2}), ("a", {"x": 3})):
        store_rewrites(collection_folder, collection_folder, name, found, note)
    assert read_notes(collection_folder) == {"a": {"x": 3}, "b": {"y": 2}}


# What is refused


@pytest.mark.parametrize("name", ["", " ", "a b", "a\tb", "mine\n", " mine", "a\x01b"])
def test_a_name_is_one_word(collection_folder, tmp_path, name):
    refuse(collection_folder, tmp_path / "out", name, "give one word")


def test_an_unknown_split_or_turn(collection_folder, tmp_path):
    for out in (tmp_path / "out", collection_folder):
        found = {"test": texts(collection_folder), "dev": {}}
        refuse(collection_folder, out, "mine", "no split 'dev'; it has: test, train", found)
        found = {"test": texts(collection_folder), "train": {"typo": "x"}}
        refuse(collection_folder, out, "mine", r"turns_train.jsonl has no turn 'typo'", found)


def test_another_folder_is_not_touched(collection_folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    refuse(collection_folder, other, "mine", "other: there already. Give .* or a new folder")
    (other / "thesis.tex").write_text("years of work")
    refuse(collection_folder, other / "thesis.tex", "mine", "thesis.tex: there already")
    refuse(collection_folder, collection_folder / "in" / "here", "mine", "inside .*tiny-collection")
    assert contents(other) == {"thesis.tex": b"years of work"}


def test_the_own_folder_by_another_name(collection_folder, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(collection_folder)
    monkeypatch.chdir(tmp_path)
    found = {"test": texts(collection_folder)}
    store_rewrites(collection_folder, Path("link"), "a", found, {})
    store_rewrites(Path("tiny-collection"), collection_folder, "b", found, {})
    assert {"a", "b"} <= set(load(collection_folder).iter_turns("test")[0].rewrites)


@pytest.mark.parametrize("content, error", [("{", IntegrityError), ('{"a": 1}', DataError)])
def test_notes_of_another_form(collection_folder, tmp_path, content, error):
    (collection_folder / NOTES).write_text(content)
    with pytest.raises(error, match=NOTES):
        read_notes(collection_folder)
    refuse(collection_folder, collection_folder, "mine", NOTES)
    refuse(collection_folder, tmp_path / "out", "mine", NOTES)


def refuse(folder, out, name, message, found=None):
    """Storing has to raise and to write nothing anywhere."""
    found = found or {"test": texts(folder)}
    before = contents(folder.parent)
    with pytest.raises(DiscoError, match=message):
        store_rewrites(folder, out, name, found, NOTE)
    assert contents(folder.parent) == before
    assert not (folder.parent / "out").exists() and not (folder / "in").exists()


def test_what_can_be_told_beforehand(collection_folder, tmp_path):
    check_target(collection_folder, collection_folder, "mine")
    check_target(collection_folder, tmp_path / "new", "mine")
    with pytest.raises(DiscoError, match="there already"):
        check_target(collection_folder, tmp_path, "mine")
    with pytest.raises(DiscoError, match="one word"):
        check_target(collection_folder, tmp_path / "new", "a b")


# Interruptions


@pytest.mark.parametrize("place", ["_with", "write_json", "atomic_path"])
def test_an_interrupted_copy_leaves_nothing(collection_folder, tmp_path, monkeypatch, place):
    def crash(*arguments, **options):
        raise KeyboardInterrupt

    found = {"test": texts(collection_folder)}
    before = contents(collection_folder)
    monkeypatch.setattr(rewrites, place, crash)
    with pytest.raises(KeyboardInterrupt):
        store_rewrites(collection_folder, tmp_path / "new" / "copy", "mine", found, NOTE)
    assert list((tmp_path / "new").iterdir()) == []
    assert contents(collection_folder) == before


def test_what_a_killed_copy_left_goes_with_the_next(collection_folder, tmp_path, monkeypatch):
    out = tmp_path / "new" / "copy"
    left = []

    def interrupted(source, part, **options):
        left.append(part.parent)
        raise KeyboardInterrupt

    found = {"test": texts(collection_folder)}
    with monkeypatch.context() as patch:
        patch.setattr(rewrites.shutil, "copytree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store_rewrites(collection_folder, out, "mine", found, NOTE)
    left[0].mkdir()  # a kill would have left it
    with sole_writer(out):
        store_rewrites(collection_folder, out, "mine", found, NOTE)
    assert sorted(os.listdir(out.parent)) == [".copy.lock", "copy"]


def test_an_interruption_in_place_leaves_whole_files(collection_folder, monkeypatch):
    found = {split: texts(collection_folder, split) for split in ("test", "train")}
    before = contents(collection_folder)

    def crash(*arguments):
        raise OSError("no room")

    with monkeypatch.context() as patch:
        patch.setattr("disco_lib.storage.os.replace", crash)
        with pytest.raises(OSError, match="no room"):
            store_rewrites(collection_folder, collection_folder, "mine", found, NOTE)
    assert contents(collection_folder) == before
    store_rewrites(collection_folder, collection_folder, "mine", found, NOTE)
    assert all("mine" in t.rewrites for s in found for t in load(collection_folder).iter_turns(s))
