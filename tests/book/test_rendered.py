"""The rendered pages: nothing from another host, no dead link inside, no error output."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]

# The attributes by which a browser loads something without being asked to.
LOADING = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "iframe": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "track": ("src",),
    "input": ("src",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}
CSS_LOAD = re.compile(r"url\(\s*['\"]?([^'\")]+)['\"]?\s*\)|@import\s+['\"]([^'\"]+)['\"]")
SCRIPT_LOAD = re.compile(r"['\"`]((?:https?:)?//[^'\"`\s]+\.(?:m?js|css|woff2?|json))['\"`]")
DATA_URL = re.compile(r"url\(\s*(['\"]?)data:.*?\1\s*\)", re.DOTALL)


class Page(HTMLParser):
    """What one page loads and links to, and the anchors it offers."""

    def __init__(self, text: str) -> None:
        """Parse the text of a page."""
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.images: list[dict[str, str | None]] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Collect loads, links and anchors of an element."""
        found = dict(attributes)
        self._inside = tag if tag in ("script", "style") else ""
        self.anchors.update(value for key in ("id", "name") if (value := found.get(key)))
        self.loads += [value for key in LOADING.get(tag, ()) if (value := found.get(key))]
        self.loads += css_loads(found.get("style") or "")
        if tag == "link" and found.get("href"):
            navigation = {"next", "prev", "index", "search", "canonical", "author", "license"}
            kind = set((found.get("rel") or "").split())
            (self.links if kind & navigation else self.loads).append(found["href"] or "")
        if tag in ("a", "area") and found.get("href"):
            self.links.append(found["href"] or "")
        if tag == "meta" and (found.get("http-equiv") or "").lower() == "refresh":
            self.links.append((found.get("content") or "").split("url=")[-1])
        if tag == "img":
            self.images.append(found)

    def handle_data(self, data: str) -> None:
        """Collect what inline styles and scripts load."""
        if self._inside == "style":
            self.loads += css_loads(data)
        elif self._inside == "script":
            self.loads += SCRIPT_LOAD.findall(data)

    def handle_endtag(self, tag: str) -> None:
        """Leave an inline style or script."""
        self._inside = ""


def css_loads(text: str) -> list[str]:
    """Return the addresses that a style sheet loads."""
    return [first or second for first, second in CSS_LOAD.findall(DATA_URL.sub("", text))]


def is_foreign(address: str) -> bool:
    """Say whether a browser would ask another host for this address."""
    return bool(urlsplit(address).netloc)


@pytest.fixture(scope="module")
def pages(html: Path) -> dict[Path, Page]:
    """Return every page of the book by its path."""
    paths = sorted(path for path in html.rglob("*.html") if "_static" not in path.parts)
    return {path: Page(path.read_text(encoding="utf-8")) for path in paths}


