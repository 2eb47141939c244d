import hashlib
import json
import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disco_lib import storage
from disco_lib.errors import IntegrityError
from disco_lib.storage import (
    MANIFEST,
    atomic_folder,
    atomic_path,
    cache_root,
    check_path,
    checked_path,
    open_sealed,
    read_json,
    seal_folder,
    settings_hash,
    sha256_file,
    sha256_texts,
    write_json,
)


def names(folder):
    """Return the names in a folder, hidden ones included."""
    return sorted(path.name for path in folder.iterdir())


# Where the cache is


def test_cache_root_is_the_variable_or_below_home(monkeypatch, tmp_path):
    monkeypatch.setenv("DISCO_CACHE", str(tmp_path / "here"))
    assert cache_root() == tmp_path / "here"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("DISCO_CACHE")
        else:
            monkeypatch.setenv("DISCO_CACHE", unset)
        assert cache_root() == tmp_path / "home" / ".cache" / "disco"


# Hashes


def test_sha256_file(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "f").write_bytes(content)
    assert sha256_file(tmp_path / "f") == hashlib.sha256(content).hexdigest()


@given(st.lists(st.text()), st.lists(st.text()))
def test_sha256_of_texts_tells_different_lists_apart(first, second):
    assert (sha256_texts(first) == sha256_texts(second)) == (first == second)


def test_sha256_of_texts_takes_what_cannot_be_encoded():
    assert sha256_texts(["\ud800"]) != sha256_texts(["\ud801"])


def test_settings_hash_does_not_depend_on_the_order_of_keys():
    first = settings_hash({"a": 1, "b": {"c": [1, 2], "d": None}})
    assert first == settings_hash({"b": {"d": None, "c": [1, 2]}, "a": 1})
    assert first != settings_hash({"a": 1, "b": {"c": [2, 1], "d": None}})
    assert len(first) == 12
    # {"a":1} by sha256sum
    assert settings_hash({"a": 1}) == "015abd7f5cc5"


# Files that are whole or absent


def test_atomic_path_shows_the_file_only_at_the_end(tmp_path):
    target = tmp_path / "new" / "f.txt"
    with atomic_path(target) as part:
        part.write_text("content")
        assert not target.exists()
        assert part.parent == target.parent
    assert names(target.parent) == ["f.txt"]
    assert target.read_text() == "content"


def test_atomic_path_keeps_the_old_file_after_a_failure(tmp_path):
    target = tmp_path / "f.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as part:
        part.write_text("half of the n")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert names(tmp_path) == ["f.txt"]


def test_atomic_path_gives_the_usual_permissions(tmp_path):
    with atomic_path(tmp_path / "f") as part:
        part.write_text("")
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o644


def test_atomic_folder_is_sealed_with_its_extra(tmp_path):
    target = tmp_path / "deep" / "folder"
    with atomic_folder(target, format="f-1") as part:
        (part / "inner").mkdir()
        (part / "inner" / "a").write_bytes(b"abc")
        assert not target.exists()
    manifest = open_sealed(target, "again")
    assert manifest["format"] == "f-1"
    assert manifest["files"] == {
        "inner/a": {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
    }
    assert names(target.parent) == ["folder"]


def test_atomic_folder_replaces_an_older_one_whole(tmp_path):
    target = tmp_path / "folder"
    for name in ("first", "second"):
        with atomic_folder(target) as part:
            (part / name).write_text(name)
    assert names(target) == [MANIFEST, "second"]
    assert names(tmp_path) == ["folder"]


def test_atomic_folder_keeps_the_old_one_after_a_failure(tmp_path):
    target = tmp_path / "folder"
    with atomic_folder(target) as part:
        (part / "old").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_folder(target) as part:
        (part / "new").write_text("new")
        raise ZeroDivisionError
    open_sealed(target, "again")
    assert names(target) == [MANIFEST, "old"]
    assert names(tmp_path) == ["folder"]


def test_an_interruption_between_the_two_renames_leaves_no_half_folder(tmp_path, monkeypatch):
    target = tmp_path / "folder"
    with atomic_folder(target) as part:
        (part / "old").write_text("old")
    replace = os.replace

    def stop_at_the_new_folder(source, destination):
        if str(source).endswith(".part") and os.path.isdir(source):
            raise KeyboardInterrupt
        replace(source, destination)

    monkeypatch.setattr(storage.os, "replace", stop_at_the_new_folder)
    with pytest.raises(KeyboardInterrupt), atomic_folder(target) as part:
        (part / "new").write_text("new")
    monkeypatch.undo()
    assert not target.exists() or open_sealed(target, "again")
    with atomic_folder(target) as part:
        (part / "new").write_text("new")
    assert names(target) == [MANIFEST, "new"]


# Sealed folders


@pytest.fixture
def sealed(tmp_path):
    folder = tmp_path / "sealed"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.npy").write_bytes(b"some bytes")
    (folder / "inner" / "b.json").write_text('{"x": 1}\n')
    (folder / "empty").write_bytes(b"")
    seal_folder(folder, format="test-1", settings={"depth": 10, "names": ["ü"]})
    return folder


def test_every_flipped_byte_is_found_and_its_file_named(sealed):
    for name in ("a.npy", "inner/b.json"):
        path = sealed / name
        content = path.read_bytes()
        for place in range(len(content)):
            path.write_bytes(flipped(content, place))
            with pytest.raises(IntegrityError, match="changed. Rebuild it with: disco") as found:
                open_sealed(sealed, "disco again")
            assert str(path) in str(found.value)
        path.write_bytes(content)
    open_sealed(sealed, "disco again")


def test_no_flipped_byte_of_the_manifest_goes_unnoticed(sealed):
    path = sealed / MANIFEST
    content, manifest = path.read_bytes(), open_sealed(sealed, "disco again")
    for place in range(len(content)):
        for mask in (0x01, 0x10):
            path.write_bytes(flipped(content, place, mask))
            try:
                found = open_sealed(sealed, "disco again")
            except IntegrityError as error:
                assert str(sealed) in str(error)
            else:
                # Other white space, or another name for the manifest's own checksum: what readers
                # look at is the same.
                same = all(found.get(key) == value for key, value in manifest.items())
                assert same, f"byte {place}: {content[place - 20 : place + 20]}"


def flipped(content, place, mask=0x01):
    return content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :]


