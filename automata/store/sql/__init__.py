"""The hot statements, one a file; each header names its caller, the index it walks and its lock order."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import LiteralString


@cache
def statement(name: str) -> LiteralString:
    """The text of `NAME.sql`: shipped with the package, so as trusted as a literal."""
    return resources.files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
