"""The role with few rights of docs/operations.md, made by the statements that stand there."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

PAGE = Path(__file__).parents[1] / "docs" / "operations.md"


@contextmanager
def few_rights(url: str) -> Iterator[str]:
    """The address of the database of `url` for such a role, which is gone afterwards."""
    text = PAGE.read_text(encoding="utf-8").split("## A role with few rights")[1].split("```sql")[1].split("```")[0]
    name, parts = f"automata_few_{secrets.token_hex(4)}", conninfo_to_dict(url)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(_statements(text, name, str(parts["user"]), str(parts["dbname"])).encode())
        try:
            yield make_conninfo(url, user=name, password="secret")
        finally:
            role = sql.Identifier(name)
            conn.execute(sql.SQL("DROP OWNED BY {}").format(role))
            conn.execute(sql.SQL("DROP ROLE {}").format(role))


def _statements(text: str, role: str, owner: str, database: str) -> str:
    """With the names of a test in place of those of the page."""
    named = text.replace("automata_owner", "\0").replace("DATABASE automata", "DATABASE \1")
    return named.replace("automata", role).replace("\0", owner).replace("\1", database)
