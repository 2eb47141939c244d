"""The set-up cell that every chapter begins with, here and on a stand-in for Colab."""

import os
import subprocess
import sys
from pathlib import Path

import colab
import pytest
import yaml

import disco_lib

ROOT = Path(__file__).resolve().parents[2]
SETUP = (ROOT / "book" / "setup_cell.py").read_text(encoding="utf-8")


def run(source: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a cell's text in a fresh interpreter that does not see the checkout by itself."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-c", source]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_a_chapter_uses_the_library_beside_it() -> None:
    done = run(SETUP, ROOT / "tests")
    assert done.stdout == f"disco_lib {disco_lib.__version__}\n", done.stderr


def test_another_library_loaded_before_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "disco_lib").mkdir()
    (tmp_path / "disco_lib" / "__init__.py").write_text("__version__ = '0'\n")
    before = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import disco_lib\n"
    done = run(before + SETUP, ROOT / "tests")
    assert done.returncode != 0
    assert f"restart: {tmp_path / 'disco_lib'} is loaded" in done.stderr


@pytest.fixture
def published_book(tmp_path: Path) -> Path:
    """Return a git repository with a small book whose colab.py leaves a mark when it runs."""
    book = tmp_path / "published"
    (book / "disco_lib").mkdir(parents=True)
    (book / "disco_lib" / "__init__.py").write_text("__version__ = '7.8.9'\n")
    (book / "book").mkdir()
    mark = "from pathlib import Path\nif __name__ == '__main__':\n    Path('installed').touch()\n"
    (book / "book" / "colab.py").write_text(mark)
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], [*author, "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=book, check=True)
    return book


def test_on_colab_the_book_is_fetched_and_its_own_library_used(
    published_book: Path, tmp_path: Path
) -> None:
    url = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    assert SETUP.count(url) == 1 and SETUP.count("/content/disco-book") == 1
    place = tmp_path / "content" / "disco-book"
    source = SETUP.replace(url, published_book.as_uri()).replace("/content/disco-book", str(place))
    pretend = "import sys, types\nsys.modules['google.colab'] = types.ModuleType('google.colab')\n"
    for _ in range(2):  # the second run finds the checkout of the first
        done = run(pretend + source, tmp_path)
        assert done.stdout == "disco_lib 7.8.9\n", done.stderr
        assert (tmp_path / "installed").exists()


def test_the_cell_fetches_the_branch_that_the_launch_buttons_open() -> None:
    repository = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    assert f'url = "{repository["url"]}"\n' in SETUP
    assert f'"--branch={repository["branch"]}"' in SETUP


def test_colab_gets_the_library_without_torch_numpy_and_the_books_tools() -> None:
    wanted = colab.library_requirements((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    names = {line.split(">=")[0] for line in wanted}
    assert {"transformers", "ranx", "datasets", "numba", "typer"} <= names
    assert not names & {"torch", "numpy", "jupyter-book", "ipykernel", "pytest", "nbval"}


def test_a_requirements_file_in_another_order_is_refused() -> None:
    with pytest.raises(ValueError, match="torch"):
        colab.library_requirements("numpy>=2\n\ntorch>=2\n")


def test_versions_of_installed_packages_only() -> None:
    found = colab.installed_versions(("numpy", "no-such-package-for-disco"))
    assert list(found) == ["numpy"]


def test_a_failed_installation_says_why() -> None:
    with pytest.raises(RuntimeError, match="no-such-folder-for-disco"):
        colab.pip("--no-index", "./no-such-folder-for-disco")
