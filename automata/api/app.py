"""The application: which routes there are, and what each of them works with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI

from automata import __version__
from automata.access.oidc import config_of
from automata.access.provider import Provider, provider_of
from automata.api import (
    approvals,
    audit,
    batch,
    deadletters,
    firing,
    flows,
    health,
    hooks,
    live,
    logs,
    many,
    notifications,
    openapi,
    problem,
    processes,
    proposals,
    provenance,
    recordings,
    runs,
    schedules,
    signin,
    sync,
    synchook,
    tasks,
    tokens,
)
from automata.api.auth import sealed
from automata.api.desk import Desk
from automata.api.edge import Edge
from automata.api.entrance import Entrance
from automata.api.gauges import SystemGauges
from automata.api.guard import Guard
from automata.api.intake import Intake
from automata.api.keyring import Keyring
from automata.api.known import Doors, Heads, Versions
from automata.api.traced import Traced
from automata.broker.contract import Broker
from automata.proposals.room import Proposals
from automata.settings import Settings
from automata.steps.secrets import load_secrets
from automata.store.database import Database


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
    synchook.secrets_of(settings)
    provider = provider_of(config_of(settings))
    app = _app(db, broker, settings, health_of, load_secrets(os.environ) if secrets is None else secrets, provider)
    app.state.desk.gauges = SystemGauges(db)
    # Each router bears its whole path: the metrics name a route as its router knows it.
    for part in (
        flows,
        runs,
        many,
        batch,
        tasks,
        deadletters,
        approvals,
        schedules,
        firing,
        hooks,
        sync,
        synchook,
        live,
        recordings,
        provenance,
        proposals,
        logs,
        notifications,
        processes,
        signin,
        tokens,
        audit,
    ):
        add_routes(app, part.router)
    openapi.install(app)
    return sealed(app)


def create_health_app(
    db: Database,
    broker: Broker,
    settings: Settings,
    health_of: Callable[[], Mapping[str, Any]] = dict,
) -> FastAPI:
    """Health and metrics alone, for a process that serves no API."""
    return sealed(_app(db, broker, settings, health_of, {}))


def add_routes(app: FastAPI, router: APIRouter) -> None:
    """The routes of a router that bears its whole path, as they are.

    `include_router` would build each of them once more, with the models of its bodies and answers: half a second of
    every process that serves an API.
    """
    app.router.routes.extend(router.routes)


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
    app.state.desk = Desk(
        db=db,
        broker=broker,
        settings=settings,
        intake=Intake(db, broker, settings.batch),
        heads=Heads(db),
        versions=Versions(db),
        health=health_of,
        doors=Doors(db),
        keyring=Keyring(secrets),
        proposals=Proposals(db, settings),
        entrance=Entrance.of(db, settings, provider),
    )
    add_routes(app, health.router)
    problem.install(app)
    if settings.otlp_url:
        app.add_middleware(Traced)
    app.add_middleware(Edge, guard=Guard.of(settings.host), max_body_bytes=settings.max_body_bytes)
    return app
