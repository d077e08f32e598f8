"""What a render may cost, and the errors that say so.

Every operation that can grow or repeat pays here *before* it allocates. Time and memory are bounded by three
counters instead of a clock, so the same template ends at the same place on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from automata.errors import Invalid

CODES: Mapping[str, str] = {
    "AF200": "The template cannot be read: its syntax is wrong.",
    "AF201": "The template is longer than 16 KiB.",
    "AF202": "The template is nested too deeply.",
    "AF203": "A construct that the template language does not have (set, import, macro, include, method calls ...).",
    "AF204": "An unknown name.",
    "AF205": "An unknown filter.",
    "AF206": "An unknown test (after `is`).",
    "AF207": "An unknown function.",
    "AF208": "A step or secret whose name is computed, or all of them at once: what is read must be known.",
    "AF209": "A filter, test or function is called with the wrong arguments.",
    "AF210": "A value is undefined when the template is rendered.",
    "AF211": "An operation does not fit the values that it got.",
    "AF212": "A render costs more than it may.",
    "AF213": "A result that is not JSON data (not a number, not finite, too deep).",
    "AF214": "A template reads the body of an answer that is not what the answer says it is.",
    "AF220": "A value would leave its part of an address: its path segment, its host, its port, its parameter.",
}

MAX_TURNS = 100_000
MAX_TEXT = 1 << 20
# Measured on one busy core: a unit costs 50-100 ns at worst, so a render ends within a second.
MAX_WORK = 8 << 20
NODE_COST = 4
ITEM_COST = 4
MAX_INT_BITS = 4096
MAX_DEPTH = 200
MAX_RESULT_ITEMS = 1_000_000
MAX_RESULT_TEXT = 32 << 20
MAX_PATTERNS = 64


@dataclass(eq=False)
class TemplateError(Invalid):
    """A template that cannot be read or rendered. `position` is the character offset in its text.

    Messages name expressions and keys, never values: a value may be a secret.
    """

    code: str = "AF200"
    position: int | None = None
    budget: bool = False


class AbsentError(Exception):
    """A lookup found nothing: cheap to raise, because `default` catches it, perhaps in every turn of a loop."""

    __slots__ = ("holder", "key", "position", "what")

    def __init__(self, what: str, holder: Any = None, key: Any = None, position: int | None = None) -> None:
        self.what = what
        self.holder = holder
        self.key = key
        self.position = position


def misfit(message: str, hint: str | None = None) -> TemplateError:
    """The error of an operation that does not fit its values."""
    return TemplateError(message, code="AF211", hint=hint)


def exceeded(message: str) -> TemplateError:
    """The error of a render that would go over a bound."""
    return TemplateError(message, code="AF212", budget=True)


class Budget:
    """The counters of one render: loop turns, characters of text, and work (nodes, characters, list items)."""

    __slots__ = ("patterns", "text", "turns", "weights", "work")

    def __init__(self, turns: int = MAX_TURNS, text: int = MAX_TEXT, work: int = MAX_WORK) -> None:
        self.turns = turns
        self.text = text
        self.work = work
        self.patterns: set[str] = set()
        self.weights: dict[int, tuple[Any, int, int]] = {}

    def turn(self, count: int = 1, cost: int = NODE_COST) -> None:
        """Pay for `count` loop turns of `cost` units each, before they happen."""
        self.turns -= count
        self.work -= count * cost
        if self.turns < 0:
            raise exceeded(f"The template takes more than {MAX_TURNS:,} loop turns.")
        if self.work < 0:
            raise self.spent()

    def emit(self, count: int) -> None:
        """Pay for characters of text that go into the result."""
        self.text -= count
        if self.text < 0:
            raise exceeded(f"The template produces more than {MAX_TEXT:,} characters of text.")

    def make(self, count: int) -> None:
        """Pay for a string of `count` characters that an expression is about to make."""
        if count > MAX_TEXT:
            raise exceeded(f"An expression produces more than {MAX_TEXT:,} characters of text.")
        self.pay(count)

    def scan(self, count: int) -> None:
        """Pay for reading `count` characters: an eighth of making them."""
        self.pay((count >> 3) + 1)

    def grow(self, count: int) -> None:
        """Pay for a list of `count` items."""
        self.pay(count * ITEM_COST + 1)

    def pattern(self, text: str) -> None:
        """Pay for a regular expression: compiling a new one is the dearest thing a template can ask for."""
        self.patterns.add(text)
        if len(self.patterns) > MAX_PATTERNS:
            raise exceeded(f"The template uses more than {MAX_PATTERNS} different regular expressions.")

    def pay(self, units: int) -> None:
        """Take so many units of work. Raises TemplateError when none are left."""
        self.work -= units
        if self.work < 0:
            raise self.spent()

    @staticmethod
    def spent() -> TemplateError:
        return exceeded("The template does more work than a render may.")
