"""What a field of Settings says of itself, and the name that the environment has for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

PREFIX = "AUTOMATA_"
CONFIG = "AUTOMATA_CONFIG"


@dataclass(frozen=True, slots=True)
class Rules:
    """What a setting says of itself. `doc` and `shown` (its default) are Markdown for docs/cli.md.

    Numbers are `least` to `most`; `hint` follows what is said of a number that is too great. The parts of a list are
    separated by `separator` (None: by spaces). `check` returns what is wrong with a value that has the right type.
    """

    doc: str
    shown: str
    least: float
    most: float | None
    hint: str
    separator: str | None
    check: Callable[[Any], str | None] | None


def setting(
    default: Any,
    doc: str,
    *,
    shown: str = "",
    secret: bool = False,
    least: float = 0,
    most: float | None = None,
    hint: str = "",
    separator: str | None = ",",
    check: Callable[[Any], str | None] | None = None,
) -> Any:
    """A field of Settings; what it takes is described at Rules. A secret one is in no `repr`."""
    rules = Rules(doc, shown, least, most, hint, separator, check)
    return field(default=default, repr=not secret, metadata={"rules": rules})


def variable(name: str) -> str:
    """The environment's name of a setting."""
    return PREFIX + name.upper()
