"""Tokens over REST, for admins. The text of one is in the answer that made it, and nowhere else."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access import tokens
from automata.access.principal import Role
from automata.api.schemas.access import NewTokenAnswer, TokenAnswer
from automata.api.schemas.pages import Page
from automata.http.authentication import actor_of
from automata.http.authorization import needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.openapi import request_body
from automata.http.query import Cursor, Limit, check_cursor, page_of
from automata.http.request_models import RotateRequest, TokenRequest
from automata.operations.tokens import create_token, revoke_token, rotate_token
from automata.store.tokens import TokenRow, list_tokens

router = APIRouter(prefix=f"{V1}/tokens", tags=["access"])
_ADMIN = needs(Role.ADMIN)


@router.get("", dependencies=[_ADMIN], responses={200: {"model": Page[TokenAnswer]}})
async def index(request: Request, revoked: bool = False, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """Tokens by name, without their texts; `revoked` lists those too."""
    async with context_of(request).db.connection() as conn:
        page = await list_tokens(conn, revoked=revoked, after=check_cursor(cursor, 2), limit=limit)
    return Json(page_of(page, [tokens.token_facts(row) for row in page.items]))


@router.post(
    "",
    dependencies=[_ADMIN],
    status_code=201,
    responses={201: {"model": NewTokenAnswer}},
    openapi_extra=request_body(TokenRequest),
)
async def create(request: Request) -> Response:
    """Make a token. Its text is shown this once."""
    body = await read_model(request, TokenRequest)
    return _response(*await create_token(context_of(request), actor_of(request), body.wanted()), 201)


@router.post(
    "/{key}/rotate",
    dependencies=[_ADMIN],
    responses={200: {"model": NewTokenAnswer}},
    openapi_extra=request_body(RotateRequest, required=False),
)
async def rotate(request: Request, key: str) -> Response:
    """Give a token another text; the one before is refused within five seconds. `key` is its id or name."""
    body = await read_model(request, RotateRequest)
    return _response(*await rotate_token(context_of(request), actor_of(request), key, body.days), 200)


@router.delete("/{key}", dependencies=[_ADMIN], responses={200: {"model": TokenAnswer}})
async def revoke(request: Request, key: str) -> Response:
    """Take a token back: it is refused within five seconds, and its sessions end. Twice is fine."""
    return Json(tokens.token_facts(await revoke_token(context_of(request), actor_of(request), key)))


def _response(text: str, row: TokenRow, status: int) -> Response:
    return Json(tokens.token_facts(row) | {"token": text}, status)
