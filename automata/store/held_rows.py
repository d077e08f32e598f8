"""Statements that lock rows of the queue and then write them by where they lie (store/sql/__init__.py says why).

Failure argument. Such a statement waits for a row that another transaction is writing, and then holds the row as the
other left it. That version is younger than the statement's snapshot, so the write by ctid passes it by: it comes back
as not written, and the same statement is executed again, with a snapshot that has it. What was written the first time
has lost its fence and is not taken twice. In a transaction the locks stay, so the second time is the last.
"""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection
from psycopg.abc import Params

from automata.store.sql import statement


async def execute_until_written(conn: AsyncConnection[Any], name: str, params: Params) -> list[tuple[Any, ...]]:
    """Rows of `NAME.sql` that were written; its first columns are run_id, step and is_written."""
    written: list[tuple[Any, ...]] = []
    while True:
        rows = await (await conn.execute(statement(name), params)).fetchall()
        missed = [row for row in rows if not row[2]]
        if not missed:
            return written + rows
        written += [row for row in rows if row[2]]