def test_missing_cut_and_longer_files_are_found(sealed):
    path = sealed / "a.npy"
    content = path.read_bytes()
    for changed in (content[:-1], content + b"\0", b""):
        path.write_bytes(changed)
        with pytest.raises(IntegrityError, match=r"a\.npy: its bytes have changed"):
            open_sealed(sealed, "disco again")
    path.unlink()
    with pytest.raises(IntegrityError, match=r"a\.npy: missing. Rebuild it with: disco again"):
        open_sealed(sealed, "disco again")


@pytest.mark.parametrize("content", ["[]", "{}", '{"files": []}', "null", "", "{", "\xff"])
def test_what_is_no_manifest_is_refused(sealed, content):
    (sealed / MANIFEST).write_bytes(content.encode("latin-1"))
    with pytest.raises(IntegrityError, match=MANIFEST):
        open_sealed(sealed, "disco again")


@pytest.mark.parametrize("entry", [3, None, [], {}, {"bytes": 10}, {"sha256": "0"}])
def test_a_manifest_with_a_damaged_entry_is_refused(sealed, entry):
    (sealed / MANIFEST).write_text(json.dumps({"files": {"a.npy": entry}}))
    with pytest.raises(IntegrityError, match="sealed"):
        open_sealed(sealed, "disco again")


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "not-there"):
        with pytest.raises(IntegrityError, match=r"no MANIFEST\.json. Rebuild it with: disco x"):
            open_sealed(folder, "disco x")


# JSON


def test_json_there_and_back(tmp_path):
    content = {"z": [1, 2.5, None, True], "a": "ü\n", "n": {}}
    write_json(tmp_path / "f.json", content)
    assert read_json(tmp_path / "f.json") == content
    text = (tmp_path / "f.json").read_text(encoding="utf-8")
    assert text.endswith("}\n") and "ü" in text
    assert text.index('"z"') < text.index('"a"')


def test_json_without_numbers_that_json_lacks(tmp_path):
    path = tmp_path / "f.json"
    write_json(path, {"x": 1})
    with pytest.raises(ValueError):
        write_json(path, {"x": math.nan})
    assert read_json(path) == {"x": 1}
    assert names(tmp_path) == ["f.json"]


def test_malformed_json_is_named_with_its_line(tmp_path):
    path = tmp_path / "f.json"
    path.write_text('{"a": 1,\n "b": }\n')
    with pytest.raises(IntegrityError, match=r"f\.json:2: not JSON"):
        read_json(path)
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(IntegrityError, match=r"f\.json: not UTF-8"):
        read_json(path)


# A file of a foreign format


def test_a_foreign_file_has_its_checksum_beside_it(tmp_path):
    path = tmp_path / "run.trec"
    with checked_path(path) as part:
        part.write_text("one\n")
    beside = tmp_path / "run.trec.sha256"
    assert beside.read_text() == hashlib.sha256(b"one\n").hexdigest() + "  run.trec\n"
    check_path(path, "make it")
    with checked_path(path) as part:
        part.write_text("two\n")
    check_path(path, "make it")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["run.trec", "run.trec.sha256"]


def test_a_changed_foreign_file_is_found(tmp_path):
    path = tmp_path / "run.trec"
    with checked_path(path) as part:
        part.write_text("one\n")
    path.write_text("onE\n")
    with pytest.raises(IntegrityError, match=r"run\.trec: .* make it .*remove run\.trec\.sha256"):
        check_path(path, "make it")
    (tmp_path / "run.trec.sha256").write_bytes(b"")
    with pytest.raises(IntegrityError, match="make it"):
        check_path(path, "make it")
    (tmp_path / "run.trec.sha256").unlink()
    check_path(path, "make it")  # nobody says what it should be


def test_a_failed_write_keeps_the_old_file_and_its_checksum(tmp_path):
    path = tmp_path / "run.trec"
    with checked_path(path) as part:
        part.write_text("one\n")
    with pytest.raises(RuntimeError), checked_path(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "one\n"
    check_path(path, "make it")
