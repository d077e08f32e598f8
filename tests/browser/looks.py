"""How a page looks: kept as a picture, and asked by axe-core whether it bars anybody."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "build" / "screenshots"
# What another width and other colours can break; the rest is the same page.
OF_LOOKS = ("color-contrast", "link-in-text-block", "scrollable-region-focusable", "aria-hidden-focus")
_AXE = ROOT / "web-assets" / "node_modules" / "axe-core" / "axe.min.js"


def look(page: Page, name: str, rules: Sequence[str] = ()) -> list[str]:
    """What is wrong with the page as it is now: serious violations, and a page that is wider than its window.

    `rules` are the only ones that are asked about.
    """
    SHOTS.mkdir(parents=True, exist_ok=True)
    assert page.viewport_size
    width = page.viewport_size["width"]
    page.screenshot(path=SHOTS / f"{name}-{width}.png", full_page=True)
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    found = [f"{name} at {width}: {wide} px too wide"] if wide > 0 else []
    if not page.evaluate("'axe' in window"):
        page.evaluate(_axe())
    only = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else {}
    answer = page.evaluate("options => axe.run(document, options)", {"resultTypes": ["violations"], **only})
    bad = [one for one in answer["violations"] if one["impact"] in ("serious", "critical")]
    return found + [f"{name} at {width}: {_words(one)}" for one in bad]


@cache
def _axe() -> str:
    """axe-core as npm brings it for the scripts of the console; fetched where those came ready-made."""
    if not _AXE.exists():
        runpy.run_path(str(ROOT / "web-assets" / "build.py"))["install"]()
    return _AXE.read_text(encoding="utf-8")


def _words(violation: dict[str, Any]) -> str:
    node = violation["nodes"][0]
    return f"{violation['id']}: {violation['help']}: {node['html'][:200]} {node['failureSummary'][:300]}"
