"""The chapter runner: what it strips, what it refuses, and that a second run changes nothing."""

import json
from pathlib import Path

import nbformat
import pytest
import run_chapters
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from run_chapters import ChapterError

ROOT = Path(__file__).resolve().parents[2]
SETUP = (ROOT / "book" / "setup_cell.py").read_text(encoding="utf-8").strip()


def save_pair(folder: Path, *sources: str, name: str = "98_trial") -> Path:
    """Write a chapter of the set-up cell and `sources` with its script; return the notebook."""
    code = [SETUP, *sources]
    cells = [new_markdown_cell("# Trial"), *(new_code_cell(source) for source in code)]
    path = folder / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    script = "# %% [markdown]\n# # Trial\n\n" + "".join(f"# %%\n{text}\n\n" for text in code)
    path.with_suffix(".py").write_text(script, encoding="utf-8")
    return path


def stream(name: str, text: str) -> nbformat.NotebookNode:
    """Return a stream output."""
    return new_output("stream", name=name, text=text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("\r 10%|#         | 1/10\r100%|##########| 10/10 [00:01<00:00]\n", ""),
        ("12it [00:01, 9.10it/s]\n", ""),
        ("\rMap:  50%|█████     | 5/10 [00:00<00:00, 9 examples/s]\nlow memory\n", "low memory\n"),
        ("x.py:3: UserWarning: 5% of the turns are empty\n  f()\n", None),
        ("", None),
    ],
)
def test_progress_bars_go_and_messages_stay(text: str, kept: str | None) -> None:
    assert run_chapters.without_progress(text) == (text if kept is None else kept)


def test_normalise_drops_timing_and_joins_streams_that_a_bar_cut() -> None:
    cell = new_code_cell("run()", metadata={"execution": {"iopub.execute_input": "2026"}})
    bar = "\r 50%|#####     | 5/10 [00:00<00:00]"
    cell.outputs = [stream("stdout", "a\n"), stream("stderr", bar), stream("stdout", "b\n")]
    notebook = new_notebook(
        cells=[cell], metadata={"language_info": {"name": "python", "version": "3.11.7"}}
    )
    run_chapters.normalise(notebook)
    assert notebook.cells[0].metadata == {}
    assert [(output.name, output.text) for output in cell.outputs] == [("stdout", "a\nb\n")]
    assert notebook.metadata["language_info"] == {"name": "python"}
    assert notebook.metadata["kernelspec"]["name"] == "python3"


def test_normalise_keeps_figures_and_the_order_of_outputs() -> None:
    cell = new_code_cell("draw()")
    figure = new_output("display_data", data={"image/png": "aGk=", "text/plain": "<Figure>"})
    cell.outputs = [stream("stdout", "a\n"), figure, stream("stdout", "b\n")]
    run_chapters.normalise(new_notebook(cells=[cell]))
    assert [output.output_type for output in cell.outputs] == ["stream", "display_data", "stream"]


def test_unknown_chapter_is_refused_with_the_known_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pair(tmp_path, name="02_two")
    save_pair(tmp_path, name="01_one")
    monkeypatch.setattr(run_chapters, "NOTEBOOKS", tmp_path)
    chosen = run_chapters.find_chapters(["02_two.ipynb", "01_one"])
    assert [path.stem for path in chosen] == ["01_one", "02_two"]
    with pytest.raises(ChapterError, match="03_three.*Known: 01_one, 02_two"):
        run_chapters.find_chapters(["03_three"])


def test_no_chapter_at_all_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_chapters, "NOTEBOOKS", tmp_path)
    with pytest.raises(ChapterError, match="make pairs"):
        run_chapters.find_chapters([])


def test_a_pair_out_of_step_is_refused(tmp_path: Path) -> None:
    path = save_pair(tmp_path, "x = 1")
    run_chapters.require_pair(path)
    script = path.with_suffix(".py")
    script.write_text(script.read_text(encoding="utf-8").replace("x = 1", "x = 2"), "utf-8")
    with pytest.raises(ChapterError, match="differ"):
        run_chapters.require_pair(path)
    script.unlink()
    with pytest.raises(ChapterError, match="no script"):
        run_chapters.require_pair(path)


def test_a_second_run_changes_no_byte(tmp_path: Path) -> None:
    loop = "from tqdm.auto import tqdm\nfor i in tqdm(range(3)):\n    print(i, flush=True)"
    path = save_pair(tmp_path, loop, "import os\nos.environ['OMP_NUM_THREADS']")
    first = run_chapters.run_chapter(path, timeout=300, check=False)
    assert (first.status, first.error) == ("passed", None)
    stored = path.read_bytes()
    cells = nbformat.reads(stored.decode("utf-8"), as_version=4).cells
    assert len(cells) == 4, "the probe's cell must not be stored"
    assert [(output.name, output.text) for output in cells[2].outputs] == [("stdout", "0\n1\n2\n")]
    assert cells[3].outputs[0].data["text/plain"] == "'2'"
    assert run_chapters.run_chapter(path, timeout=300, check=False).status == "passed"
    assert path.read_bytes() == stored


@pytest.mark.parametrize(
    ("source", "timeout", "message"),
    [
        ("raise ValueError('no such run')", 300, "no such run"),
        ("import time\ntime.sleep(60)", 5, "timed out"),
        ("import os\nos._exit(3)", 300, "died"),
        ("import sys\nsys.modules['disco_lib'].__file__ = '/elsewhere/x.py'", 300, "/elsewhere"),
    ],
    ids=["error", "time-out", "dead kernel", "another library"],
)
def test_a_failing_chapter_fails_and_keeps_its_file(
    tmp_path: Path, source: str, timeout: int, message: str
) -> None:
    path = save_pair(tmp_path, source)
    before = path.read_bytes()
    outcome = run_chapters.run_chapter(path, timeout, check=False)
    assert outcome.status == "failed"
    assert message in outcome.error
    assert path.read_bytes() == before


def test_check_stores_nothing_and_the_report_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_pair(tmp_path, "print('hello')")
    before = path.read_bytes()
    outcome = run_chapters.run_chapter(path, timeout=300, check=True)
    assert outcome.status == "passed"
    assert path.read_bytes() == before
    monkeypatch.setattr(run_chapters, "REPORT", tmp_path / "deep" / "chapters.json")
    monkeypatch.setattr(run_chapters, "where", lambda: {"commit": "abc"})
    run_chapters.write_report([outcome], check=True)
    report = json.loads((tmp_path / "deep" / "chapters.json").read_text(encoding="utf-8"))
    assert report["stored"] is False and report["commit"] == "abc"
    assert report["chapters"][0]["chapter"] == "98_trial"
    assert report["chapters"][0]["status"] == "passed"
    assert report["chapters"][0]["seconds"] > 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_chapter_is_run_however_many_at_a_time(tmp_path: Path, jobs: int) -> None:
    paths = []
    for name in "ab":
        folder = tmp_path / name
        folder.mkdir()
        paths.append(save_pair(folder, f"print('{name}')" if name == "a" else "raise KeyError(1)"))
    before = paths[1].read_bytes()
    outcomes = list(run_chapters.run_chapters(paths, timeout=300, check=False, jobs=jobs))
    assert sorted(outcome.status for outcome in outcomes) == ["failed", "passed"]
    assert "'text': 'a" in str(nbformat.read(paths[0], as_version=4).cells)
    assert paths[1].read_bytes() == before
