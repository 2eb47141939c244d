"""Execute the chapters in order and store their outputs: `python book/run_chapters.py [NAME ...]`.

An error in any cell fails the run and leaves that chapter's file as it was. What is stored depends
on the chapter alone: no times, no progress bars, so that a second run gives no difference. What
does depend on the run (versions, commit, seconds, status) goes to book/_build/chapters.json.
"""

import argparse
import contextlib
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from forked_kernels import use_forked_kernels  # noqa: E402 (stands beside this file)

from disco_lib.storage import atomic_path, write_json  # noqa: E402

NOTEBOOKS = ROOT / "notebooks"
REPORT = ROOT / "book" / "_build" / "chapters.json"

#: Threads of all chapters that run at a time: what continuous integration and a laptop have.
THREADS = 2
KERNEL_ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONHASHSEED": "0",
    # tqdm falls back to a text bar by itself; its advice to install widgets is no use on a page.
    "PYTHONWARNINGS": "ignore:IProgress not found",
    # Threads that wait go to sleep: where chapters share the cores, spinning would starve them.
    "OMP_WAIT_POLICY": "PASSIVE",
}
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)

# Runs in the chapter's own kernel after its last cell: which library was really imported.
PROBE = "import sys as _sys\nprint(_sys.modules['disco_lib'].__file__)"

# 'Map:  40%|████      | 4/10 [00:01<00:02]' and '12it [00:01, 9.1it/s]'.
PROGRESS = re.compile(r"\d+%\|[^|]*\||\d+(\.\d+)?[kMG]?i?t? ?\[\d\d:\d\d")

TO_SCRIPT = "In notebooks/, `jupytext --to py:percent"


class ChapterError(Exception):
    """A chapter that cannot be executed as it stands; the message says what to do."""


@dataclass
class Outcome:
    """What one execution of a chapter gave."""

    chapter: str
    status: str
    seconds: float
    error: str | None


def find_chapters(names: list[str]) -> list[Path]:
    """Return the notebooks to run in the order of their numbers; raise ChapterError for a typo."""
    known = {path.stem: path for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))}
    if not known:
        raise ChapterError(f"no chapter in {NOTEBOOKS.name}/: `make pairs` makes the notebooks")
    wanted = [Path(name).stem for name in names] or list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ChapterError(f"no such chapter: {', '.join(unknown)}. Known: {', '.join(known)}")
    return [known[name] for name in known if name in wanted]


def source_cells(notebook: NotebookNode) -> list[tuple[str, str, dict]]:
    """Return what a notebook and its script must share: type, text, tags and captions of cells."""
    shared = ("tags", "mystnb")
    return [
        (cell.cell_type, cell.source, {k: v for k, v in cell.metadata.items() if k in shared})
        for cell in notebook.cells
    ]


def require_pair(path: Path) -> None:
    """Raise ChapterError unless the script beside a notebook says the same as the notebook."""
    script = path.with_suffix(".py")
    if not script.exists():
        raise ChapterError(f"{path.name} has no script {script.name}. {TO_SCRIPT} {path.name}`")
    if source_cells(nbformat.read(path, as_version=4)) != source_cells(jupytext.read(script)):
        raise ChapterError(
            f"{path.name} and {script.name} differ. `make pairs` brings the script's text into the "
            f"notebook. {TO_SCRIPT} {path.name}` brings the notebook's text into the script."
        )


def merge_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join neighbouring outputs of one stream, which the kernel cuts at arbitrary moments."""
    merged: list[NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else None
        both = output.output_type == "stream" and last is not None
        if both and last.output_type == "stream" and last.name == output.name:
            last.text += output.text
        else:
            merged.append(output)
    return merged


def without_progress(text: str) -> str:
    """Return a stream's text without progress bars and the line ends they leave behind."""
    lines = [line.rsplit("\r", 1)[-1] if "\r" in line else line for line in text.split("\n")]
    if not any("\r" in line or PROGRESS.search(line) for line in text.split("\n")):
        return text
    kept = [line for line in lines if line.strip() and not PROGRESS.search(line)]
    return "\n".join(kept) + ("\n" if kept else "")


