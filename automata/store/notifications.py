"""Notifications: the rules of each environment, events to be sent, and the outbox, which is also their log.

Failure argument. A trigger writes an event in the transaction of what happened (migration 0010), so there are both or
neither. Events become messages in one transaction that deletes them: if it dies, it is repeated. A message is claimed
by moving its `due_at` past the time that sending may take; if the sender dies, the message is due again then, under the
same id. So a message is sent at least once, and the receiver recognizes a repetition by its id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row, dict_row

from automata.errors import Conflict, Missing
from automata.store.database import Connection
from automata.store.json_codec import dumps
from automata.store.pagination import Page, bad_cursor, clamp, decode, page
from automata.store.run_secret_values import secret_values_around
from automata.store.sql import with_fragments
from automata.store.where import Where

State = Literal["pending", "delivered", "failed"]

EVENTS_AT_ONCE = 200
CLAIM_SEC = 60  # above what sending takes, secrets included
KEPT_DAYS = 30
FORGET_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class NotificationRule:
    """`source_id` and `environment` say where it was written; `spec` as in the environment's file."""

    source_id: UUID
    environment: str
    name: str
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NotificationEvent:
    """`facts` is what is known of its subject now; empty when that is gone."""

    id: int
    kind: str
    about: Mapping[str, Any]
    at: datetime
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewNotification:
    """What is to be sent to whom; `event` makes it unique beside its rule."""

    event: str
    source_id: UUID | None
    rule: str
    kind: str
    payload: Mapping[str, Any]
    url: str
    secret: str | None
    template: str


@dataclass(frozen=True, slots=True)
class ClaimedNotification:
    """`attempts` counts this one; `record_sending` compares it."""

    id: UUID
    rule: str
    payload: Any
    url: str
    secret: str | None
    template: str
    attempts: int


@dataclass(frozen=True, slots=True)
class NotificationRow:
    """A message of the outbox. `status` is that of the last answer, `due_at` None once it has ended."""

    id: UUID
    rule: str
    kind: str
    payload: Any
    url: str
    template: str
    state: State
    attempts: int
    due_at: datetime | None
    status: int | None
    error: str | None
    created_at: datetime
    ended_at: datetime | None


async def replace_rules(conn: Connection, source_id: UUID, rules: Sequence[Mapping[str, Any]]) -> None:
    """Make these the rules of a source; each has a `name`."""
    await conn.execute("DELETE FROM notification_rules WHERE source_id = %s", [source_id])
    if rules:
        await conn.execute(
            "INSERT INTO notification_rules (source_id, name, spec) SELECT %s, * FROM unnest(%s::text[], %s::jsonb[])",
            [source_id, [rule["name"] for rule in rules], [dumps(rule) for rule in rules]],
        )


async def list_rules(conn: Connection) -> list[NotificationRule]:
    """Of all sources, by environment and name."""
    async with conn.cursor(row_factory=class_row(NotificationRule)) as cursor:
        await cursor.execute(
            "SELECT rule.source_id, source.environment, rule.name, rule.spec FROM notification_rules AS rule"
            " JOIN sync_sources AS source ON source.id = rule.source_id ORDER BY source.environment, rule.name"
        )
        return await cursor.fetchall()


async def take_events(conn: Connection) -> list[NotificationEvent]:
    """The oldest events, deleted in this transaction, with the facts that a message may show."""
    cursor = await conn.execute(
        "DELETE FROM notification_events WHERE id IN ("
        "  SELECT id FROM notification_events ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)"
        " RETURNING id, kind, about, at",
        [EVENTS_AT_ONCE],
    )
    rows = sorted(await cursor.fetchall())
    runs = await _runs(conn, {UUID(about["run"]) for _, _, about, _ in rows if "run" in about})
    letters = await _letters(conn, [about["letter"] for _, _, about, _ in rows if "letter" in about])
    attempts = await _attempts(conn, [about["attempt"] for _, _, about, _ in rows if "attempt" in about])
    prompts = await _prompts(conn, [about for _, kind, about, _ in rows if "letter" not in about and "step" in about])
    events = []
    for id, kind, about, at in rows:
        facts = dict(runs.get(about.get("run"), ()))
        facts |= letters.get(about.get("letter"), {}) | attempts.get(about.get("attempt"), {})
        facts |= prompts.get((about.get("run"), about.get("step")), {})
        events.append(NotificationEvent(id, kind, about, at, facts))
    return events


