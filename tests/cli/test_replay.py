"""`automata replay` on a real repository, by the recordings that it holds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from automata.cli.app import app
from automata.cli.exits import guarded

Run = Callable[..., tuple[int, str, str]]
RUN = "019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c1{n}"
FLOW = """
name: orders
inputs: {id: {}}
steps:
  - {id: get, type: http, config: {url: "https://crm.example.com/orders/{{ inputs.id }}"}}
  - id: save
    type: http
    depends_on: [get]
    config: {method: POST, url: "https://erp.example.com/import", body: {total: "{{ steps.get.outputs.body.total }}"}}
"""
DOUBLED = FLOW.replace("body.total }}", "body.total * 2 }}")


def recording(n: int, **more: Any) -> str:
    headers = [["Content-Type", "application/json"]]

    def exchange(step: str, method: str, url: str, body: Any, answer: Any) -> Any:
        request = {"method": method, "url": url, "headers": headers, "body": body}
        return {
            "step": step,
            "attempt": 1,
            "took_ms": 12.5,
            "request": request,
            "response": {"status": 200, "headers": headers, "body": answer},
        }

    document = {
        "version": 1,
        "flow": "orders",
        "run": {"id": RUN.format(n=n), "created_at": f"2026-01-0{n + 1}T09:00:00+00:00"},
        "inputs": {"id": f"o-{n}"},
        "status": "SUCCEEDED",
        "steps": {"get": {"status": "SUCCEEDED", "attempts": 1}, "save": {"status": "SUCCEEDED", "attempts": 1}},
        "exchanges": [
            exchange("get", "GET", f"https://crm.example.com/orders/o-{n}", None, {"json": {"total": 5 + n}}),
            exchange("save", "POST", "https://erp.example.com/import", {"json": {"total": 5 + n}}, {"json": {}}),
        ],
        **more,
    }
    return json.dumps(document)


def git(place: Path, *words: str) -> None:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run(["git", *identity, *words], cwd=place, check=True, capture_output=True)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/orders.yaml").write_text(FLOW)
    (tmp_path / "tests/recordings").mkdir(parents=True)
    for n in range(3):
        (tmp_path / f"tests/recordings/orders-{n}.json").write_text(recording(n))
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "flows")
    monkeypatch.chdir(tmp_path)
    for name in ("AUTOMATA_REPO", "AUTOMATA_BRANCH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = guarded(lambda: app(["replay", "-j", "1", *words], standalone_mode=False))
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_nothing_changed_needs_no_evidence(place: Path, run: Run) -> None:
    assert run("--base", "main") == (0, "No flow changed: there is nothing to replay.\n", "")


def test_an_altered_write_is_told_with_one_example_for_all_runs(place: Path, run: Run) -> None:
    (place / "flows/orders.yaml").write_text(DOUBLED)
    code, out, _ = run("--base", "main")
    assert code == 1
    assert "3 of 3 runs  orders: POST https://erp.example.com/import (step save) $.total 7 → 14" in out
    assert out.endswith("3 recorded runs replayed: 3 differ.\n")


def test_the_newest_runs_count(place: Path, run: Run) -> None:
    (place / "flows/orders.yaml").write_text(DOUBLED)
    code, out, _ = run("--base", "main", "--last", "1", "-f", "json")
    report = json.loads(out)
    assert (code, report["summary"]["recorded"]) == (1, 1)
    assert report["differences"][0]["example"] == RUN.format(n=2)


def test_a_change_that_sends_the_same_passes(place: Path, run: Run) -> None:
    (place / "flows/orders.yaml").write_text(FLOW.replace("body.total }}", "body.total * 1 }}"))
    assert run("--base", "main") == (0, "3 recorded runs replayed: no difference.\n", "")


def test_a_branch_cannot_soften_the_evidence(place: Path, run: Run) -> None:
    (place / "flows/orders.yaml").write_text(DOUBLED)
    for file in (place / "tests/recordings").iterdir():
        file.unlink()
    (place / "automata.yaml").write_text('checks: {replay: {ignore: ["$.total"]}}\n')
    code, out, _ = run("--base", "main")
    assert code == 1
    assert "3 of 3 runs" in out


def test_no_recordings_are_a_failure_unless_that_is_allowed(place: Path, run: Run) -> None:
    git(place, "rm", "-q", "-r", "tests")
    git(place, "commit", "-q", "-m", "none")
    (place / "flows/orders.yaml").write_text(DOUBLED)
    assert run("--base", "main") == (1, "No evidence: 0 recorded runs; there are none.\n", "")
    assert run("--base", "main", "--allow-empty")[0] == 0


def test_what_cannot_be_replayed_is_said(place: Path, run: Run) -> None:
    (place / "flows/orders.yaml").write_text(DOUBLED)
    cut = json.loads(recording(1))
    cut["exchanges"][1]["request"]["body"] = {"cut": 999_999}
    (place / "tests/recordings/orders-1.json").write_text(json.dumps(cut))
    (place / "tests/recordings/orders-2.json").write_text(recording(2, status="FAILED"))
    git(place, "commit", "-q", "-a", "-m", "flows")
    git(place, "checkout", "-q", "-b", "next")
    (place / "flows/orders.yaml").write_text(FLOW)
    code, out, _ = run("--base", "main")
    assert code == 1
    assert "the base is" not in out
    assert "1 of 3 runs  orders: the body was not kept" in out
    assert "1 of 3 runs  orders: it was FAILED when it was recorded, and is SUCCEEDED on the base" in out


def test_a_broken_recording_is_an_error_with_its_place(place: Path, run: Run) -> None:
    (place / "tests/recordings/bad.json").write_text("{")
    (place / "flows/orders.yaml").write_text(DOUBLED)
    code, _, err = run("--base", "main")
    assert code == 1
    assert "tests/recordings/bad.json" in err
    assert "AF408" in err


def test_a_flow_that_is_not_there_is_named(place: Path, run: Run) -> None:
    code, _, err = run("ordres", "--base", "main")
    assert code == 3
    assert "orders" in err


@pytest.mark.parametrize("body", ["$[", "$..["])
def test_a_path_that_is_none_is_told(place: Path, run: Run, body: str) -> None:
    (place / "automata.yaml").write_text(json.dumps({"checks": {"replay": {"ignore": [body]}}}))
    git(place, "add", "-A")
    git(place, "commit", "-q", "-m", "policy")
    code, _, err = run("--base", "main")
    assert code == 1
    assert "JSONPath" in err
