"""Where the flows come from: each source as it stands, what was tried, what differs, and the way back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.errors import Conflict, Invalid
from automata.http.authorization import current_principal, needs
from automata.http.bodies import validate
from automata.http.context import context_of
from automata.http.request_models import RollbackRequest
from automata.operations.context import AppContext
from automata.operations.sources import (
    look_now,
    read_drift,
    read_source,
    read_sources,
    release_source,
    roll_back_source,
)
from automata.sync.report import attempt_summary
from automata.web.forms import read_form
from automata.web.page import redirect_with_message, render
from automata.web.page import router as pages
from automata.web.templating import plural, short

HERE = "/sync"
SHOWN_ATTEMPTS, SHOWN_DRIFT = 3, 50

router = pages()


@router.get(HERE)
async def index(request: Request) -> Response:
    """Every source with its conditions and last attempts."""
    sources = await read_sources(context_of(request))
    shown = [(source, _attempts(source)[:SHOWN_ATTEMPTS]) for source in sources]
    return render(request, "sync.html", sources=shown)


@router.get(f"{HERE}/{{source_id}}")
async def show(request: Request, source_id: str) -> Response:
    """One source: all conditions, what differs from its commit now, attempts, and commits to go back to."""
    context = context_of(request)
    source = await read_source(context, source_id)
    drift = await read_drift(context, source_id)
    return render(
        request,
        "source.html",
        source=source,
        attempts=_attempts(source),
        drift=drift[:SHOWN_DRIFT],
        more_drift=max(0, len(drift) - SHOWN_DRIFT),
        earlier=list(
            {commit["sha"]: commit for commit in source["commits"] if commit["sha"] != source["head_sha"]}.values()
        ),
        may_roll_back=current_principal(request).role >= Role.ADMIN,
    )


@router.post(f"{HERE}/{{source_id}}/look", dependencies=[needs(Role.OPERATOR)])
async def look(request: Request, source_id: str) -> Response:
    """Have the controller look at the branch soon."""

    async def do(context: AppContext, _: Mapping[str, str]) -> str:
        source = await look_now(context, source_id)
        if source["pinned"]:
            return "The controller looks at the branch within seconds. The flows stay where they are pinned."
        return "The controller looks at the branch within seconds."

    return await _done(request, source_id, do)


@router.post(f"{HERE}/{{source_id}}/rollback", dependencies=[needs(Role.ADMIN)])
async def rollback(request: Request, source_id: str) -> Response:
    """Back to an earlier commit, which the environment is pinned to then."""

    async def do(context: AppContext, form: Mapping[str, str]) -> str:
        body = validate(RollbackRequest, {"to": form.get("to", ""), "reason": form.get("reason", "").strip()})
        done = await roll_back_source(
            context, source_id, body.to, by=current_principal(request).name, reason=body.reason
        )
        return f"{plural(len(done['changed']), 'flow')} rolled back. Pinned to {short(done['source']['head_sha'])}."

    return await _done(request, source_id, do)


@router.post(f"{HERE}/{{source_id}}/release", dependencies=[needs(Role.ADMIN)])
async def release(request: Request, source_id: str) -> Response:
    """Let the environment follow its branch again."""

    async def do(context: AppContext, _: Mapping[str, str]) -> str:
        await release_source(context, source_id, by=current_principal(request).name)
        return "It follows its branch again; the controller looks within seconds."

    return await _done(request, source_id, do)


async def _done(
    request: Request, source_id: str, do: Callable[[AppContext, Mapping[str, str]], Awaitable[str]]
) -> Response:
    """Back to the source, which says what was done or why not."""
    context, form = context_of(request), await read_form(request)
    here = f"{HERE}/{(await read_source(context, source_id))['id']}"
    try:
        return redirect_with_message(request, here, await do(context, form))
    except (Conflict, Invalid) as error:
        return redirect_with_message(request, here, str(error), bad=True)


def _earlier_commits(source: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    commits = {commit["sha"]: commit for commit in source["commits"] if commit["sha"] != source["head_sha"]}
    return list(commits.values())


def _attempts(source: Mapping[str, Any]) -> list[tuple[Any, str]]:
    return [(attempt, attempt_summary(attempt)) for attempt in source["attempts"]]
