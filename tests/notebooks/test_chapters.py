"""The chapters as they are stored: pairs in step, outputs there, nothing of one machine in them."""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import run_chapters
import yaml
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SETUP = (ROOT / "book" / "setup_cell.py").read_text(encoding="utf-8").strip()

MACHINE_PATH = re.compile(r"(?<![\w.:/])/(home|root|Users|tmp|work|mnt|opt|var|content)/|[A-Z]:\\")
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")

each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list[NotebookNode]:
    """Return the code cells of a stored notebook."""
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def output_texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number of the code cell, text) of everything a notebook's cells put out as text."""
    for number, cell in enumerate(code_cells(path), start=1):
        for output in cell.outputs:
            if output.output_type == "stream":
                yield number, output.text
            for kind, content in output.get("data", {}).items():
                if kind.startswith("text/") or kind == "image/svg+xml":
                    yield number, content


def test_there_are_chapters() -> None:
    assert CHAPTERS, "notebooks/ holds no notebook"


def test_every_script_has_a_notebook() -> None:
    scripts = {path.stem for path in (ROOT / "notebooks").glob("[0-9]*.py")}
    assert scripts == {path.stem for path in CHAPTERS}


def test_the_table_of_contents_lists_exactly_the_chapters_in_order() -> None:
    contents = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    files = [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    listed = [name for name in files if name.startswith("notebooks/")]
    assert listed == [f"notebooks/{path.stem}" for path in CHAPTERS]


@each_chapter
def test_notebook_is_valid(path: Path) -> None:
    nbformat.validate(nbformat.read(path, as_version=4))


@each_chapter
def test_notebook_and_script_are_in_step(path: Path) -> None:
    run_chapters.require_pair(path)


@each_chapter
def test_chapter_opens_with_its_title_and_the_setup_cell(path: Path) -> None:
    title, setup, *_ = nbformat.read(path, as_version=4).cells
    assert title.cell_type == "markdown" and re.match(r"# \S", title.source)
    assert setup.cell_type == "code" and setup.source.strip() == SETUP
    assert "hide-input" in setup.metadata.get("tags", [])


@each_chapter
def test_every_cell_was_executed_once_in_order(path: Path) -> None:
    counts = [cell.execution_count for cell in code_cells(path) if cell.source.strip()]
    assert counts == list(range(1, len(counts) + 1)), "execute it with `make chapters`"


@each_chapter
def test_outputs_are_stored_without_errors(path: Path) -> None:
    kinds = [output.output_type for cell in code_cells(path)[1:] for output in cell.outputs]
    assert kinds, "the chapter shows no output of its own"
    assert "error" not in kinds


@each_chapter
def test_outputs_name_no_path_of_a_machine(path: Path) -> None:
    for number, text in output_texts(path):
        found = MACHINE_PATH.search(text)
        assert not found, f"code cell {number} prints {text[found.start() : found.start() + 60]!r}"
        assert str(Path.home()) not in text and str(ROOT) not in text, f"code cell {number}"


@each_chapter
def test_outputs_name_no_address_in_memory(path: Path) -> None:
    for number, text in output_texts(path):
        assert not ADDRESS.search(text), f"code cell {number} prints an object's address"


@pytest.mark.parametrize(
    "text",
    [
        "saved to /home/ada/run.json",
        "File /opt/x.py:3: UserWarning",
        "'/tmp/tmpabc/index'",
        r"C:\Users\ada",
    ],
)
def test_the_search_for_paths_finds_paths(text: str) -> None:
    assert MACHINE_PATH.search(text)


@pytest.mark.parametrize("text", ["and/or", "1/2", "https://example.org/home/x", "data/mini/tmp/"])
def test_the_search_for_paths_leaves_other_slashes_alone(text: str) -> None:
    assert not MACHINE_PATH.search(text)
