"""The console's tests: pages over a real PostgreSQL, asked through ASGI as a browser asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from automata.web.app import install
from tests.api.conftest import OpenSite, Site, site_on

__all__ = ["OpenSite", "Reader", "Site", "pages_on", "read"]

VOID = frozenset({"area", "base", "br", "col", "hr", "img", "input", "link", "meta"})


@asynccontextmanager
async def pages_on(database_url: str, **settings: Any) -> AsyncIterator[Site]:
    """A site on empty tables, with the pages beside the API; `site.http` asks for pages."""
    async with site_on(database_url, **settings) as site:
        install(site.app)
        site.http.headers["accept"] = "text/html"
        yield site


@pytest.fixture
async def open_site(database_url: str) -> AsyncIterator[OpenSite]:
    """Call it with fields of Settings for a site with pages, on empty tables; it stays open until the test ends."""
    async with AsyncExitStack() as stack:
        yield lambda **settings: stack.enter_async_context(pages_on(database_url, **settings))


@pytest.fixture
async def site(open_site: OpenSite) -> Site:
    """A site with the settings that a server has by itself."""
    return await open_site()


class Reader(HTMLParser):
    """A page as a reader sees it: its text, links and elements. Raises AssertionError for tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open, f"</{tag}> closes nothing"
            last = self._open.pop()
            assert last == tag, f"</{tag}> closes <{last}>"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        return [
            found
            for name, found in self.elements
            if name == tag and all(found.get(key.rstrip("_")) == value for key, value in attributes.items())
        ]

    def links(self) -> list[str]:
        return [found["href"] for found in self.all("a") if "href" in found]

    def link(self, **attributes: str) -> str | None:
        found = self.all("a", **attributes)
        return found[0]["href"] if found else None


def read(answer: httpx.Response, status: int = 200) -> Reader:
    """A page that is well formed and says no word of script: the policy would refuse it, and somebody would miss it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Reader(answer.text)
    for tag, attributes in page.elements:
        assert tag != "style", "a style element"
        assert not {name for name in attributes if name.startswith("on") or name == "style"}, (tag, attributes)
        if tag == "script":
            assert attributes.get("src", "").startswith("/static/") or attributes.get("type") == "application/json"
        if tag in ("a", "form", "img", "link", "script"):
            for name in ("href", "src", "action"):
                assert attributes.get(name, "/")[:1] in "/#?", f"leads elsewhere: {attributes}"
    return page
