"""Notifications: a test of the rules, and sending a message again."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from automata.errors import Missing
from automata.operations.context import AppContext
from automata.steps.notification_message import TEST
from automata.store import notifications as store
from automata.store.audit import AuditEvent, record_change
from automata.store.ids import as_uuid, new_id
from automata.store.notifications import NewNotification, NotificationRow, NotificationRule


def parse_notification_id(text: str) -> UUID:
    """Raises Missing for what is no message's id."""
    if (id := as_uuid(text)) is None:
        raise Missing(f"There is no notification {text[:60]!r}.")
    return id


async def send_test(context: AppContext, rule: str | None) -> list[NotificationRow]:
    """Have a test message sent by one rule, or by all for None. Raises Missing."""
    async with context.db.transaction() as conn:
        rules = [each for each in await store.list_rules(conn) if rule in (None, each.name)]
        if not rules:
            raise Missing(
                f"There is no notification {rule!r}." if rule else "There are no notifications.",
                hint="They are written in the environment's file, and there after a sync.",
            )
        ids = await store.enqueue(conn, [_test_message(each) for each in rules])
        await record_change(conn, *(AuditEvent("notification.test", f"rule/{each.name}") for each in rules))
        return [await store.get_notification(conn, id) for id in ids]


async def retry_notification(context: AppContext, id: UUID) -> NotificationRow:
    """Have one that failed for good be sent again, under the same id. Raises Missing, Conflict."""
    async with context.db.transaction() as conn:
        row = await store.send_again(conn, id)
        await record_change(conn, AuditEvent("notification.retry", f"notification/{row.id}"))
        return row


def _test_message(rule: NotificationRule) -> NewNotification:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = {"environment": rule.environment, "rule": rule.name}
    return NewNotification(
        event=f"{TEST}:{new_id()}",
        source_id=rule.source_id,
        rule=rule.name,
        kind=TEST,
        payload={"type": TEST, "timestamp": now, "data": data},
        url=rule.spec["url"],
        secret=rule.spec.get("secret"),
        template=rule.spec.get("template", "standard"),
    )