def normalise(notebook: NotebookNode) -> None:
    """Take out of an executed notebook whatever depends on the run and not on the chapter."""
    name = notebook.metadata.get("kernelspec", {}).get("name", "python3")
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": name,
    }
    notebook.metadata["language_info"] = {"name": "python"}
    for transient in ("widgets", "jupytext"):
        notebook.metadata.pop(transient, None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        # Bars are written in pieces that other streams cut through: strip, then join.
        outputs = merge_streams(cell.outputs)
        for output in outputs:
            if output.output_type == "stream" and output.name == "stderr":
                output.text = without_progress(output.text)
        cell.outputs = merge_streams([o for o in outputs if o.get("text") != ""])


def kernel_environment(threads: int) -> dict[str, str]:
    """What a kernel's environment has beside this process's own."""
    return {**KERNEL_ENVIRONMENT, **dict.fromkeys(THREAD_VARIABLES, str(threads))}


def execute(notebook: NotebookNode, timeout: int, threads: int = THREADS) -> None:
    """Execute a notebook on so many threads and put its new outputs in place of the old.

    Raises nbclient's errors for a failing cell, a time-out or a dead kernel, and ChapterError when
    the chapter used a disco_lib that is not this checkout's.
    """
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(NOTEBOOKS)}},
    )
    client.execute(env={**os.environ, **kernel_environment(threads)})
    imported = notebook.cells.pop().outputs[-1].text.strip()
    expected = ROOT / "disco_lib" / "__init__.py"
    if Path(imported).resolve() != expected:
        raise ChapterError(f"the chapter imported disco_lib from {imported}, not from {expected}")


def run_chapter(path: Path, timeout: int, check: bool, threads: int = THREADS) -> Outcome:
    """Execute one chapter; store its outputs unless `check` is set or it failed."""
    print(f"{path.stem} ...", flush=True)
    started = time.perf_counter()
    error = None
    try:
        require_pair(path)
        notebook = nbformat.read(path, as_version=4)
        execute(notebook, timeout, threads)
        normalise(notebook)
        if not check:
            with atomic_path(path) as part:
                nbformat.write(notebook, part)
    except (ChapterError, CellExecutionError, CellTimeoutError, DeadKernelError) as problem:
        error = str(problem).strip()
    seconds = round(time.perf_counter() - started, 1)
    return Outcome(path.stem, "failed" if error else "passed", seconds, error)


def run_chapters(paths: list[Path], timeout: int, check: bool, jobs: int) -> Iterator[Outcome]:
    """Execute chapters, `jobs` at a time, and give each one's outcome when it is done.

    They share THREADS threads, so times that a chapter measures depend on `jobs`.
    """
    threads = max(1, THREADS // jobs)
    run = partial(run_chapter, timeout=timeout, check=check, threads=threads)
    fork = partial(use_forked_kernels, kernel_environment(threads))
    pool = ProcessPoolExecutor(jobs, initializer=fork)
    try:
        for done in as_completed([pool.submit(run, path) for path in paths]):
            yield done.result()
        pool.shutdown()
    finally:
        # Of an interrupted run: a worker would take that for a dead kernel and start the next one.
        for worker in multiprocessing.active_children():
            worker.kill()


@cache
def where() -> dict[str, Any]:
    """Versions, commit and machine."""
    # Its imports take seconds, in which the first chapters can already run.
    from disco_lib.records import provenance

    return provenance()


def write_report(outcomes: list[Outcome], check: bool) -> None:
    """Write what ran, where (versions, commit, machine) and for how long to chapters.json."""
    report = {
        **where(),
        "tier": os.environ.get("DISCO_TIER", "mini"),
        "stored": not check,
        "chapters": [asdict(outcome) for outcome in sorted(outcomes, key=lambda o: o.chapter)],
    }
    write_json(REPORT, report)


def main() -> int:
    """Run the chapters named on the command line, or all of them; 0 when every one passed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a chapter, such as 03_the_index")
    parser.add_argument("--check", action="store_true", help="execute, but store nothing")
    parser.add_argument("--timeout", type=int, default=1800, help="seconds a cell may take (1800)")
    parser.add_argument("--jobs", type=int, default=1, help="chapters executed at a time (1)")
    options = parser.parse_args()
    if options.jobs < 1:
        parser.error(f"--jobs is {options.jobs}; use 1 or more")
    try:
        chapters = find_chapters(options.names)
    except ChapterError as problem:
        print(problem, file=sys.stderr)
        return 2
    outcomes: list[Outcome] = []
    for outcome in run_chapters(chapters, options.timeout, options.check, options.jobs):
        outcomes.append(outcome)
        done = f"[{len(outcomes)}/{len(chapters)}] {outcome.chapter}"
        print(f"{done} {outcome.status} in {outcome.seconds:.1f} s", flush=True)
        if outcome.error:
            print(outcome.error, file=sys.stderr, flush=True)
        write_report(outcomes, options.check)
    failed = [outcome.chapter for outcome in outcomes if outcome.status != "passed"]
    passed = len(outcomes) - len(failed)
    failures = f"; failed: {', '.join(failed)}" if failed else ""
    print(f"{passed} of {len(outcomes)} chapters executed{failures}")
    return 1 if failed else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
