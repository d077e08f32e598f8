"""The first token, and the log that nobody changes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from automata.access.bootstrap_token import create_bootstrap_token
from automata.access.tokens import Tokens
from automata.errors import Unavailable
from automata.store.audit import MASKED, MAX_BYTES, Actor, AuditEvent, AuditFilter, list_audit, record_change_by
from automata.store.database import Database

ME = Actor("ada", "admin", address="cli")


@pytest.fixture
async def db(database_url):
    async with await Database.open(database_url, max_size=6) as db:
        async with db.connection() as conn:
            await conn.execute("TRUNCATE access_sessions, access_tokens")
        yield db


async def test_of_first_starts_at_once_one_makes_the_admins_token(db, database_url):
    others = [await Database.open(database_url, max_size=2) for _ in range(3)]
    made = await asyncio.gather(*(create_bootstrap_token(one) for one in (db, *others) for _ in range(2)))
    for one in others:
        await one.close()
    (text,) = [text for text in made if text]
    principal = await Tokens(db).principal(text)
    assert (principal.name, principal.role.word) == ("admin", "admin")
    # Also where that one was taken back: whoever may do this has no need of another.
    async with db.connection() as conn:
        await conn.execute("UPDATE access_tokens SET revoked_at = now()")
    assert await create_bootstrap_token(db) is None


async def last(db, **filters):
    async with db.connection() as conn:
        return (await list_audit(conn, AuditFilter(**filters), limit=1)).items[0]


async def test_a_row_is_there_exactly_when_its_change_is(db):
    async def broken():
        async with db.transaction() as conn:
            await record_change_by(conn, ME, AuditEvent("flow.update", "flow/never"))
            raise RuntimeError("the change failed")

    with pytest.raises(RuntimeError):
        await broken()
    async with db.connection() as conn:
        assert (await list_audit(conn, AuditFilter(object="flow/never"))).items == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET actor = 'nobody'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "INSERT INTO audit_log (id, actor, role, address, request_id, action, object) SELECT 1, '', '', '', '', '', ''",
    ],
)
async def test_the_log_takes_rows_and_gives_none_away(db, statement):
    async with db.transaction() as conn:
        await record_change_by(conn, ME, AuditEvent("flow.update", "flow/kept"))
    with pytest.raises((psycopg.Error, Unavailable)):
        async with db.connection() as conn:
            await conn.execute(statement)
    assert (await last(db, object="flow/kept")).actor == "ada"


async def test_forgetting_is_bounded_and_in_the_log_itself(db):
    async with db.connection() as conn:
        with pytest.raises(psycopg.Error):
            await conn.execute("SELECT audit_forget(now() - interval '29 days', 'ada')")
    async with db.connection() as conn:
        await conn.execute("SELECT audit_forget(%s, 'ada')", [datetime.now(UTC) - timedelta(days=400)])
    assert (await last(db)).action == "audit.forget"
    async with db.connection() as conn:
        with pytest.raises(psycopg.Error):
            await conn.execute("DELETE FROM audit_log")


async def test_what_is_kept_is_masked_and_bounded(db):
    before = {"headers": {"Authorization": "Bearer s3cret"}, "list": [{"api_key": "s3cret", "ok": 1}]}
    async with db.transaction() as conn:
        await record_change_by(
            conn, ME, AuditEvent("flow.update", "flow/masked", before, {"text": "x" * 10 * MAX_BYTES})
        )
    row = await last(db, object="flow/masked")
    assert row.before == {"headers": {"Authorization": MASKED}, "list": [{"api_key": MASKED, "ok": 1}]}
    assert row.after["cut"] is True
    assert len(str(row.after)) < MAX_BYTES
