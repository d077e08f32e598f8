"""The hot statements, one a file; each header names its caller, the index it walks and its lock order.

`${NAME}` in a statement is a constant of store/queue_sentinels.py or a fragment of store/waiting_codec.py: it becomes
text when the statement is read, so that the planner sees the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from string import Template
from typing import LiteralString

from automata.store import queue_sentinels, waiting_codec

FRAGMENTS: Mapping[str, LiteralString] = {**queue_sentinels.SQL_FRAGMENTS, **waiting_codec.SQL_FRAGMENTS}


@cache
def statement(name: str) -> LiteralString:
    """The text of `NAME.sql`: shipped with the package, so as trusted as a literal."""
    return with_fragments(resources.files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8"))


def with_fragments(text: LiteralString) -> LiteralString:
    """The statement with its `${NAME}` filled in. Raises KeyError for a name that FRAGMENTS lacks."""
    return Template(text).substitute(FRAGMENTS)
