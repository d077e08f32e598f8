"""What the CLI prints: readable, faithful to the data, and never able to drive a terminal."""

from __future__ import annotations

import io
import json

import pytest

from automata.cli import output
from automata.cli.output import Format, compact, duration, emit, facts, moment, printable, report, say_json, table, took
from automata.errors import Diagnostic, Invalid


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def open_terminal(patch: pytest.MonkeyPatch, **environment: str) -> Terminal:
    # Not a fixture: pytest puts its own stdout back between a fixture and the test.
    stream = Terminal()
    patch.setattr("sys.stdout", stream)
    patch.delenv("NO_COLOR", raising=False)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "80", **environment}.items():
        patch.setenv(name, value)
    return stream


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 ms"),
        (-3, "0 ms"),
        (0.0124, "12 ms"),
        (0.9996, "1.0 s"),
        (1.24, "1.2 s"),
        (59.96, "1 m 00 s"),
        (184, "3 m 04 s"),
        (3599.6, "1 h 00 m"),
        (7500, "2 h 05 m"),
        (86_399.7, "1 d 00 h"),
        (266_400, "3 d 02 h"),
    ],
)
def test_a_duration_is_given_in_the_unit_that_a_person_would_use(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_time_taken_is_between_two_instants() -> None:
    assert took("2026-01-05T09:00:00.000Z", "2026-01-05T09:00:01.500Z") == "1.5 s"
    assert took(None, "2026-01-05T09:00:01Z") is None


def test_time_taken_so_far_is_counted_until_now() -> None:
    assert str(took("2020-01-01T00:00:00Z", None)).endswith("h")


def test_an_instant_is_shown_in_the_readers_own_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    with monkeypatch.context() as zone:
        zone.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        assert moment("2026-01-05T09:00:00Z") == "2026-01-05 18:00:00"
    time.tzset()


def test_control_characters_of_foreign_text_are_written_out() -> None:
    assert printable("red \x1b[31m alarm \x07 \x9b1m\r done\n\tnext") == (
        "red \\x1b[31m alarm \\x07 \\x9b1m\\x0d done\n\tnext"
    )


def test_foreign_text_is_never_read_as_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    output.console().print(table("NAME", rows=[["[bold]x[/bold] :smile: [link=evil]y"]]))
    assert "[bold]x[/bold] :smile: [link=evil]y" in terminal.getvalue()


def test_a_table_in_a_pipe_is_neither_cut_nor_coloured(capsys: pytest.CaptureFixture[str]) -> None:
    long = "w" * 500
    emit({}, Format.TABLE, lambda _: table("A", "B", rows=[[long, output.status("FAILED")]]))
    assert capsys.readouterr().out.splitlines()[1].rstrip() == f"{long}  FAILED"


def test_a_terminal_has_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    output.console().print(output.status("FAILED"))
    assert "\x1b[" in terminal.getvalue()


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_colours_has_none(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    terminal = open_terminal(monkeypatch, **{name: value})
    output.console().print(output.status("FAILED"))
    assert terminal.getvalue() == "FAILED\n"


def test_facts_without_a_value_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    output.console().print(facts([("commit", None), ("inputs", {}), ("count", 0), ("flow", "x")]))
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [["count", "0"], ["flow", "x"]]


def test_a_missing_cell_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    output.console().print(table("A", "B", rows=[[None, "x"]]))
    assert capsys.readouterr().out.splitlines()[1].split() == ["-", "x"]


def test_json_keeps_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"text": "Grüße \x1b[31m", "list": [1, None]}
    say_json(value)
    assert json.loads(capsys.readouterr().out) == value


def test_a_value_is_shown_on_one_line() -> None:
    assert compact({"a": [1, "ü\n"]}) == '{"a": [1, "ü\\n"]}'


def test_an_error_says_what_where_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    finding = Diagnostic("AF012", "unknown key `stpes`", "flows/a.yaml", 3, 1, suggestion="did you mean `steps`?")
    report(Invalid("1 flow is invalid", code="invalid_flows", hint="Mend it.", diagnostics=[finding]))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "error: 1 flow is invalid [invalid_flows]",
        "  flows/a.yaml:3:1: AF012 unknown key `stpes` (did you mean `steps`?)",
        "hint: Mend it.",
    ]
