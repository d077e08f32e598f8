"""Inputs and schedules as a flow declares them, and the five fields of cron."""

from __future__ import annotations

import pytest

from automata.flow.cron import CronError, check_cron
from tests.flow.written import DELAY, codes, one, steps

# --- inputs and schedules -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "code"),
    [
        ("{type: string, default: x, enum: [x, y], pattern: '^[xy]$'}", None),
        ("{type: integer, default: 3, enum: [1, 3]}", None),
        ("{type: object, default: {a: 1}, schema: {properties: {a: {type: integer}}}}", None),
        ("{type: array, default: [1], schema: {items: {$ref: '#/$defs/x'}, $defs: {x: {type: integer}}}}", None),
        ("{default: null}", "AF040"),
        ("{type: boolean, default: 'true'}", "AF040"),
        ("{type: integer, default: true}", "AF040"),
        ("{default: z, enum: [x, y]}", "AF040"),
        ("{default: z, pattern: ^x}", "AF040"),
        ("{type: object, default: {a: x}, schema: {properties: {a: {type: integer}}}}", "AF040"),
        ("{pattern: '(?=x)'}", "AF041"),
        ("{type: object, schema: {$ref: 'https://x.example.com/schema.json'}}", "AF042"),
        ("{type: object, schema: {$ref: 'other.json'}}", "AF042"),
        ("{type: object, schema: {properties: {a: {$ref: '#/$defs/none'}}}}", "AF042"),
        ("{type: object, schema: {properties: {a: {pattern: '(?=x)'}}}}", "AF042"),
        ("{type: object, schema: {$id: 'https://x.example.com'}}", "AF042"),
        ("{type: object, schema: {$schema: 'http://json-schema.org/draft-04/schema#'}}", "AF042"),
        ("{type: string, schema: {minLength: 1}}", "AF043"),
        ("{type: array, pattern: x}", "AF043"),
        ("{type: strng}", "AF023"),
        ("{enum: []}", "AF026"),
    ],
)
def test_an_input_is_checked_against_itself(declared: str, code: str | None) -> None:
    assert codes(steps(f"id: s, {DELAY}", more=f"inputs: {{x: {declared}}}")) == ([code] if code else [])


def test_the_finding_of_a_default_points_into_it() -> None:
    declared = "{type: object, default: {a: {b: x}}, schema: {properties: {a: {properties: {b: {type: integer}}}}}}"
    (finding,) = steps(f"id: s, {DELAY}", more=f"inputs: {{x: {declared}}}")
    assert finding.pointer == "/inputs/x/default/a/b"


@pytest.mark.parametrize(
    ("schedule", "code"),
    [
        ("{name: n, cron: '0 3 * * 1-5', timezone: Europe/Berlin}", None),
        ("{name: n, interval_sec: 60, catchup: all, overlap: queue, jitter_sec: 5, starting_deadline_sec: 60}", None),
        ("{name: n, interval_sec: 60, inputs: {who: x}}", None),
        ("{name: n}", "AF029"),
        ("{name: n, cron: '0 3 * * *', interval_sec: 60}", "AF029"),
        ("{interval_sec: 60}", "AF021"),
        ("{name: n, interval_sec: 0}", "AF025"),
        ("{name: n, cron: '@daily'}", None),
        ("{name: n, cron: '@reboot'}", "AF050"),
        ("{name: n, cron: '0 3 31 2 */2'}", "AF050"),
        ("{name: n, cron: '0 3 31 2 *'}", "AF050"),
        ("{name: n, interval_sec: 60, timezone: CEST}", "AF051"),
        ("{name: n, interval_sec: 60, timezone: localtime}", "AF051"),
        ("{name: n, interval_sec: 60, timezone: ../../etc/passwd}", "AF051"),
        ("{name: n, interval_sec: 60, inputs: {who: 1}}", "AF052"),
        ("{name: n, interval_sec: 60, inputs: {whoo: x}}", "AF052"),
        ("{name: n, interval_sec: 60, catchup: some}", "AF023"),
    ],
)
def test_a_schedule_is_checked(schedule: str, code: str | None) -> None:
    more = f"inputs: {{who: {{type: string}}}}\nschedules: [{schedule}]"
    assert codes(steps(f"id: s, {DELAY}", more=more)) == ([code] if code else [])


def test_a_schedule_must_give_what_every_run_requires() -> None:
    inputs = "inputs: {who: {required: true}, n: {type: integer, required: true, default: 1}}"
    more = f"{inputs}\nschedules: [{{name: n, interval_sec: 60}}]"
    errors = [finding for finding in steps(f"id: s, {DELAY}", more=more) if finding.severity == "error"]
    assert one(errors) == "AF052 in this schedule the input `who` is required"


@pytest.mark.parametrize(
    "text",
    [
        "* * * * *",
        "*/5 0-6 1,15 JAN,mar-DEC sun-5",
        "0/15 9-17/2 * * *",
        "0 0 29 2 *",
        "0 0 31 2 1",
        "59 23 31 12 7",
        "@hourly",
        " @DAILY ",
    ],
)
def test_five_fields_of_cron_are_accepted(text: str) -> None:
    check_cron(text)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "five fields, not 0"),
        ("* * * *", "five fields, not 4"),
        ("0 * * * * *", "five fields, not 6"),
        ("@reboot", "there is no `@reboot`"),
        ("@every 5m", "there is no `@every 5m`"),
        ("0 0 31 2 */2", "never fires"),
        ("60 * * * *", "the minute must be from 0 to 59, not 60"),
        ("* 24 * * *", "the hour must be from 0 to 23"),
        ("* * 0 * *", "the day of the month must be from 1 to 31"),
        ("* * * 13 *", "the month must be from 1 to 12"),
        ("* * * * 8", "the day of the week must be from 0 to 7"),
        ("5-1 * * * *", "must run forwards"),
        ("* * * * fri-mon", "must run forwards"),
        ("*/0 * * * *", "`/0` is not a step"),
        ("*/ * * * *", "`/` is not a step"),
        ("1,,2 * * * *", "`` is not a minute"),
        ("? * * * *", "`?` is not a minute"),
        ("* * L * *", "`L` is not a day of the month"),
        ("* * * * MON#2", "`MON#2` is not a day of the week"),
        ("* * * MON *", "`MON` is not a month"),
        ("٣ * * * *", "is not a minute"),
        ("+1 * * * *", "`+1` is not a minute"),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4,6 *", "never fires"),
    ],
)
def test_what_is_no_cron_expression_is_refused(text: str, part: str) -> None:
    with pytest.raises(CronError) as caught:
        check_cron(text)
    assert part in str(caught.value)


def test_an_unknown_nickname_is_told_those_that_there_are() -> None:
    with pytest.raises(CronError) as caught:
        check_cron("@reboot")
    assert "`@daily`" in (caught.value.suggestion or "")
