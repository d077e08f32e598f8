"""The application: which routes there are, and what each of them works with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI

from automata import __version__
from automata.access.oidc import config_of
from automata.access.provider import Provider, provider_of
from automata.api import (
    approvals,
    audit,
    deadletters,
    flows,
    health,
    live_state,
    logs,
    notifications,
    processes,
    proposals,
    provenance,
    push_webhook,
    recordings,
    run_batch_create,
    run_bulk_actions,
    runs,
    schedule_runs,
    schedules,
    sign_in,
    sources,
    tasks,
    tokens,
    webhooks,
)
from automata.broker.contract import Broker
from automata.http import openapi, problem
from automata.http.authentication import Authenticator
from automata.http.authorization import check_every_route
from automata.http.middleware import RequestMiddleware
from automata.http.parameters import know_parameters
from automata.http.request_checks import RequestLimits
from automata.http.routing import add_routes
from automata.http.tracing import TracingMiddleware
from automata.operations.context import AppContext
from automata.operations.system_metrics import SystemMetrics
from automata.settings import Settings
from automata.steps.secrets import load_secrets
from automata.store.database import Database

# In the order in which an address is looked for.
PARTS = (
    flows,
    runs,
    run_bulk_actions,
    run_batch_create,
    tasks,
    deadletters,
    approvals,
    schedules,
    schedule_runs,
    webhooks,
    sources,
    push_webhook,
    live_state,
    recordings,
    provenance,
    proposals,
    logs,
    notifications,
    processes,
    sign_in,
    tokens,
    audit,
)


def create_app(
    db: Database,
    broker: Broker,
    settings: Settings,
    health_of: Callable[[], Mapping[str, Any]] = dict,
    secrets: Mapping[str, str] | None = None,
) -> FastAPI:
    """REST under /api/v1, health and metrics beside it. `health_of` names this process's parts and their troubles.

    `secrets` are what webhooks may be signed with; None: those that workers read too. Raises Usage when these cannot
    be read, for a secret of forges that is too weak, and for a provider that is half set up.
    """
    push_webhook.secrets_of(settings)
    provider = provider_of(config_of(settings))
    app = _app(db, broker, settings, health_of, load_secrets(os.environ) if secrets is None else secrets, provider)
    app.state.context.metrics = SystemMetrics(db)
    # Each router has its whole path: the metrics name a route as its router knows it.
    for part in PARTS:
        add_routes(app, part.router)
        # The query of a delivery is data, for the flow to read.
        if part is not webhooks:
            know_parameters(part.router.routes)
    openapi.install(app)
    return check_every_route(app)


def create_health_app(
    db: Database,
    broker: Broker,
    settings: Settings,
    health_of: Callable[[], Mapping[str, Any]] = dict,
) -> FastAPI:
    """Health and metrics alone, for a process that serves no API."""
    return check_every_route(_app(db, broker, settings, health_of, {}))


def _app(
    db: Database,
    broker: Broker,
    settings: Settings,
    health_of: Callable[[], Mapping[str, Any]],
    secrets: Mapping[str, str],
    provider: Provider | None = None,
) -> FastAPI:
    # FastAPI's pages for /docs load scripts from elsewhere; the description itself is ours to serve.
    app = FastAPI(title="Automata", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    context = AppContext.of(db, broker, settings, health=health_of, secrets=secrets, provider=provider)
    app.state.context = context
    app.state.authenticator = Authenticator.of(context, provider)
    add_routes(app, health.router)
    problem.install(app)
    if settings.otlp_url:
        app.add_middleware(TracingMiddleware)
    app.add_middleware(RequestMiddleware, limits=RequestLimits.of(settings), max_body_bytes=settings.max_body_bytes)
    return app
