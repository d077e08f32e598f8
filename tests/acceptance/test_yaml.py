"""Every YAML block of the documentation is what it says it is: flows, cases, project and environment files that pass,
and mistakes that are refused with the code beside them.

A block of a part of a file (`webhooks:` alone, a list of steps) is held to its shape; a whole file to all checks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from automata.errors import Diagnostic
from automata.flow.findings import Findings
from automata.flow.load import load_flow, parse_yaml, validate_text
from automata.flow.model import canonical_json
from automata.flow.shape import Shape
from automata.project.schemas import ENVIRONMENT_SCHEMA, PROJECT_SCHEMA
from automata.sandbox.case_file import read_cases
from automata.sandbox.schema import TEST_SCHEMA

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"(?:^Refused with `(AF\d+)`\.[^\n]*\n\n|<!-- (theirs) -->\n)?^```(?:yaml|json)\n(.*?)```", re.DOTALL | re.MULTILINE
)
STEP: dict[str, Any] = {"id": "only", "type": "delay", "config": {"duration_sec": 1}}
CASE: dict[str, Any] = {"name": "only"}


def _blocks() -> list[Any]:
    found = []
    for page in sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md"]):
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start(3)) + 1
            if not match[2]:  # what other programs read is for other tests
                found.append(pytest.param(match[3], match[1], id=f"{page.relative_to(ROOT)}:{line}"))
    return found


@pytest.mark.parametrize(("text", "refused"), _blocks())
def test_a_block_passes_or_is_refused_with_the_code_beside_it(text: str, refused: str | None) -> None:
    found = _found(text)
    errors = sorted({one.code for one in found if one.severity == "error"})
    assert errors == ([refused] if refused else []), [f"{one.line}: {one.code} {one.message}" for one in found]
    if not refused:
        assert found == [], "an example should not warn either"


def test_the_language_page_shows_a_mistake_of_every_kind_that_it_names() -> None:
    page = (ROOT / "docs/language.md").read_text(encoding="utf-8")
    assert len(set(re.findall(r"^Refused with `(AF\d+)`", page, re.MULTILINE))) >= 15


def _found(text: str) -> list[Diagnostic]:
    value, _, wrong = parse_yaml(text, "example.yaml")
    if value is None or (wrong and not isinstance(value, dict)):
        return list(wrong)
    if text.startswith("# automata.yaml"):
        return _shape(value, PROJECT_SCHEMA, {})
    if text.startswith("# environments/"):
        return _shape(value, ENVIRONMENT_SCHEMA, {})
    if isinstance(value, list):
        return _flow({"name": "part", "steps": value})
    if "config" in value:
        return _flow({"name": "part", "steps": [STEP, {"id": "part", "type": "http", **value}]})
    if "flow" in value:
        if "cases" not in value:
            return _shape({**value, "cases": [CASE]}, TEST_SCHEMA, TEST_SCHEMA["$defs"])
        return list(read_cases(text.encode(), "tests/a.test.yaml", lambda _: b"{}").diagnostics)
    if "name" in value and "steps" in value:
        return list(validate_text(text, "example.yaml").diagnostics)
    return _flow({"name": "part", "steps": [STEP], **value})


def _flow(value: Mapping[str, Any]) -> list[Diagnostic]:
    return list(load_flow(canonical_json(value), "part.json").diagnostics)


def _shape(value: Any, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[Diagnostic]:
    findings = Findings("part.yaml", {})  # type: ignore[arg-type]
    Shape(definitions, findings).check(value, schema)
    return list(findings.found)
