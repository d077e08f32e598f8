"""Notifications: who is told what, what was sent, and a test of both. Rules are changed in Git."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.schemas.pages import Listing, Page
from automata.api.schemas.system import NotificationAnswer, NotificationTest, RuleAnswer
from automata.errors import Missing
from automata.http.authorization import needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.openapi import request_body
from automata.http.query import Cursor, Limit, page_of
from automata.steps.notice import TEST, secret_of_url
from automata.store import notifications as store
from automata.store.audit import Deed, note
from automata.store.flows import as_uuid
from automata.store.notifications import Message, NotificationRow, Rule
from automata.store.pages import DEFAULT_LIMIT
from automata.store.queue import new_id

router = APIRouter(prefix=f"{V1}/notifications", tags=["notifications"])
VIEW, ACT = [needs(Role.VIEWER)], [needs(Role.OPERATOR)]
State = Annotated[store.State | None, Query(description="Only these.")]


@router.get("", dependencies=VIEW, responses={200: {"model": Page[NotificationAnswer]}})
async def index(request: Request, state: State = None, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Response:
    """What was sent or is to be, the newest first; kept for 30 days."""
    async with context_of(request).db.connection() as conn:
        found = await store.list_notifications(conn, state=state, after=cursor or None, limit=limit)
    return Json(page_of(found, [_row(row) for row in found.items]))


@router.get("/rules", dependencies=VIEW, responses={200: {"model": Listing[RuleAnswer]}})
async def rules(request: Request) -> Response:
    """Who is told what, as the synced environments say."""
    async with context_of(request).db.connection() as conn:
        found = await store.list_rules(conn)
    return Json({"items": [_rule(one) for one in found]})


@router.post(
    "/test",
    dependencies=ACT,
    status_code=202,
    responses={202: {"model": Listing[NotificationAnswer]}},
    openapi_extra=request_body(NotificationTest, required=False),
)
async def test(request: Request) -> Response:
    """Have a test message sent by one rule, or by all: follow it under its id."""
    asked = await read_model(request, NotificationTest)
    async with context_of(request).db.transaction() as conn:
        chosen = [one for one in await store.list_rules(conn) if asked.rule in (None, one.name)]
        if not chosen:
            raise Missing(
                f"There is no notification {asked.rule!r}." if asked.rule else "There are no notifications.",
                hint="They are written in the environment's file, and there after a sync.",
            )
        ids = await store.enqueue(conn, [_test(one) for one in chosen])
        await note(conn, *(Deed("notification.test", f"rule/{one.name}") for one in chosen))
        rows = [await store.get_notification(conn, id) for id in ids]
    return Json({"items": [_row(row) for row in rows]}, 202)


@router.get("/{id}", dependencies=VIEW, responses={200: {"model": NotificationAnswer}})
async def show(request: Request, id: str) -> Response:
    """One message, and how sending it went."""
    async with context_of(request).db.connection() as conn:
        return Json(_row(await store.get_notification(conn, _id(id))))


@router.post("/{id}/retry", dependencies=ACT, responses={200: {"model": NotificationAnswer}})
async def retry(request: Request, id: str) -> Response:
    """Have one that failed for good be sent again, under the same id."""
    async with context_of(request).db.transaction() as conn:
        row = await store.send_again(conn, _id(id))
        await note(conn, Deed("notification.retry", f"notification/{row.id}"))
        return Json(_row(row))


def _id(text: str) -> Any:
    if (id := as_uuid(text)) is None:
        raise Missing(f"There is no notification {text[:60]!r}.")
    return id


def _test(rule: Rule) -> Message:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = {"environment": rule.environment, "rule": rule.name}
    return Message(
        event=f"{TEST}:{new_id()}",
        source_id=rule.source_id,
        rule=rule.name,
        kind=TEST,
        payload={"type": TEST, "timestamp": now, "data": data},
        url=rule.spec["url"],
        secret=rule.spec.get("secret"),
        template=rule.spec.get("template", "standard"),
    )


def _row(row: NotificationRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "rule": row.rule,
        "kind": row.kind,
        "to": _shown(row.url),
        "template": row.template,
        "state": row.state,
        "attempts": row.attempts,
        "due_at": row.due_at,
        "status": row.status,
        "error": row.error,
        "payload": row.payload,
        "created_at": row.created_at,
        "ended_at": row.ended_at,
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "environment": rule.environment,
        "on": rule.spec["on"],
        "to": _shown(rule.spec["url"]),
        "template": rule.spec.get("template", "standard"),
        "secret": rule.spec.get("secret"),
        "flows": rule.spec.get("flows", []),
        "labels": rule.spec.get("labels", {}),
    }


def _shown(url: str) -> str:
    """Scheme and host: the rest of such an address is often what lets one write to it."""
    if name := secret_of_url(url):
        return f"secrets.{name}"
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
