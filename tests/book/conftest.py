"""The rendered book: built here when a source is newer than the pages."""

from pathlib import Path

import pytest
import render

ROOT = render.ROOT
HTML = render.BUILD / "html"


def sources() -> list[Path]:
    """Return every file that the pages are made of."""
    book = [path for path in (ROOT / "book").rglob("*") if render.BUILD not in path.parents]
    chapters = (ROOT / "notebooks").glob("*.ipynb")
    return [path for path in (ROOT / "_config.yml", *book, *chapters) if path.is_file()]


@pytest.fixture(scope="session")
def html() -> Path:
    """Return the folder of the rendered pages, up to date and built without a warning."""
    index = HTML / "index.html"
    newest = max(path.stat().st_mtime for path in sources())
    if not index.exists() or index.stat().st_mtime < newest:
        assert render.main() == 0, "the book does not build without warnings"
    return HTML
