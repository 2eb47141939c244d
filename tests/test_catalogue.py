import gzip
from pathlib import Path

import pytest

import disco_lib
from disco_lib import catalogue
from disco_lib.catalogue import find_files, front_matter, list_datasets, locate
from disco_lib.datasets import load
from disco_lib.errors import DataError, DiscoError


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """An empty folder of data sets, and nothing embedded, found or cached from elsewhere."""
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setenv("DISCO_DATA", str(root))
    monkeypatch.setenv("DISCO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(catalogue, "EMBEDDED", tmp_path / "repository" / "data" / "mini")
    monkeypatch.chdir(tmp_path)
    return root


def make(folder, splits=("test",)):
    folder.mkdir(parents=True)
    (folder / "collection.jsonl").write_text('{"pid": "p", "text": "t"}\n\n{"pid":"q","text":"u"}')
    for split in splits:
        row = f'{{"conv_id": "c", "turn_id": "{split}_1", "utterance": "u"}}\n'
        (folder / f"turns_{split}.jsonl").write_text(row)
    return folder


# Where a data set is


def test_the_embedded_collection_lies_beside_the_package():
    package = Path(disco_lib.__file__).parent
    original = Path(catalogue.__file__).parent.parent / "data" / "mini"
    assert original == package.parent / "data" / "mini"


def test_mini_is_the_embedded_collection(root):
    make(catalogue.EMBEDDED)
    make(root / "mini", splits=("other",))
    assert locate("mini") == ("mini", catalogue.EMBEDDED)
    assert load("mini").splits == ["test"]


def test_mini_may_lie_in_disco_data_where_only_the_package_is_installed(root):
    make(root / "mini")
    assert locate("mini") == ("mini", root / "mini")


def test_a_name_is_a_folder_in_disco_data(root):
    make(root / "qrecc")
    make(Path("qrecc"), splits=("here",))
    assert load("qrecc").folder == root / "qrecc"


@pytest.mark.parametrize("given", ["own/set", "./own/set", Path("own/set")])
def test_a_folder_is_a_data_set(given):
    make(Path("own/set"))
    collection = load(given)
    assert (collection.name, collection.splits) == ("set", ["test"])


def test_a_bare_name_may_be_a_folder_here(monkeypatch):
    monkeypatch.delenv("DISCO_DATA")
    make(Path("mine"))
    assert load("mine").name == "mine"


def test_a_path_is_never_looked_up_as_a_name(root):
    make(root / "qrecc")
    with pytest.raises(DiscoError, match="looked in qrecc;"):
        load(Path("qrecc"))


def test_the_home_folder_may_be_abbreviated(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DISCO_DATA", "~/sets")
    make(tmp_path / "sets" / "one")
    assert load("one").name == load("~/sets/one").name == "one"


def test_an_unknown_name_lists_names_places_and_what_to_set(root):
    make(root / "lectures")
    with pytest.raises(DiscoError) as caught:
        load("qreccc")
    message = str(caught.value)
    for part in ("'qreccc'", str(root / "qreccc"), "mini, qrecc, cast2020, canard, lectures",
                 f"DISCO_DATA is {root}", "Set DISCO_DATA"):  # fmt: skip
        assert part in message
    assert "\n" not in message


def test_without_disco_data_the_error_says_so(monkeypatch):
    monkeypatch.delenv("DISCO_DATA")
    with pytest.raises(DiscoError, match="DISCO_DATA is not set"):
        load("qrecc")


def test_a_missing_mini_points_to_the_repository():
    with pytest.raises(DiscoError, match="comes with a clone of the repository") as caught:
        load("mini")
    assert str(catalogue.EMBEDDED) in str(caught.value)


@pytest.mark.parametrize("name", ["", ".", "..", "a" * 5000, "a/" * 3000, "\0", "a\0/b"])
def test_names_that_no_data_set_can_have(name):
    with pytest.raises(DiscoError):
        load(name)


# Its files


def test_files_are_found_plain_and_compressed(root):
    folder = make(root / "one", splits=("train", "dev.v2"))
    (folder / "qrels_train.tsv.gz").write_bytes(gzip.compress(b"train_1 0 p 1\n"))
    for other in ("turns_train.json", "turns_.jsonl", "notes.txt", "collection.jsonl.bak"):
        (folder / other).write_text("other")
    (folder / "turns_folder.jsonl").mkdir()
    files = find_files(folder)
    assert files.collection == folder / "collection.jsonl"
    assert set(files.turns) == {"train", "dev.v2"}
    assert files.qrels == {"train": folder / "qrels_train.tsv.gz"}
    assert len(files.all()) == 4


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("collection.jsonl", r"no collection.jsonl\[.gz\]"),
        ("turns_test.jsonl", r"no turns_<split>.jsonl\[.gz\]"),
    ],
)
def test_a_missing_file_is_named(root, name, problem):
    folder = make(root / "one")
    (folder / name).unlink()
    with pytest.raises(DataError, match=problem) as caught:
        load("one")
    assert caught.value.file == folder


