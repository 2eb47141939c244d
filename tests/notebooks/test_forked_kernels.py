"""Kernels that are forked: each a process of its own, set up as a usual one, that can be ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Runs notebooks of one cell or two in forked kernels and prints what each cell gave.
SCRIPT = """
import json, os, sys
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from forked_kernels import use_forked_kernels

use_forked_kernels({"OMP_NUM_THREADS": "1"})

def run(*cells, timeout=300):
    nodes = [nbformat.v4.new_code_cell(cell) for cell in cells]
    book = nbformat.v4.new_notebook(cells=nodes)
    options = {"resources": {"metadata": {"path": sys.argv[1]}}, "timeout": timeout}
    client = NotebookClient(book, kernel_name="python3", **options)
    try:
        client.execute(env={**os.environ, "CHAPTER": "here"})
    except (CellTimeoutError, DeadKernelError) as problem:
        return type(problem).__name__
    outputs = nodes[-1].outputs
    return outputs[-1].get("text", sorted(outputs[-1].get("data", {}))) if outputs else None

print(json.dumps({
    "loaded": run("import sys\\nprint(sorted({'torch', 'ranx', 'matplotlib'} & set(sys.modules)))"),
    "process": run("import os\\nprint(os.getpid(), os.getpgid(0), os.getcwd())"),
    "environment": run("import os\\nprint(os.environ['CHAPTER'], os.environ['OMP_NUM_THREADS'])"),
    "threads": run("import torch\\nprint(torch.get_num_threads())"),
    "left": run("left_by_a_chapter = 1", "left_by_a_chapter"),
    "next": run("print('left_by_a_chapter' in globals())"),
    "main": run("import sys\\nprint(sys.modules['__main__'].__dict__ is globals())"),
    "drawn": run("import matplotlib.pyplot as plt\\nplt.plot([1, 2]);"),
    "dead": run("import os\\nos._exit(3)"),
    "late": run(f"import os, time\\nopen('pid', 'w').write(str(os.getpid()))\\ntime.sleep(600)",
                timeout=3),
}))
"""


def alive(pid: int) -> bool:
    """Whether a process runs (one that has ended and was not waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(holds: Callable[[], object], seconds: float = 120) -> bool:
    """Whether something holds within so many seconds."""
    stop = time.monotonic() + seconds
    while not holds() and time.monotonic() < stop:
        time.sleep(0.1)
    return bool(holds())


PATH = os.pathsep.join([str(ROOT / "book"), str(ROOT)])
ENVIRONMENT = {**os.environ, "PYTHONPATH": PATH}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What the script prints, and the folder that its kernels ran in."""
    folder = tmp_path_factory.mktemp("chapters")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)], capture_output=True, text=True, timeout=300,
        env=ENVIRONMENT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {"folder": folder, **json.loads(done.stdout.splitlines()[-1])}


def test_imports_are_made_and_the_environment_is_the_chapters(found: dict) -> None:
    assert found["loaded"].strip() == "['matplotlib', 'ranx', 'torch']"
    assert found["environment"].strip() == "here 1"
    assert found["threads"].strip() == "1"


def test_a_chapter_has_a_process_and_a_namespace_of_its_own(found: dict) -> None:
    pid, group, folder = found["process"].strip().split(maxsplit=2)
    assert pid == group and Path(folder) == found["folder"]
    assert found["left"] == ["text/plain"] and found["next"].strip() == "False"
    assert found["main"].strip() == "True"


def test_figures_are_drawn_into_the_notebook(found: dict) -> None:
    assert "image/png" in found["drawn"]


def test_a_kernel_that_dies_or_takes_too_long_is_told_and_gone(found: dict) -> None:
    assert found["dead"] == "DeadKernelError" and found["late"] == "CellTimeoutError"
    kernel = int((found["folder"] / "pid").read_text())
    assert eventually(lambda: not alive(kernel))


#: Executes two chapters, the first of which takes minutes.
CHAPTERS = """
import sys
from pathlib import Path
import run_chapters

if __name__ == "__main__":
    run_chapters.NOTEBOOKS = Path(sys.argv[1])
    paths = sorted(run_chapters.NOTEBOOKS.glob("*.ipynb"))
    list(run_chapters.run_chapters(paths, timeout=600, check=True, jobs=1))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_kernel_and_starts_no_other(
    tmp_path: Path, number: int
) -> None:
    for name, code in (
        ("1", "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)"),
        ("2", "open('second', 'w').close()"),
    ):
        cells = [nbformat.v4.new_code_cell(code)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / f"{name}.ipynb")
        (tmp_path / f"{name}.py").write_text(f"# %%\n{code}\n", encoding="utf-8")
    script = tmp_path / "run.txt"
    script.write_text(CHAPTERS, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], env=ENVIRONMENT, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        os.killpg(process.pid, number)
        process.wait(timeout=30)
    kernel = int((tmp_path / "pid").read_text())
    assert eventually(lambda: not alive(kernel))
    assert not (tmp_path / "second").exists()
