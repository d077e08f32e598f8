"""Inputs as they are typed, and a run as it is shown."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from automata.cli.output import console
from automata.cli.run_inputs import gather
from automata.cli.run_view import PlainView, follow, message, tree
from automata.errors import Usage
from automata.flow.inputs import from_text

TYPES = {"name": "string", "count": "integer", "rate": "number", "dry": "boolean", "ids": "array", "opts": "object"}


@pytest.mark.parametrize(
    ("text", "type_", "value"),
    [
        ("5", "string", "5"),
        ("null", "string", "null"),
        ('"quoted"', "string", '"quoted"'),
        ("5", "integer", 5),
        ("1.5", "number", 1.5),
        ("true", "boolean", True),
        ("[1, 2]", "array", [1, 2]),
        ('{"a": "b=c"}', "object", {"a": "b=c"}),
        ("five", "integer", "five"),
        ("NaN", "number", "NaN"),
        ("", "array", ""),
    ],
)
def test_a_value_is_json_unless_its_input_is_a_string_or_it_is_none(text: str, type_: str, value: object) -> None:
    assert from_text(text, type_) == value


def test_a_value_may_hold_an_equals_sign() -> None:
    assert gather(["name=a=b"], None, lambda: TYPES) == {"name": "a=b"}


def test_an_input_that_is_not_declared_goes_to_the_api_as_text() -> None:
    assert gather(["nmae=5"], None, lambda: TYPES) == {"nmae": "5"}


@pytest.mark.parametrize("pair", ["name", "=5", ""])
def test_an_input_without_a_name_or_a_value_is_refused(pair: str) -> None:
    with pytest.raises(Usage, match="name=value"):
        gather([pair], None, lambda: TYPES)


@pytest.mark.parametrize("pair", ["name=caf\udce9", "count=\udcff"])
def test_bytes_of_the_command_line_that_are_no_text_are_refused(pair: str) -> None:
    with pytest.raises(Usage, match="not UTF-8 text"):
        gather([pair], None, lambda: TYPES)


@pytest.mark.parametrize("text", ["18446744073709551616", "[-9223372036854775809]", '{"a": 123456789012345678901}'])
def test_inputs_keep_the_digits_of_their_numbers(text: str, tmp_path: Path) -> None:
    file = tmp_path / "inputs.json"
    file.write_text(f'{{"from_file": {text}}}', encoding="utf-8")
    given = gather([f"opts={text}"], str(file), lambda: TYPES)
    assert json.dumps(given["opts"]) == json.dumps(given["from_file"]) == text


@pytest.mark.parametrize("text", ['{"a": 1e400}', '{"a": NaN}', '{"a": "\\ud800"}'])
def test_a_file_with_what_cannot_be_kept_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "inputs.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Usage, match="is not JSON"):
        gather([], str(file), lambda: TYPES)


def test_single_inputs_lie_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "inputs.json"
    file.write_text('\ufeff{"name": "from the file", "count": 1}', encoding="utf-8")
    assert gather(["count=2"], str(file), lambda: TYPES) == {"name": "from the file", "count": 2}


def test_inputs_are_read_from_stdin_for_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"count": 3}'))
    assert gather([], "-", dict) == {"count": 3}


def test_the_types_are_not_asked_for_when_nothing_was_typed() -> None:
    def never() -> dict[str, str]:
        raise AssertionError("asked")

    assert gather([], None, never) == {}


@pytest.mark.parametrize(("content", "says"), [("[1]", "object"), ("{", "not JSON"), ('{"a": NaN}', "NaN")])
def test_a_file_that_holds_no_json_object_is_refused(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "inputs.json"
    file.write_text(content)
    with pytest.raises(Usage, match=says):
        gather([], str(file), dict)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Usage, match=r"none\.json cannot be read"):
        gather([], str(tmp_path / "none.json"), dict)


def run(status: str = "SUCCEEDED", **more: Any) -> dict[str, Any]:
    return {
        "id": "019b0c1e",
        "flow": "fan",
        "version": 3,
        "status": status,
        "created_at": "2026-01-05T09:00:00Z",
        "started_at": "2026-01-05T09:00:00Z",
        "finished_at": "2026-01-05T09:00:02Z",
        "error": None,
        **more,
    }


def task(plan: int, step: str, status: str = "SUCCEEDED", attempt: int = 1, error: Any = None) -> dict[str, Any]:
    started = None if status in ("QUEUED", "SKIPPED") else "2026-01-05T09:00:00Z"
    finished = None if status in ("QUEUED", "RUNNING") else "2026-01-05T09:00:01Z"
    return {
        "step": step,
        "plan": plan,
        "status": status,
        "attempt": attempt,
        "started_at": started,
        "finished_at": finished,
        "error": error,
    }


def drawn(a_run: dict[str, Any], tasks: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> list[str]:
    console().print(tree(a_run, tasks))
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_run_is_a_tree_in_the_flows_own_order(capsys: pytest.CaptureFixture[str]) -> None:
    tasks = [
        task(4, "save"),
        task(3, "fan.right.b", "SKIPPED"),
        task(1, "fan"),
        task(2, "fan.left.a", attempt=3),
    ]
    assert drawn(run(), tasks, capsys) == [
        "fan v3  SUCCEEDED  2.0 s  019b0c1e",
        "├── fan        SUCCEEDED  1.0 s",
        "│   ├── left",
        "│   │   └── a  SUCCEEDED  1.0 s  3 attempts",
        "│   └── right",
        "│       └── b  SKIPPED",
        "└── save       SUCCEEDED  1.0 s",
    ]


def test_a_failed_step_says_why_under_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    tasks = [task(1, "pay", "FAILED", error={"message": "402 Payment Required", "code": "http_status"})]
    assert drawn(run("FAILED", error={"message": "step pay failed"}), tasks, capsys)[1:] == [
        "└── pay  FAILED     1.0 s",
        "    └── 402 Payment Required",
    ]


def test_a_run_that_failed_without_a_failed_step_says_why_itself(capsys: pytest.CaptureFixture[str]) -> None:
    lines = drawn(run("FAILED", error={"message": "outputs: nothing is called `x`"}), [task(1, "a")], capsys)
    assert lines[-1] == "└── outputs: nothing is called `x`"


@pytest.mark.parametrize(
    ("error", "words"), [(None, ""), ("text", "text"), ({"code": "timeout"}, "timeout"), ({}, "failed")]
)
def test_an_error_always_has_words(error: object, words: str) -> None:
    assert message(error) == words


class Script:
    """An API whose run goes through the given states, one a poll."""

    def __init__(self, states: list[tuple[dict[str, Any], list[dict[str, Any]]]]) -> None:
        self._states = states
        self._now = -1

    def get(self, *path: str, wait_sec: float = 0, **query: Any) -> Any:
        if path[-1] == "tasks":
            return {"items": self._states[self._now][1]}
        self._now += 1
        return self._states[self._now][0]


def test_following_ends_with_the_run_and_tells_each_change_once(capsys: pytest.CaptureFixture[str]) -> None:
    api = Script(
        [
            (run("PENDING"), []),
            (run("RUNNING"), [task(1, "a", "QUEUED")]),
            (run("RUNNING"), [task(1, "a", "QUEUED")]),
            (run("RUNNING"), [task(1, "a", "QUEUED", attempt=2)]),
            (run(), [task(1, "a", attempt=2)]),
        ]
    )
    finished, tasks = follow(api, "019b0c1e", PlainView())
    assert (finished["status"], tasks[0]["attempt"]) == ("SUCCEEDED", 2)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == ["a QUEUED", "a QUEUED attempt 2", "a SUCCEEDED 1.0 s 2 attempts"]
