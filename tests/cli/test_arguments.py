"""A value that a shell has lost is not read as one that was given."""

from __future__ import annotations

import subprocess
import sys

import pytest

from automata.cli.arguments import check_arguments
from automata.cli.client import Api
from automata.errors import Usage


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run", "cancel", "--flow", "", "--trigger", "api"], "--flow is empty"),
        (["run", "cancel", "--flow="], "--flow is empty"),
        (["sync", "--branch", ""], "--branch is empty"),
        (["run", "list", "-n", ""], "-n is empty"),
        (["run", "show", ""], "an argument is empty"),
        (["dlq", "retry", "--code=", "--all"], "--code is empty"),
    ],
)
def test_an_empty_argument_is_refused_by_name(arguments: list[str], named: str) -> None:
    with pytest.raises(Usage, match=named) as caught:
        check_arguments(arguments)
    assert "not set" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["run", "start", "orders", "--input", "note="],
        ["run", "start", "orders", "--input=note="],
        ["run", "list", " "],
    ],
)
def test_any_other_argument_is_for_its_command(arguments: list[str]) -> None:
    check_arguments(arguments)


def test_the_program_ends_with_the_code_of_a_wrong_call() -> None:
    command = [sys.executable, "-P", "-m", "automata", "run", "cancel", "--flow", "", "--yes"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "--flow is empty" in done.stderr


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_is_a_way_through_an_address_is_no_name(name: str) -> None:
    with Api("http://127.0.0.1:9") as api:
        with pytest.raises(Usage, match="nothing called"):
            api.delete("tokens", name)
        with pytest.raises(Usage, match="nothing called"):
            api.get("flows", name, "versions")
