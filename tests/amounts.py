"""How often a test repeats: few times in `make test`, many times in `make thorough`."""

from __future__ import annotations

import os
from typing import Any

TIMES = int(os.environ.get("AUTOMATA_TEST_TIMES") or 1)


def times(number: int) -> int:
    """`number` of examples, rounds or flows; AUTOMATA_TEST_TIMES as many where that is set."""
    return number * TIMES


def often(*cases: Any) -> tuple[Any, ...]:
    """More cases of a rule that others show as well: none in `make test`, all in `make thorough`."""
    return cases if TIMES > 1 else ()
