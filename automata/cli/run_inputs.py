"""What was typed as a run's inputs, as JSON values."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from automata.errors import Usage
from automata.flow.inputs import from_text, strict_json


def gather(pairs: Sequence[str], file: str | None, types: Callable[[], Mapping[str, str]]) -> dict[str, Any]:
    """The inputs of `--inputs FILE|-` with those of `-i name=value` laid over them.

    `types` gives the declared type of each input and is asked only when there is a `-i`. Raises Usage.
    """
    inputs = read_file(file) if file else {}
    declared = types() if pairs else {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not name or not equals:
            raise Usage(f"--input {pair!r} is not of the form name=value")
        if not _is_text(pair):
            raise Usage(f"--input {name!a} is not UTF-8 text, so that it cannot be sent as it is")
        inputs[name] = from_text(text, declared.get(name, "string"))
    return inputs


def _is_text(argument: str) -> bool:
    """Bytes of the command line that are no UTF-8 come as halves of surrogate pairs."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_file(file: str) -> dict[str, Any]:
    """A JSON object from a file, or from stdin for `-`. Raises Usage."""
    name = "standard input" if file == "-" else file
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
        content = strict_json(text)
    except OSError as error:
        raise Usage(f"{name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise Usage(f"{name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise Usage(f"{name} must hold a JSON object that maps inputs to values")
    return content
