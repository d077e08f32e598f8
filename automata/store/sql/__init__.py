"""The hot statements, one a file; each header names its caller, the index it walks and its lock order.

A plan outlives the picture that it was made from. A prepared statement keeps the one of its first executions, and the
queue that was empty then holds 100,000 rows a second later; a join chosen for one row compares every row of the queue
with every row of the batch. So the statements leave the planner no choice that depends on how large a table is:

- Rows of a batch are looked up one by one: `CROSS JOIN LATERAL (… OFFSET 0)`, or `FOR UPDATE` in the place of OFFSET.
  Both keep the subquery from being made a join. `EXISTS (… OFFSET 0)` stays a look-up likewise.
- Rows are written by where they lie, `ctid = held.place`. Most statements lock them before, so that they do not move;
  one that moved since the snapshot is not written, and says so (store/held_rows.py).
- What is only to be in a set is asked with `(… IN (SELECT …)) IS TRUE`: a hashed look-up, whatever the sizes.

store/database.py takes whole reads of tables from the planner besides. tests/store/test_plans.py has the plans.

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
