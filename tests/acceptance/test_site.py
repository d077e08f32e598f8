"""The site of `make docs`: each page has a place, each link leads somewhere, and no page asks another host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
NAVIGATION = "# Home\n\n[other](other.md)\n\n```{toctree}\nother\n```\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = _build(DOCS, folder)
    assert built.returncode == 0, built.stderr
    return folder / "site"


def test_every_page_is_on_the_site_and_in_its_navigation(site: Path) -> None:
    navigation = _read(site / "index.html").links
    pages = {page.stem for page in DOCS.glob("*.md")} - {"README", "index"}
    assert {f"{page}.html" for page in pages} <= navigation


def test_every_link_and_every_place_in_a_page_exists(site: Path) -> None:
    pages = {page: _read(page) for page in site.glob("*.html")}
    broken = [
        (page.name, link)
        for page, read in pages.items()
        for link in read.links
        if not re.match(r"https?:|mailto:", link) and not _exists(page, link, pages)
    ]
    assert broken == []


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    loaded = {what for page in site.glob("*.html") for what in _read(page).loads}
    assert loaded
    assert [what for what in loaded if re.match(r"(https?:)?//", what)] == []
    styles = "".join(style.read_text(encoding="utf-8") for style in site.glob("_static/**/*.css"))
    assert re.findall(r"""url\(["']?(?:https?:)?//[^)]*|@import[^;]*""", styles) == []


def test_search_knows_the_words_of_the_pages_and_the_dark_mode_has_a_switch(site: Path) -> None:
    assert "Search.setIndex" in (site / "searchindex.js").read_text(encoding="utf-8")
    assert '"idempot' in (site / "searchindex.js").read_text(encoding="utf-8")
    assert "theme-toggle" in (site / "quickstart.html").read_text(encoding="utf-8")


def test_a_small_site_is_built_where_nothing_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "index.md").write_text(NAVIGATION)
    (tmp_path / "other.md").write_text("# Other\n")
    assert _build(tmp_path, tmp_path / "good", conf=DOCS).returncode == 0


@pytest.mark.parametrize(
    ("other", "extra", "said"),
    [
        ("# Other\n\n[gone](nowhere.md)\n", "", "nowhere.md"),
        ("# Other\n\n[gone](index.md#nowhere)\n", "", "nowhere"),
        ("# Other\n", "# Lost\n", "isn't included in any toctree"),
    ],
    ids=["a link to no page", "a link to no place in a page", "a page outside the navigation"],
)
def test_what_leads_nowhere_stops_the_build(tmp_path: Path, other: str, extra: str, said: str) -> None:
    pages = tmp_path / "docs"
    pages.mkdir()
    (pages / "index.md").write_text(NAVIGATION)
    (pages / "other.md").write_text(other)
    if extra:
        (pages / "lost.md").write_text(extra)
    built = _build(pages, tmp_path / "bad", conf=DOCS)
    assert built.returncode == 1
    assert said in built.stderr


def _build(pages: Path, folder: Path, conf: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Sphinx as `make docs` calls it, into `folder`/site."""
    words = ["-q", "-W", "--keep-going", "-c", str(conf or pages), "-d", str(folder / "trees")]
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *words, str(pages), str(folder / "site")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )


class _Page(HTMLParser):
    """What a page links to, what it loads by itself, and the places in it that a link may name."""

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value for name, value in attrs if value}
        if "id" in named:
            self.places.add(named["id"])
        if tag == "a" and "href" in named:
            self.links.add(named["href"])
        if tag == "link" and named.get("rel") not in {"search", "next", "prev", "index"}:
            self.loads.add(named.get("href", ""))
        if "src" in named:
            self.loads.add(named["src"])


def _read(page: Path) -> _Page:
    parser = _Page()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def _exists(page: Path, link: str, pages: dict[Path, _Page]) -> bool:
    path, _, place = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.is_file():
        return False
    return not place or target not in pages or place in pages[target].places
