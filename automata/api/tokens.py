"""Tokens over REST, for admins. The text of one is in the answer that made it, and nowhere else."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access import tokens
from automata.access.principal import Role
from automata.access.tokens import Wanted
from automata.api.schemas.access import NewTokenAnswer, TokenAnswer
from automata.api.schemas.pages import Page
from automata.http.authorization import actor, needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.openapi import request_body
from automata.http.query import Cursor, Limit, check_cursor, page_of
from automata.http.requests import RotateRequest, TokenRequest
from automata.operations.context import AppContext
from automata.operations.lookups import check_key
from automata.store.audit import Actor
from automata.store.tokens import TokenRow, list_tokens

router = APIRouter(prefix=f"{V1}/tokens", tags=["access"])
_ADMIN = needs(Role.ADMIN)


@router.get("", dependencies=[_ADMIN], responses={200: {"model": Page[TokenAnswer]}})
async def index(request: Request, revoked: bool = False, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """Tokens by name, without their texts; `revoked` lists those too."""
    async with context_of(request).db.connection() as conn:
        found = await list_tokens(conn, revoked=revoked, after=check_cursor(cursor, 2), limit=limit)
    return Json(page_of(found, [tokens.facts(row) for row in found.items]))


@router.post(
    "",
    dependencies=[_ADMIN],
    status_code=201,
    responses={201: {"model": NewTokenAnswer}},
    openapi_extra=request_body(TokenRequest),
)
async def create(request: Request) -> Response:
    """Make a token. Its text is shown this once."""
    asked = await read_model(request, TokenRequest)
    return _told(*await make(context_of(request), actor(request), asked), 201)


@router.post(
    "/{key}/rotate",
    dependencies=[_ADMIN],
    responses={200: {"model": NewTokenAnswer}},
    openapi_extra=request_body(RotateRequest, required=False),
)
async def rotate(request: Request, key: str) -> Response:
    """Give a token another text; the one before is refused within five seconds. `key` is its id or name."""
    asked = await read_model(request, RotateRequest)
    return _told(*await make_anew(context_of(request), actor(request), key, asked.days), 200)


@router.delete("/{key}", dependencies=[_ADMIN], responses={200: {"model": TokenAnswer}})
async def revoke(request: Request, key: str) -> Response:
    """Take a token back: it is refused within five seconds, and its sessions end. Twice is fine."""
    return Json(tokens.facts(await take_back(context_of(request), actor(request), key)))


async def make(desk: AppContext, by: Actor, asked: TokenRequest) -> tuple[str, TokenRow]:
    """A token's text, and what is kept of it. Raises Invalid, Usage, Conflict."""
    wanted = Wanted(asked.name, Role.read(asked.role), asked.mail, asked.labels, asked.days)
    async with desk.db.transaction() as conn:
        return await tokens.issue(conn, by, wanted)


async def make_anew(desk: AppContext, by: Actor, key: str, days: int) -> tuple[str, TokenRow]:
    """Raises Missing, Conflict, Invalid."""
    check_key(key)
    async with desk.db.transaction() as conn:
        made = await tokens.rotate(conn, by, key, days)
    desk.forget_credentials()
    return made


async def take_back(desk: AppContext, by: Actor, key: str) -> TokenRow:
    """Raises Missing."""
    check_key(key)
    async with desk.db.transaction() as conn:
        row = await tokens.revoke(conn, by, key)
    desk.forget_credentials()
    return row


def _told(text: str, row: TokenRow, status: int) -> Response:
    told: dict[str, Any] = tokens.facts(row) | {"token": text}
    return Json(told, status)
