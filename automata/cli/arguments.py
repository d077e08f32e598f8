"""What is asked of every command line before a command reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from automata.errors import Usage

_VALUE_FORGOTTEN = re.compile(r"(--?[A-Za-z][A-Za-z-]*)=")


def check_arguments(arguments: Sequence[str]) -> None:
    """Raises Usage for an empty one: `--flow "$FLOW"` without a FLOW would mean all flows, or none, or a default."""
    for before, argument in zip(("", *arguments), arguments, strict=False):
        forgotten = _VALUE_FORGOTTEN.fullmatch(argument)
        if argument and not forgotten:
            continue
        option = forgotten[1] if forgotten else before
        what = f"{option} is empty" if option.startswith("-") else "an argument is empty"
        raise Usage(
            what, code="empty_argument", hint="Is a variable of the shell not set? Leave out what has no value."
        )
