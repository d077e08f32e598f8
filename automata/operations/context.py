"""What every route works with: made once by create_app, found through the request's app."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from fastapi import Request

from automata.broker.contract import Broker
from automata.http.authentication import Authenticator
from automata.operations.lookups import FlowLookup, VersionCache, WebhookLookup
from automata.operations.run_creation import RunCreator
from automata.operations.system_metrics import SystemMetrics
from automata.operations.webhook_secrets import WebhookSecrets
from automata.proposals.service import ProposalService
from automata.settings import Settings
from automata.store.database import Database


@dataclass(slots=True)
class AppContext:
    """`health` names parts of the process and what is wrong with each (None: nothing).

    Set `stopping` before the server stops: long polls then answer at once with what is true so far.
    """

    db: Database
    broker: Broker
    settings: Settings
    run_creator: RunCreator
    flows: FlowLookup
    versions: VersionCache
    health: Callable[[], Mapping[str, Any]]
    webhooks: WebhookLookup
    webhook_secrets: WebhookSecrets
    proposals: ProposalService
    authenticator: Authenticator
    metrics: SystemMetrics | None = None  # of a process that serves the API
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    # Checking a hostile flow may take two seconds of processor; more than two at once help nobody.
    checks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    migrated: bool = False
    watchers: int = 0

    @classmethod
    def of(cls, request: Request) -> AppContext:
        return cast(AppContext, request.app.state.context)
