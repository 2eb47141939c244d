"""Render the book from the stored outputs: `python book/render.py` -> book/_build/html/index.html.

Every page is built anew, because a page taken from a cache would hide its warnings, and a warning
is an error here.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "book" / "_build"


def main() -> int:
    """Build the HTML and return Jupyter Book's exit status."""
    for folder in ("html", ".doctrees"):
        shutil.rmtree(BUILD / folder, ignore_errors=True)
    options = ["--config", "_config.yml", "--toc", "book/_toc.yml", "--path-output", "book"]
    strict = ["--warningiserror", "--nitpick", "--keep-going", "--quiet"]
    program = Path(sys.executable).with_name("jupyter-book")
    command = [str(program), "build", ".", *options, *strict]
    status = subprocess.run(command, cwd=ROOT).returncode
    if status == 0:
        print(f"rendered: {(BUILD / 'html' / 'index.html').relative_to(ROOT)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