async def _runs(conn: Connection, ids: set[UUID]) -> dict[str, dict[str, Any]]:
    """`source_id` None: a flow that the API made. `secret_values`: those of run_secret_values.py."""
    runs = await _by(
        conn,
        "run",
        "SELECT runs.id::text AS run, flows.name AS flow, flows.labels, flows.source_id, source.environment,"
        " version.number AS version, result.error"
        " FROM runs JOIN flows ON flows.id = runs.flow_id JOIN flow_versions AS version ON version.id = runs.version_id"
        " LEFT JOIN sync_sources AS source ON source.id = flows.source_id"
        " LEFT JOIN run_results AS result ON result.run_id = runs.id WHERE runs.id = ANY(%s)",
        list(ids),
    )
    for run, values in (await secret_values_around(conn, ids)).items():
        runs[str(run)]["secret_values"] = values
    return runs


async def _letters(conn: Connection, ids: list[int]) -> dict[int, dict[str, Any]]:
    """`above`: [{flow, labels, source_id}] of the runs above, whose failure the letter stands for."""
    return await _by(
        conn,
        "letter",
        "SELECT letter.id AS letter, letter.attempts, letter.code, letter.error, ("
        "  WITH RECURSIVE above AS ("
        "    SELECT runs.parent_run_id AS id FROM runs WHERE runs.id = letter.run_id AND runs.parent_run_id IS NOT NULL"
        "    UNION ALL SELECT runs.parent_run_id FROM above JOIN runs USING (id) WHERE runs.parent_run_id IS NOT NULL"
        "  ) SELECT json_agg(json_build_object("
        "    'flow', flows.name, 'labels', flows.labels, 'source_id', flows.source_id))"
        "  FROM above JOIN runs USING (id) JOIN flows ON flows.id = runs.flow_id"
        ") AS above FROM dead_letters AS letter WHERE letter.id = ANY(%s)",
        ids,
    )


async def _attempts(conn: Connection, ids: list[int]) -> dict[int, dict[str, Any]]:
    return await _by(
        conn,
        "attempt",
        "SELECT attempt.id AS attempt, attempt.sha, attempt.status, attempt.error, attempt.source_id,"
        " source.environment, source.url AS source FROM sync_attempts AS attempt"
        " JOIN sync_sources AS source ON source.id = attempt.source_id WHERE attempt.id = ANY(%s)",
        ids,
    )


_PROMPTS = with_fragments(
    "SELECT run_id::text, step, ${APPROVAL_PROMPT} FROM task_queue WHERE ${WAITS_FOR_APPROVAL}"
    " AND (run_id, step) IN (SELECT * FROM unnest(%s::uuid[], %s::text[]))"
)


