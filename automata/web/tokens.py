"""Tokens: which there are, and new ones, whose text is shown once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.access.tokens import DEFAULT_DAYS, MAX_DAYS
from automata.errors import AutomataError, Conflict, Invalid
from automata.http.authentication import actor_of, authenticator_of
from automata.http.bodies import validate
from automata.http.context import context_of
from automata.http.query import Cursor, Limit, check_cursor, parse_labels
from automata.http.request_models import RotateRequest, TokenRequest
from automata.operations.tokens import create_token, revoke_token, rotate_token
from automata.store.tokens import TokenRow, list_tokens
from automata.web.forms import read_form
from automata.web.page import redirect_with_message, render
from automata.web.page import router as pages
from automata.web.query import paging

HERE = "/tokens"
FIELDS: Mapping[str, str] = {"name": "", "role": "viewer", "mail": "", "labels": "", "days": str(DEFAULT_DAYS)}

router = pages(least=Role.ADMIN)


@router.get(HERE)
async def index(request: Request, revoked: bool = False, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """By name, without their texts."""
    async with context_of(request).db.connection() as conn:
        page = await list_tokens(conn, revoked=revoked, after=check_cursor(cursor, 2), limit=limit)
    return render(
        request,
        "tokens.html",
        tokens=page.items,
        revoked=revoked,
        days=DEFAULT_DAYS,
        is_open=authenticator_of(request).open,
        **paging(HERE, {"revoked": "true" if revoked else None}, limit, cursor, page.next),
    )


@router.get(f"{HERE}/new")
async def form(request: Request) -> Response:
    """The form of a new token."""
    return _form(request, FIELDS)


@router.post(HERE)
async def create(request: Request) -> Response:
    """Make a token, or show the form again with what is wrong."""
    form = await read_form(request)
    fields = {name: form.get(name, "").strip() for name in FIELDS}
    try:
        body = validate(TokenRequest, {**fields, "days": _days(fields["days"]), "labels": _labels(fields["labels"])})
        text, row = await create_token(context_of(request), actor_of(request), body.wanted())
    except (Invalid, Conflict) as error:
        return _form(request, fields, error)
    return _shown(request, text, row, 201)


@router.post(f"{HERE}/{{key}}/rotate")
async def rotate(request: Request, key: str) -> Response:
    """Another text for the same token; the one before is refused within five seconds."""
    form = await read_form(request)
    try:
        body = validate(RotateRequest, {"days": _days(form.get("days", str(DEFAULT_DAYS)))})
        text, row = await rotate_token(context_of(request), actor_of(request), key, body.days)
    except Conflict as error:
        return redirect_with_message(request, HERE, str(error), bad=True)
    return _shown(request, text, row, 200)


@router.post(f"{HERE}/{{key}}/revoke")
async def revoke(request: Request, key: str) -> Response:
    """Refused within five seconds, and its sessions end."""
    row = await revoke_token(context_of(request), actor_of(request), key)
    return redirect_with_message(request, HERE, f"The token {row.name} is revoked.")


def _form(request: Request, fields: Mapping[str, str], error: AutomataError | None = None) -> Response:
    values: dict[str, Any] = {
        "fields": fields,
        "error": error,
        "wrong": (error.pointer or "").strip("/").partition("/")[0] if error else "",
        "roles": [role.word for role in Role],
        "most_days": MAX_DAYS,
    }
    return render(request, "token_new.html", error.status if error else 200, **values)


def _shown(request: Request, text: str, row: TokenRow, status: int) -> Response:
    return render(request, "token_shown.html", status, text=text, row=row)


def _days(text: str) -> int:
    """Raises Invalid."""
    if not text.isascii() or not text.isdigit() or len(text) > 5:
        raise Invalid("The days are a whole number.", pointer="/days")
    return int(text)


def _labels(text: str) -> dict[str, str]:
    """`name=value` words. Raises Invalid."""
    try:
        return parse_labels(text.split())
    except Invalid as error:
        raise Invalid(error.message, code=error.code, pointer="/labels") from error
