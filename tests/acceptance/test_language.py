"""The reference of the language is the language: tables are made from it, expressions give what the page says."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from automata.cli.reference import pages
from automata.cli.reference_language import tables
from automata.flow.codes import CODES
from automata.flow.filters import FILTER_NAMES
from automata.flow.scope import ROOTS
from automata.flow.template import AMBIENT_KEY, Ambient, compile_template

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "language.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(.+?)` \| `(.+?)` \|$", re.MULTILINE)
CONTEXT = {"inputs": {}, AMBIENT_KEY: Ambient(lambda: datetime(2026, 1, 5, tzinfo=UTC), lambda: "0")}


def _expressions(section: str) -> list[tuple[str, str]]:
    text = PAGE.split(f"\n### {section}\n")[1].split("\n## ")[0].split("\n### ")[0]
    return [(expression.replace("\\|", "|"), gives.replace("\\|", "|")) for expression, gives in ROW.findall(text)]


@pytest.mark.parametrize("page", ["language.md", "errors.md", "rest.md"])
def test_the_made_parts_of_the_pages_are_up_to_date(page: str) -> None:
    made = pages(DOCS)[DOCS / page]
    assert (DOCS / page).read_text(encoding="utf-8") == made, "write it anew: python -m automata.cli.reference"


def test_every_table_that_can_be_made_is_on_the_page() -> None:
    # `filters` has examples in its place; the config of a `parallel` has no keys.
    assert set(re.findall(r"<!-- made: (\w+) -->", PAGE)) == set(tables()) - {"filters"}


def test_every_filter_has_an_example() -> None:
    shown = {name for text, _ in _expressions("Filters") for name in re.findall(r"\| *(\w+)", text)}
    assert shown == FILTER_NAMES


def test_every_name_of_the_context_is_explained() -> None:
    explained = set(re.findall(r"`(\w+)`", PAGE.split("| name | where | is |")[1].split("\n\n")[0]))
    assert set(ROOTS) <= explained


def test_every_code_on_the_page_exists() -> None:
    assert set(re.findall(r"AF\d{3}", PAGE)) <= set(CODES)


@pytest.mark.parametrize(("expression", "gives"), [*_expressions("Expressions"), *_expressions("Filters")])
def test_an_expression_gives_what_the_page_says(expression: str, gives: str) -> None:
    got: Any = compile_template("{{ " + expression + " }}").render(CONTEXT)
    assert json.dumps(got) == json.dumps(json.loads(gives))