async def _prompts(conn: Connection, waiting: list[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Approvals that still wait; who was decided meanwhile needs nobody."""
    if not waiting:
        return {}
    cursor = await conn.execute(
        _PROMPTS,
        [[about["run"] for about in waiting], [about["step"] for about in waiting]],
    )
    return {(run, step): {"prompt": prompt, "waits": True} for run, step, prompt in await cursor.fetchall()}


async def _by(conn: Connection, key: str, query: str, ids: list[Any]) -> dict[Any, dict[str, Any]]:
    if not ids:
        return {}
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query.encode(), [ids])
        return {row.pop(key): row for row in await cursor.fetchall()}


async def enqueue(conn: Connection, messages: Sequence[NewNotification]) -> list[UUID]:
    """Put messages into the outbox; the ids of those that were not there."""
    if not messages:
        return []
    cursor = await conn.execute(
        "INSERT INTO notifications (event, source_id, rule, kind, payload, url, secret, template, due_at)"
        " SELECT *, now() FROM unnest(%s::text[], %s::uuid[], %s::text[], %s::text[], %s::json[], %s::text[],"
        "   %s::text[], %s::text[]) ON CONFLICT DO NOTHING RETURNING id",
        [
            [message.event for message in messages],
            [message.source_id for message in messages],
            [message.rule for message in messages],
            [message.kind for message in messages],
            [dumps(message.payload) for message in messages],
            [message.url for message in messages],
            [message.secret for message in messages],
            [message.template for message in messages],
        ],
    )
    return [id for (id,) in await cursor.fetchall()]


async def claim(conn: Connection, limit: int) -> list[ClaimedNotification]:
    """Messages that are due, ours for CLAIM_SEC."""
    async with conn.cursor(row_factory=class_row(ClaimedNotification)) as cursor:
        await cursor.execute(
            "UPDATE notifications SET attempts = attempts + 1, due_at = now() + make_interval(secs => %s)"
            " WHERE id IN (SELECT id FROM notifications WHERE state = 'pending' AND due_at <= now()"
            "   ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED)"
            " RETURNING id, rule, payload, url, secret, template, attempts",
            [CLAIM_SEC, limit],
        )
        return await cursor.fetchall()


async def record_sending(
    conn: Connection, claimed: ClaimedNotification, *, status: int | None, error: str | None, retry_sec: float | None
) -> None:
    """How sending ended: delivered without an error, else again in `retry_sec`, None for never."""
    state = "delivered" if error is None else "failed" if retry_sec is None else "pending"
    await conn.execute(
        "UPDATE notifications SET state = %(state)s, status = %(status)s, error = %(error)s,"
        " due_at = CASE WHEN %(state)s = 'pending' THEN now() + make_interval(secs => %(retry)s) END,"
        " ended_at = CASE WHEN %(state)s <> 'pending' THEN now() END"
        " WHERE id = %(id)s AND state = 'pending' AND attempts = %(attempts)s",
        {
            "id": claimed.id,
            "attempts": claimed.attempts,
            "state": state,
            "status": status,
            "error": error,
            "retry": retry_sec or 0.0,
        },
    )


async def delete_old(conn: Connection) -> int:
    """Delete a batch of messages that ended long ago; how many."""
    cursor = await conn.execute(
        "DELETE FROM notifications WHERE id IN (SELECT id FROM notifications WHERE state <> 'pending'"
        " AND created_at < now() - make_interval(days => %s) ORDER BY created_at LIMIT %s)",
        [KEPT_DAYS, FORGET_AT_ONCE],
    )
    return cursor.rowcount


async def list_notifications(
    conn: Connection, *, state: State | None = None, after: str | None = None, limit: int | None = None
) -> Page[NotificationRow]:
    """The newest first."""
    limit = clamp(limit)
    where = Where()
    where.add_given("state = %(state)s", state=state)
    if after:
        created_at, id = _last_seen(after)
        where.add("(created_at, id) < (%(created_at)s::timestamptz, %(id)s::uuid)", created_at=created_at, id=id)
    query = _SELECT + sql.SQL(" WHERE {} ORDER BY created_at DESC, id DESC LIMIT %(limit)s").format(where.clause())
    async with conn.cursor(row_factory=class_row(NotificationRow)) as cursor:
        await cursor.execute(query, where.values | {"limit": limit + 1}, prepare=False)
        return page(await cursor.fetchall(), limit, lambda row: (row.created_at.isoformat(), str(row.id)))


async def get_notification(conn: Connection, id: UUID) -> NotificationRow:
    """Raises Missing."""
    async with conn.cursor(row_factory=class_row(NotificationRow)) as cursor:
        await cursor.execute(_SELECT + sql.SQL(" WHERE id = %s"), [id])
        if row := await cursor.fetchone():
            return row
    raise Missing(f"There is no notification {id}.")


async def send_again(conn: Connection, id: UUID) -> NotificationRow:
    """Have one that failed be sent again, from the first attempt. Raises Missing, Conflict `not_failed`."""
    cursor = await conn.execute(
        "UPDATE notifications SET state = 'pending', attempts = 0, due_at = now(), ended_at = NULL"
        " WHERE id = %s AND state = 'failed'",
        [id],
    )
    row = await get_notification(conn, id)
    if not cursor.rowcount:
        raise Conflict(f"The notification {id} is {row.state}; only one that failed is sent again.", code="not_failed")
    return row


_SELECT = sql.SQL(
    "SELECT id, rule, kind, payload, url, template, state, attempts, due_at, status, error, created_at, ended_at"
    " FROM notifications"
)


def _last_seen(cursor: str) -> tuple[datetime, UUID]:
    moment, id = decode(cursor, 2)
    try:
        return datetime.fromisoformat(moment), UUID(id)
    except ValueError:
        raise bad_cursor() from None
