"""Reads of a single value or a single column, without a row around each."""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.abc import Params
from psycopg.rows import scalar_row

Query = LiteralString | bytes | sql.SQL | sql.Composed


async def fetch_value(conn: AsyncConnection[Any], query: Query, params: Params | None = None) -> Any:
    """The first column of the first row, None without a row."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(query, params)
        return await cursor.fetchone()


async def fetch_column(
    conn: AsyncConnection[Any], query: Query, params: Params | None = None, *, prepare: bool | None = None
) -> list[Any]:
    """The first column of all rows. `prepare` False: planned each time."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(query, params, prepare=prepare)
        return await cursor.fetchall()
