"""What each row of the table of forges has to bring."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path

import pytest

from automata.proposals.forges.contract import Forge
from automata.proposals.forges.factory import FORGES, setting_names
from automata.settings import Settings

ROOT = Path(__file__).parents[3]
ASKED = [name for name in vars(Forge) if not name.startswith("_")]


@pytest.mark.parametrize("key", FORGES)
def test_a_forge_has_its_settings_and_its_page(key: str) -> None:
    known = {item.name for item in fields(Settings)}
    page = (ROOT / f"docs/{key}.md").read_text(encoding="utf-8")
    table = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    for name in setting_names(key):
        assert name in known
        assert f"AUTOMATA_{name.upper()}" in page
        assert f"AUTOMATA_{name.upper()}" in table
    assert "S3CRET" not in repr(Settings(**{setting_names(key)[2]: "S3CRET"}))


@pytest.mark.parametrize("key", FORGES)
@pytest.mark.parametrize("name", ASKED)
def test_a_forge_answers_all_that_proposals_ask(key: str, name: str) -> None:
    contract = list(inspect.signature(getattr(Forge, name)).parameters)
    assert list(inspect.signature(getattr(FORGES[key], name)).parameters) == contract
