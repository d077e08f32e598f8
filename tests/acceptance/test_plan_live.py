"""`automata plan --live`: files held to what really runs, by a server that really runs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from automata.cli.demo.shop import DECLINED
from tests.acceptance.conftest import Automata, Place


@pytest.fixture
def files(place: Place, tmp_path: Path) -> Path:
    """The project as it runs, to be edited without running."""
    return shutil.copytree(place.repository, tmp_path / "flows")


def test_what_runs_is_no_change(automata: Automata, files: Path) -> None:
    said = automata("plan", "--live", "--repo", str(files), "--detailed-exitcode")
    assert (said.code, said.out.startswith("Nothing changed")) == (0, True), said


def test_a_change_is_told_with_the_runs_dead_letters_and_schedules_that_hang_on_it(
    automata: Automata, files: Path
) -> None:
    automata("run", "start", "slow")
    automata("run", "start", "settle-invoice", "-i", f"invoice={DECLINED}", "--wait")
    for name in ("settle-invoice", "daily-report"):
        file = files / "flows" / f"{name}.yaml"
        file.write_text(file.read_text() + "\nlabels: {moved: 'yes'}\n" if "labels:" not in file.read_text() else
                        file.read_text().replace("labels: {", "labels: {moved: 'yes', "))  # fmt: skip
    (files / "flows/slow.json").unlink()
    words = ("plan", "--live", "--repo", str(files))
    said = automata(*words, "--detailed-exitcode", "--out", str(files / "plan.json"))
    assert said.code == 2, said
    report = json.loads((files / "plan.json").read_text())
    live = {one["flow"]: one["live"] for one in report["flows"]}
    assert {name: (one["active_runs"], one["dead_letters"]) for name, one in live.items()} == {
        "slow": (1, 0), "settle-invoice": (0, 1), "daily-report": (0, 0),
    }  # fmt: skip
    (schedule,) = live["daily-report"]["schedules"]
    assert schedule["enabled"]
    assert "now: 1 unfinished run" in said.out
    assert "now: 1 open dead letter" in said.out
    assert f"now: schedule {schedule['name']} next at " in said.out
    assert automata(*words).code == 0
    assert report["flows"][0]["flow"] == "slow", "what is gone is the worst"
    assert report["base"] == automata("flow", "show", "slow", "-o", "json").json["shown"]["commit_sha"]


def test_a_flow_that_is_new_has_nothing_hanging_on_it(automata: Automata, files: Path) -> None:
    spec = {"name": "new", "steps": [{"id": "a", "type": "transform", "config": {"mappings": {"n": 1}}}]}
    (files / "flows/new.json").write_text(json.dumps(spec))
    (flow,) = automata("plan", "--live", "--repo", str(files), "-f", "json").json["flows"]
    assert (flow["flow"], flow["live"]) == ("new", None)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 3, "--base or with --live"),
        (("--base", "main", "--live"), 3, "--base or with --live"),
        (("--base", "main", "--source", "x"), 3, "--source goes with --live"),
        (("--live", "--env", "dev"), 3, "no_source"),
        (("--live", "--source", "https://example.com/other.git"), 3, "no_source"),
        (("--live", "--api-url", "http://127.0.0.1:9"), 4, "api_unreachable"),
        (("--live", "--api-url", "ftp://x"), 3, "not the URL"),
    ],
)
def test_what_cannot_be_compared_is_said(
    automata: Automata, files: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    said = automata("plan", "--repo", str(files), *words)
    assert (said.code, said.out) == (code, ""), said
    assert says in said.err