@pytest.fixture(scope="module")
def chapters() -> list[str]:
    """Return the files of the table of contents, as in 'notebooks/00_start_here'."""
    contents = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    listed = [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    return [contents["root"], *listed]


def local_targets(html: Path, pages: dict[Path, Page]) -> Iterator[tuple[Path, str, Path, str]]:
    """Yield (page, address, file it stands for, fragment) of all that stays inside the book."""
    for path, page in pages.items():
        for address in (*page.loads, *page.links):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            yield path.relative_to(html), address, target, unquote(parts.fragment)


def test_every_page_of_the_contents_is_there(html: Path, chapters: list[str]) -> None:
    missing = [name for name in chapters if not (html / f"{name}.html").is_file()]
    assert not missing
    assert (html / "index.html").is_file()


def test_no_page_loads_anything_from_another_host(html: Path, pages: dict[Path, Page]) -> None:
    foreign = [
        f"{path.relative_to(html)}: {address}"
        for path, page in pages.items()
        for address in page.loads
        if is_foreign(address)
    ]
    assert not foreign


def test_no_style_sheet_loads_anything_from_another_host(html: Path) -> None:
    sheets = sorted(html.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        for address in css_loads(sheet.read_text(encoding="utf-8")):
            assert not is_foreign(address), f"{sheet.name} loads {address}"


def test_files_that_style_sheets_load_are_there(html: Path) -> None:
    for sheet in sorted(html.rglob("*.css")):
        for address in css_loads(sheet.read_text(encoding="utf-8")):
            name = unquote(urlsplit(address).path)
            assert not name or (sheet.parent / name).is_file(), f"{sheet.name} loads {address}"


def test_every_address_inside_the_book_leads_to_a_file(html: Path, pages: dict[Path, Page]) -> None:
    targets = list(local_targets(html, pages))
    assert len(targets) > 50
    dead = [f"{page}: {address}" for page, address, target, _ in targets if not target.is_file()]
    assert not dead


def test_every_fragment_inside_the_book_leads_to_an_anchor(
    html: Path, pages: dict[Path, Page]
) -> None:
    dead = [
        f"{page}: {address}"
        for page, address, target, fragment in local_targets(html, pages)
        if fragment and target in pages and fragment not in pages[target].anchors
    ]
    assert not dead


def test_mathematics_is_set_by_the_books_own_copy(html: Path, chapters: list[str]) -> None:
    with_formulas = [
        text
        for name in chapters
        if 'class="math' in (text := (html / f"{name}.html").read_text(encoding="utf-8"))
    ]
    assert with_formulas
    for text in with_formulas:
        assert re.search(r'src="(\.\./)*_static/mathjax/tex-mml-chtml\.js', text)
    assert (html / "_static/mathjax/output/chtml/fonts/woff-v2/MathJax_Main-Regular.woff").is_file()


def test_no_page_shows_an_error(pages: dict[Path, Page]) -> None:
    for path in pages:
        text = path.read_text(encoding="utf-8")
        for sign in (
            "Traceback (most recent call last)",
            'class="output traceback',
            'class="output stderr',
        ):
            assert sign not in text, f"{path.name} shows {sign!r}"


def test_pictures_have_alternative_text(pages: dict[Path, Page], html: Path) -> None:
    for path, page in pages.items():
        for image in page.images:
            text = image.get("alt") or ""
            named = f"{path.relative_to(html)}: {image.get('src')}"
            assert text and not text.endswith((".png", ".svg")), f"{named} has no alternative text"


def test_launch_buttons_open_the_chapters_own_notebook(html: Path, chapters: list[str]) -> None:
    repository = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    place = repository["url"].removeprefix("https://github.com/") + f"/blob/{repository['branch']}"
    notebooks = [name for name in chapters if name.startswith("notebooks/")]
    assert notebooks
    for name in notebooks:
        expected = f"https://colab.research.google.com/github/{place}/{name}.ipynb"
        links = Page((html / f"{name}.html").read_text(encoding="utf-8")).links
        assert [link for link in links if "colab" in link] == [expected]
        assert (ROOT / f"{name}.ipynb").is_file()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ('<script src="https://cdn.example.org/x.js"></script>', "https://cdn.example.org/x.js"),
        ('<link rel="stylesheet" href="//example.org/x.css">', "//example.org/x.css"),
        ('<link rel="preconnect" href="https://example.org">', "https://example.org"),
        ('<img alt="x" src="http://example.org/x.png">', "http://example.org/x.png"),
        ("<style>@import 'https://example.org/x.css';</style>", "https://example.org/x.css"),
        ('<p style="background: url(https://example.org/x.png)">', "https://example.org/x.png"),
        ('<script>const u = "https://example.org/x.js";</script>', "https://example.org/x.js"),
        ('<iframe src="https://example.org/"></iframe>', "https://example.org/"),
    ],
)
def test_the_search_for_loads_finds_them(text: str, address: str) -> None:
    loads = Page(text).loads
    assert loads == [address] and is_foreign(loads[0])


def test_links_and_embedded_data_are_no_loads() -> None:
    text = '<a href="https://example.org/x.js">x</a><p style="background: url(data:image/png;a)">'
    page = Page(text)
    assert page.loads == [] and page.links == ["https://example.org/x.js"]
