"""Every list of triggers follows the enumeration: help, REST and the language page. tests/web has the console's."""

from __future__ import annotations

import pytest
from typer.main import get_command

from automata.cli.app import app
from automata.cli.reference_language import tables
from automata.cli.reference_rest import rest_page
from automata.engine.states import TRIGGER_MEANINGS, TRIGGER_WORDS, Trigger


def test_every_trigger_has_a_meaning() -> None:
    assert list(TRIGGER_MEANINGS) == list(Trigger)


@pytest.mark.parametrize("trigger", Trigger)
def test_the_language_page_has_a_line_of_the_trigger(trigger: Trigger) -> None:
    assert f"| `{trigger}` | {TRIGGER_MEANINGS[trigger]} |" in tables()["triggers"]


@pytest.mark.parametrize("name", ["list", "cancel", "retry"])
def test_the_help_of_commands_that_filter_runs_offers_the_triggers_that_runs_have(name: str) -> None:
    command = get_command(app).commands["run"].commands[name]  # type: ignore[attr-defined]
    (option,) = [option for option in command.params if "--trigger" in option.opts]
    assert option.help.endswith(f": {TRIGGER_WORDS}.")


def test_the_rest_page_says_which_triggers_a_filter_may_name() -> None:
    assert rest_page().count(f"One of {TRIGGER_WORDS}.") == 3  # the list of runs, bulk cancel, bulk retry
