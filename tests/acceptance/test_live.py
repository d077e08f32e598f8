"""`automata plan --live` and `replay --online`: files held to what really runs, by a server that really runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
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


RECORDED = {
    "name": "recorded",
    "recording": "on",
    "steps": [
        {
            "id": "fetch",
            "type": "http",
            "config": {"url": "{{ vars.crm_url }}/orders"},
            "outputs": {"first": "{{ response.body.data[0] }}"},
        },
        {
            "id": "save",
            "type": "http",
            "depends_on": ["fetch"],
            "config": {
                "method": "POST",
                "url": "{{ vars.erp_url }}/import",
                "body": [
                    {
                        "id": "{{ steps.fetch.outputs.first.id }}",
                        "total": "{{ steps.fetch.outputs.first.total }}",
                        "at": "{{ now() }}",
                    }
                ],
            },
        },
    ],
}
RUNS = 3


def test_runs_of_the_database_catch_a_write_that_a_change_alters(
    automata: Automata, place: Place, tmp_path: Path
) -> None:
    (place.repository / "flows/recorded.json").write_text(json.dumps(RECORDED))
    deadline = time.monotonic() + 120
    while (first := automata("run", "start", "recorded", "--wait")).code == 3:
        assert time.monotonic() < deadline, first.err
    assert [first.code, *(automata("run", "start", "recorded", "--wait").code for _ in range(RUNS - 1))] == [0] * RUNS
    files = shutil.copytree(place.repository, tmp_path / "flows")
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for words in (["add", "-A"], ["commit", "-q", "-m", "as it runs"]):
        subprocess.run(["git", *identity, *words], cwd=files, check=True)
    words = ("replay", "--online", "--base", "main", "--repo", str(files), "-j", "1")
    told = RECORDED | {"description": "the same in other words"}
    (files / "flows/recorded.json").write_text(json.dumps(told))
    same = automata(*words)
    assert (same.code, f"{RUNS} recorded runs replayed: no difference, {RUNS} differences of the base to itself") == (
        0, same.out.splitlines()[-1].partition(" ignored as noise")[0],
    ), same  # fmt: skip
    doubled = json.dumps(RECORDED).replace("first.total }}", "first.total * 2 }}")
    (files / "flows/recorded.json").write_text(doubled)
    report = automata(*words, "-f", "json")
    assert report.code == 1
    (one,) = report.json["differences"]
    assert (one["kind"], one["runs"], one["of"], one["after"]) == ("write", RUNS, RUNS, one["before"] * 2)
    assert one["place"].startswith("POST http://")
    assert one["place"].endswith("(step save) $[*].total")
    (noise,) = report.json["noise"]
    assert noise["place"].endswith("$[*].at"), "the time differs between the two runs of the base itself"
    twice = RECORDED | {"steps": [*RECORDED["steps"], {**RECORDED["steps"][1], "id": "again", "depends_on": ["save"]}]}
    (files / "flows/recorded.json").write_text(json.dumps(twice))
    said = automata(*words)
    assert said.code == 1
    assert f"uncovered  {RUNS} of {RUNS} runs  recorded: POST " in said.out
