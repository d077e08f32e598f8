"""Is the process alive, is it ready, and what does it count. Never cached by anyone; probes need no login."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access.exposure import shows_metrics
from automata.access.principal import Role
from automata.api.schemas.system import HealthAnswer
from automata.errors import AutomataError
from automata.http.authorization import needs, open_to_everybody
from automata.http.bodies import Json
from automata.http.context import context_of
from automata.operations.context import AppContext
from automata.operations.system_metrics import show_pool
from automata.store import migrate
from automata.telemetry import CHILD_METRICS, METRICS_CONTENT_TYPE, metrics_text

READY_SEC = 5.0  # probes give up sooner or later too; a hanging database must not gather probes

router = APIRouter(tags=["health"])


@router.get("/healthz", dependencies=[open_to_everybody()], responses={200: {"model": HealthAnswer}})
async def healthz() -> Response:
    """The process lives and its event loop turns. Says nothing about the database: restarting would not help it."""
    return Json({"status": "ok", "reasons": []})


@router.get(
    "/readyz",
    dependencies=[open_to_everybody()],
    responses={200: {"model": HealthAnswer}, 503: {"model": HealthAnswer}},
)
async def readyz(request: Request) -> Response:
    """Whether requests and runs can be served: database, migrations, rights, disk, and the loops of this process."""
    context = context_of(request)
    reasons = [*await _database(context), *_parts(context)]
    if context.stopping.is_set():
        reasons.append("the server is stopping")
    if reasons:
        return Json({"status": "unready", "reasons": reasons}, 503, headers={"Retry-After": "1"})
    return Json({"status": "ok", "reasons": []})


@router.get(
    "/metrics",
    dependencies=[needs(Role.VIEWER, unless=shows_metrics, or_token=lambda settings: settings.metrics_token)],
    responses={200: {"content": {"text/plain": {}}}},
    response_class=Response,
)
async def metrics(request: Request) -> Response:
    """What this process counts, in Prometheus' text format; one that serves the API tells of the whole system too."""
    context = context_of(request)
    show_pool(context.db)
    if context.metrics:
        await context.metrics.refresh()
    text = metrics_text(system=context.metrics is not None, others=await _others())
    return Response(text, headers={"Content-Type": METRICS_CONTENT_TYPE})


async def _others() -> dict[str, str]:
    """What the helpers of this process count; one that does not answer is left out, and /readyz says so."""
    processes = dict(CHILD_METRICS)
    texts = await asyncio.gather(*(ask() for ask in processes.values()), return_exceptions=True)
    return {number: text for number, text in zip(processes, texts, strict=True) if isinstance(text, str)}


async def _database(context: AppContext) -> list[str]:
    try:
        async with asyncio.timeout(READY_SEC):
            await context.db.ping()
            if not context.migrated:
                missing = await asyncio.to_thread(migrate.pending, context.db.url)
                if missing:
                    return [f"migrations are missing: {', '.join(missing)}; run `automata migrate`"]
                context.migrated = True  # tables are never taken back while a version that needs them runs
            return [str(trouble) for trouble in await context.troubles.get()]
    except TimeoutError:
        return [f"the database did not answer within {READY_SEC:.0f} s"]
    except AutomataError as error:
        return [str(error)]


def _parts(context: AppContext) -> list[str]:
    return [f"{name}: {trouble}" for name, trouble in context.health().items() if trouble]
