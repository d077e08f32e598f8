"""The tables of settings in docs/cli.md, made from automata.settings."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from automata.cli.reference_language import filled
from automata.settings import OTHER_VARIABLES, Settings, rules_of
from automata.settings_fields import variable


def settings_page(text: str) -> str:
    """The page with its tables of variables written again."""
    return filled(text, {"settings": settings_table(), "other_variables": other_variables_table()})


def settings_table() -> str:
    """A row a setting, in the order of the table in automata.settings."""
    rows = [
        f"| `{variable(item.name)}` | {rules_of(item.name).shown or _shown(item.default)} | {rules_of(item.name).doc} |"
        for item in fields(Settings)
    ]
    return "\n".join(["| variable | default | |", "|---|---|---|", *rows])


def other_variables_table() -> str:
    """A row a variable that is read in one place and is in no file of settings."""
    return "\n".join(
        ["| variable | |", "|---|---|", *(f"| `{name}` | {doc} |" for name, doc in OTHER_VARIABLES.items())]
    )


def _shown(default: Any) -> str:
    if default in ("", ()):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
