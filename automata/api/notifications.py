"""Notifications: who is told what, what was sent, and a test of both. Rules are changed in Git."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.answers import answer_from
from automata.api.schemas.pages import Listing, Page
from automata.api.schemas.system import NotificationAnswer, NotificationTest, RuleAnswer
from automata.http.authorization import needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.openapi import request_body
from automata.http.query import Cursor, Limit, page_of
from automata.operations.notifications import parse_notification_id, retry_notification, send_test
from automata.steps.notification_message import secret_of_url
from automata.store import notifications as store
from automata.store.notifications import NotificationRule
from automata.store.pagination import DEFAULT_LIMIT

router = APIRouter(prefix=f"{V1}/notifications", tags=["notifications"])
VIEW, ACT = [needs(Role.VIEWER)], [needs(Role.OPERATOR)]
State = Annotated[store.State | None, Query(description="Only these.")]


_row = answer_from(NotificationAnswer, to=lambda row: _shown(row.url))


@router.get("", dependencies=VIEW, responses={200: {"model": Page[NotificationAnswer]}})
async def index(request: Request, state: State = None, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Response:
    """What was sent or is to be, the newest first; kept for 30 days."""
    async with context_of(request).db.connection() as conn:
        page = await store.list_notifications(conn, state=state, after=cursor or None, limit=limit)
    return Json(page_of(page, [_row(row) for row in page.items]))


@router.get("/rules", dependencies=VIEW, responses={200: {"model": Listing[RuleAnswer]}})
async def rules(request: Request) -> Response:
    """Who is told what, as the synced environments say."""
    async with context_of(request).db.connection() as conn:
        rows = await store.list_rules(conn)
    return Json({"items": [_rule(row) for row in rows]})


@router.post(
    "/test",
    dependencies=ACT,
    status_code=202,
    responses={202: {"model": Listing[NotificationAnswer]}},
    openapi_extra=request_body(NotificationTest, required=False),
)
async def test(request: Request) -> Response:
    """Have a test message sent by one rule, or by all: follow it under its id."""
    body = await read_model(request, NotificationTest)
    rows = await send_test(context_of(request), body.rule)
    return Json({"items": [_row(row) for row in rows]}, 202)


@router.get("/{id}", dependencies=VIEW, responses={200: {"model": NotificationAnswer}})
async def show(request: Request, id: str) -> Response:
    """One message, and how sending it went."""
    async with context_of(request).db.connection() as conn:
        return Json(_row(await store.get_notification(conn, parse_notification_id(id))))


@router.post("/{id}/retry", dependencies=ACT, responses={200: {"model": NotificationAnswer}})
async def retry(request: Request, id: str) -> Response:
    """Have one that failed for good be sent again, under the same id."""
    return Json(_row(await retry_notification(context_of(request), parse_notification_id(id))))


def _rule(rule: NotificationRule) -> dict[str, Any]:
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
