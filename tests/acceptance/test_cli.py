"""The commands that talk to the API, against a server that really runs and a shop that really answers."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from automata.cli.demo.shop import DECLINED, PAGE
from tests.acceptance.conftest import WIDE, Automata, Place

UNKNOWN = "00000000-0000-7000-8000-000000000000"


def test_flows_are_listed_by_name_with_where_they_come_from(automata: Automata) -> None:
    answer = automata("flow", "list")
    lines = answer.out.splitlines()
    assert lines, answer
    assert lines[0].split()[:3] == ["FLOW", "VERSION", "FROM"]
    names = [line.split()[0] for line in lines[1:]]
    assert names == sorted(names)
    assert lines[1].split()[:4] == ["daily-report", "1", "git", "team=sales"]


def test_flows_can_be_searched_by_name_and_label(automata: Automata) -> None:
    found = automata("flow", "list", "--search", "order", "--label", "team=sales", "-o", "json").json
    assert [flow["name"] for flow in found["items"]] == ["import-all-orders"]


def test_a_flow_is_shown_with_its_steps_and_its_commit(automata: Automata) -> None:
    shown = automata("flow", "show", "import-all-orders").out
    assert "flows/import-all-orders.yaml" in shown
    assert re.search(r"^commit +[0-9a-f]{12}", shown, re.MULTILINE)
    assert re.search(r"^ {8}page_1 +http *$", shown, re.MULTILINE)
    assert re.search(r"^save +http +gather", shown, re.MULTILINE)


def test_a_flow_that_is_not_there_exits_3_and_suggests_another(automata: Automata) -> None:
    answer = automata("flow", "show", "sync-order")
    assert (answer.code, answer.out) == (3, "")
    assert "sync-orders" in answer.err


def test_versions_are_listed(automata: Automata) -> None:
    (version,) = automata("flow", "versions", "sync-orders", "-o", "json").json["items"]
    assert version["number"] == 1
    assert "Start with the example flows" in automata("flow", "versions", "sync-orders").out


def test_a_run_that_is_waited_for_ends_with_its_tree(automata: Automata) -> None:
    answer = automata("run", "start", "sync-orders", "-i", "source_id=crm-1", "--wait")
    assert answer.code == 0
    assert re.search(r"^sync-orders v1  SUCCEEDED  [\d.]+ m?s  [0-9a-f-]{36}$", answer.out, re.MULTILINE)
    assert re.search(r"^├── fetch  SUCCEEDED ", answer.out, re.MULTILINE)
    assert "save SUCCEEDED" in answer.err


def test_a_run_that_failed_exits_1_and_says_why(automata: Automata) -> None:
    answer = automata("run", "start", "settle-invoice", "-i", f"invoice={DECLINED}", "--wait")
    assert answer.code == 1
    assert "the card was declined" in answer.out
    assert re.search(r"review +SKIPPED", answer.out)


def test_a_run_is_json_for_programs(automata: Automata) -> None:
    answer = automata("run", "start", "sync-orders", "-i", "source_id=crm-1", "--wait", "-o", "json")
    assert answer.err == ""
    assert (answer.json["status"], answer.json["inputs"]) == ("SUCCEEDED", {"source_id": "crm-1"})
    tasks = {task["step"]: task for task in answer.json["tasks"]}
    assert len(tasks["fetch"]["outputs"]["orders"]) == PAGE


def test_a_run_says_where_it_comes_from(automata: Automata) -> None:
    run = automata("run", "start", "sync-orders", "-i", "source_id=crm-1", "-o", "json").json["id"]
    said = automata("provenance", run)
    assert (said.code, said.out.splitlines()[0].split()[:2]) == (0, ["run", run])
    assert re.search(r"version sync-orders v1, 20", said.out)
    assert re.search(r"commit [0-9a-f]{12}  Start with the example flows", said.out)
    assert "origin pushed without a proposal" in said.out
    assert automata("provenance", run, "-o", "json").json["origin"] == "push"
    assert "pushed without a proposal" in automata("flow", "show", "sync-orders").out
    assert automata("provenance", UNKNOWN).code == 3


def test_inputs_are_read_as_the_flow_declares_them(automata: Automata) -> None:
    given = ["-i", "text=5", "-i", "count=5", "-i", 'tags=["a", 1]']
    run = automata("run", "start", "typed", *given, "--wait", "-o", "json").json
    assert run["outputs"]["all"] == {"text": "5", "count": 5, "tags": ["a", 1]}


def test_a_secret_input_is_not_shown(automata: Automata) -> None:
    shown = automata("run", "start", "typed", "-i", "count=1", "-i", "password=hunter2hunter2", "--wait")
    assert shown.code == 0
    assert "hunter2hunter2" not in shown.out + shown.err


def test_inputs_may_come_from_a_file(automata: Automata, tmp_path: Path) -> None:
    file = tmp_path / "inputs.json"
    file.write_text('{"count": 3, "text": "x"}')
    run = automata("run", "start", "typed", "--inputs", str(file), "-i", "count=4", "--wait", "-o", "json").json
    assert run["outputs"]["all"] == {"text": "x", "count": 4, "tags": []}


@pytest.mark.parametrize(
    ("given", "says"),
    [(["nmae=1", "count=1"], "nmae"), (["count=five"], "count"), (["text=1"], "count"), (["conut=1"], "did you mean")],
)
def test_inputs_that_do_not_fit_are_refused_by_name(automata: Automata, given: list[str], says: str) -> None:
    answer = automata("run", "start", "typed", *(word for pair in given for word in ("-i", pair)))
    assert answer.code == 1
    assert says in answer.err.lower()
    assert "[invalid_input]" in answer.err


def test_the_same_idempotency_key_gives_the_same_run(automata: Automata) -> None:
    start = ["run", "start", "typed", "-i", "count=1", "--idempotency-key", "once", "-o", "json"]
    assert automata(*start).json["id"] == automata(*start).json["id"]
    other = automata("run", "start", "typed", "-i", "count=2", "--idempotency-key", "once")
    assert (other.code, "[idempotency_mismatch]" in other.err) == (6, True)


def test_many_runs_are_started_from_a_file_and_again_give_the_same(automata: Automata, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    lines = [{"inputs": {"count": n}} for n in range(1500)]
    file.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    words = ["run", "batch", "--file", str(file), "--flow", "typed", "--idempotency-key", "import-1", "-o", "json"]
    first, second = automata(*words), automata(*words)
    assert (first.code, first.json["created"], first.json["refused"]) == (0, 1500, 0)
    assert (second.code, second.json["created"], second.json["existing"]) == (0, 0, 1500)


def test_lines_that_cannot_be_started_are_told_by_number(automata: Automata, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text('{"flow": "typed", "inputs": {"count": 1}}\n\n{"flow": "typed", "inputs": {"count": "x"}}\n')
    some = automata("run", "batch", "--file", str(file))
    assert some.code == 1
    assert "3     invalid_input" in some.out
    assert "Started 1 runs; 0 were there already, 1 refused." in some.out
    none = automata("run", "batch", "--file", str(file), "--atomic")
    assert (none.code, "[batch_refused]" in none.err) == (1, True)


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "no runs"), ("[1]", "line 1 must be"), ('{"inputs": {}}', "names no flow"), ('{"flow": "a"}\n{', "line 2")],
)
def test_a_file_that_holds_no_runs_is_refused_before_anything_is_sent(
    automata: Automata, tmp_path: Path, text: str, says: str
) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text(text)
    answer = automata("run", "batch", "--file", str(file))
    assert (answer.code, says in answer.err) == (3, True), answer.err


def test_a_version_that_does_not_exist_exits_3(automata: Automata) -> None:
    assert automata("run", "start", "typed", "--version", "99").code == 3


def test_a_run_can_be_shown_watched_and_cancelled(automata: Automata) -> None:
    started = automata("run", "start", "slow")
    run = re.search(r"[0-9a-f-]{36}", started.out)
    assert run is not None
    assert "PENDING" in (shown := automata("run", "show", run[0]).out) or "RUNNING" in shown
    assert automata("run", "cancel", run[0]).code == 0
    watched = automata("run", "watch", run[0])
    assert watched.code == 1
    assert "slow v1  CANCELLED" in watched.out


def test_a_run_that_is_over_cannot_be_cancelled(automata: Automata) -> None:
    run = automata("run", "start", "typed", "-i", "count=1", "--wait", "-o", "json").json["id"]
    answer = automata("run", "cancel", run)
    assert (answer.code, "[run_finished]" in answer.err) == (6, True)


def test_tasks_are_listed_with_their_errors(automata: Automata) -> None:
    run = automata("run", "start", "settle-invoice", "-i", f"invoice={DECLINED}", "--wait", "-o", "json").json["id"]
    lines = automata("run", "tasks", run).out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["invoice", "SUCCEEDED"],
        ["pay", "FAILED"],
        ["review", "SKIPPED"],
        ["alert", "SUCCEEDED"],
    ]
    assert "402" in lines[2]


@pytest.mark.parametrize("command", ["show", "watch", "tasks", "cancel"])
@pytest.mark.parametrize("run", [UNKNOWN, "nonsense", "../flows"])
def test_a_run_that_is_not_there_exits_3(automata: Automata, command: str, run: str) -> None:
    answer = automata("run", command, run)
    assert (answer.code, answer.out) == (3, "")


def test_runs_are_listed_newest_first_and_filtered(automata: Automata) -> None:
    ids = [automata("run", "start", "typed", "-i", "count=1", "-o", "json").json["id"] for _ in range(3)]
    listed = automata("run", "list", "--flow", "typed", "--limit", "3", "-o", "json").json["items"]
    assert [run["id"] for run in listed] == ids[::-1]
    assert automata("run", "list", "--flow", "typed", "--status", "failed", "-o", "json").json["items"] == []
    assert automata("run", "list", "--status", "nonsense").code == 1


def test_a_list_goes_on_over_pages(automata: Automata, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = {automata("run", "start", "typed", "-i", "count=1", "-o", "json").json["id"] for _ in range(5)}
    monkeypatch.setattr("automata.cli.client.PAGE", 2)
    listed = [run["id"] for run in automata("run", "list", "--limit", "5", "-o", "json").json["items"]]
    assert set(listed) == ids


def test_schedules_of_git_are_shown_with_their_next_fire(automata: Automata) -> None:
    (item,) = automata("schedule", "list", "--flow", "daily-report", "-o", "json").json["items"]
    assert (item["name"], item["managed_by"], len(item["next_fires"])) == ("working-days", "git", 5)
    assert re.search(r"0 7 \* \* 1-5 Europe/Berlin +git +20\d\d-", automata("schedule", "list").out)
    assert "Orders of the working day" in automata("schedule", "show", item["id"]).out


def test_a_schedule_can_be_made_and_deleted(automata: Automata) -> None:
    made = automata("schedule", "create", "typed", "nightly", "--cron", "0 2 * * *", "-i", "count=7", "-o", "json").json
    assert (made["inputs"], made["managed_by"]) == ({"count": 7}, "api")
    assert automata("schedule", "delete", made["id"]).code == 0
    assert automata("schedule", "show", made["id"]).code == 3


def test_a_schedule_of_git_cannot_be_deleted(automata: Automata) -> None:
    (item,) = automata("schedule", "list", "--flow", "daily-report", "-o", "json").json["items"]
    answer = automata("schedule", "delete", item["id"])
    assert answer.code == 6
    assert "hint: " in answer.err


def test_a_server_that_is_no_api_is_told_apart(automata: Automata, place: Place) -> None:
    answer = automata("run", "list", "--api-url", place.shop)
    assert (answer.code, "[not_an_api]" in answer.err) == (4, True)


def test_a_flow_that_is_edited_is_live_within_seconds(automata: Automata, place: Place) -> None:
    changed = WIDE | {"name": "edited", "outputs": {"word": "first"}}
    file = place.repository / "flows" / "edited.json"
    file.write_text(json.dumps(changed))
    deadline = time.monotonic() + 120
    while (answer := automata("run", "start", "edited", "--wait", "-o", "json")).code == 3:
        assert time.monotonic() < deadline, answer.err
    assert answer.json["outputs"] == {"word": "first"}