def test_a_file_that_is_there_twice_is_refused(root):
    folder = make(root / "one")
    (folder / "turns_test.jsonl.gz").write_bytes(b"")
    with pytest.raises(DataError, match="turns_test.jsonl and turns_test.jsonl.gz are both there"):
        load("one")


def test_judgements_without_turns_are_refused(root):
    folder = make(root / "one")
    (folder / "qrels_dev.tsv").write_text("t 0 p 1\n")
    with pytest.raises(DataError, match="judgements without turns_dev.jsonl"):
        load("one")


# Its card


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\nlanguage_checks: true\nlicence: CC BY 4.0\n---\n# Card\n",
         {"language_checks": True, "licence": "CC BY 4.0"}),
        ("\ufeff---\r\na: 1\r\n---\r\n", {"a": 1}),
        ("---\n---\ntext", {}),
        ("---\na: 1\n", {}),
        ("# Card\n---\na: 1\n---\n", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_front_matter(tmp_path, text, expected):
    (tmp_path / "README.md").write_bytes(text.encode())
    assert front_matter(tmp_path) == expected


def test_a_folder_without_a_card_has_no_front_matter(tmp_path):
    assert front_matter(tmp_path) == {}


@pytest.mark.parametrize(
    "inside", ["a: [", "- a\n- b", "word", "a: !!python/object/apply:os.getcwd []", "d: 2024-99-99"]
)
def test_front_matter_that_is_no_mapping_is_refused(tmp_path, inside):
    (tmp_path / "README.md").write_text(f"---\n{inside}\n---\n")
    with pytest.raises(DataError, match="between the two '---'") as caught:
        front_matter(tmp_path)
    assert caught.value.file == tmp_path / "README.md"
    assert "\n" not in str(caught.value)


def test_a_card_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "README.md").write_bytes(b"---\na: \xff\n---\n")
    with pytest.raises(DataError, match="README.md"):
        front_matter(tmp_path)


# The list


def test_the_list_has_every_known_data_set_there_or_not(root):
    make(root / "qrecc", splits=("dev", "train"))
    rows = {row.name: row for row in list_datasets()}
    assert list(rows) == ["mini", "qrecc", "cast2020", "canard"]
    assert {name for name, row in rows.items() if row.present} == {"qrecc"}
    assert rows["cast2020"].folder is None
    found = rows["qrecc"]
    assert (found.folder, found.splits) == (root / "qrecc", ["dev", "train"])
    assert (found.turns, found.passages) == ({"dev": 1, "train": 1}, 2)
    assert all(row.about.what and row.about.licence and row.about.source for row in rows.values())


def test_the_list_has_other_data_sets_with_what_their_card_says(root):
    folder = make(root / "lectures")
    (folder / "README.md").write_text(
        "---\nwhat: questions\n  of students\nlicense: CC0\nsource: us\n---\n"
    )
    (root / "empty").mkdir()
    (root / "notes.txt").write_text("no data set")
    row = list_datasets()[-1]
    assert (row.name, row.present, row.problem) == ("lectures", True, None)
    about = row.about
    assert (about.what, about.licence, about.source) == ("questions of students", "CC0", "us")


def test_the_list_shows_a_damaged_data_set_with_its_fault(root):
    folder = make(root / "cast2020")
    (folder / "turns_test.jsonl").unlink()
    (folder / "turns_test.jsonl.gz").write_bytes(gzip.compress(b"{}" * 99)[:20])
    row = next(row for row in list_datasets() if row.name == "cast2020")
    assert row.present
    assert "turns_test.jsonl.gz" in row.problem
    assert row.passages is None


def test_the_list_does_not_count_large_files(root, monkeypatch):
    make(root / "qrecc")
    monkeypatch.setattr(catalogue, "_COUNTED_BYTES", 60)
    row = next(row for row in list_datasets() if row.name == "qrecc")
    assert row.turns == {"test": 1}
    (root / "qrecc" / "collection.jsonl").write_text('{"pid": "p", "text": "t"}\n' * 3)
    row = next(row for row in list_datasets() if row.name == "qrecc")
    assert row.passages is None


def test_the_list_without_disco_data(monkeypatch):
    monkeypatch.delenv("DISCO_DATA")
    assert not any(row.present for row in list_datasets())
    monkeypatch.setenv("DISCO_DATA", "/nowhere/at/all")
    assert not any(row.present for row in list_datasets())
