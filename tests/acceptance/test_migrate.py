"""The guides for those who come from elsewhere: what they show of ours runs, and theirs can be read as what it is."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests import warm

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = sorted(DOCS.glob("migrate-*.md"))
THEIRS = re.compile(r"<!-- theirs -->\n```(\w+)\n(.*?)```", re.DOTALL)
OURS = re.compile(r"(?<!<!-- theirs -->\n)```yaml\n(.*?)```", re.DOTALL)
PARSERS = {"yaml": yaml.safe_load, "json": json.loads, "python": ast.parse}


def test_each_translated_flow_passes_the_rehearsal_beside_it(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "automata.yaml").write_text("{}\n")
    for guide in GUIDES:
        flow, cases = OURS.findall(guide.read_text(encoding="utf-8"))
        (tmp_path / f"flows/{guide.stem}.yaml").write_text(flow)
        (tmp_path / f"tests/{guide.stem}.test.yaml").write_text(cases)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    done = warm.run(["automata", "test", "--format", "json"], cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["summary"]["passed"] == 2 * len(GUIDES)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_the_example_of_the_other_product_can_be_read_as_what_it_is(guide: Path) -> None:
    [(kind, text)] = THEIRS.findall(guide.read_text(encoding="utf-8"))
    assert PARSERS[kind](text)


def test_there_is_a_guide_for_each_product() -> None:
    assert {guide.stem for guide in GUIDES} == {"migrate-airflow", "migrate-kestra", "migrate-n8n"}
