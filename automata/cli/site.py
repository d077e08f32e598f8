"""The application that a server runs: the REST API with the console at `/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI

from automata.api.app import create_app
from automata.broker.contract import Broker
from automata.settings import Settings
from automata.store.database import Database
from automata.web.app import install


def create_site(
    db: Database,
    broker: Broker,
    settings: Settings,
    health_of: Callable[[], Mapping[str, Any]] = dict,
) -> FastAPI:
    """The API with the console. Raises Usage as `create_app` and `install` do."""
    app = create_app(db, broker, settings, health_of)
    install(app)
    return app
