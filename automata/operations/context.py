"""What every operation works with, built once for each process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from automata.access.provider import Provider
from automata.access.sessions import Sessions
from automata.access.tokens import Tokens
from automata.broker.contract import Broker
from automata.caching import StaleWhileRevalidate
from automata.operations.flow_lookups import FlowLookup, VersionCache, WebhookLookup
from automata.operations.run_creation import RunCreator
from automata.operations.system_metrics import SystemMetrics
from automata.operations.webhook_secrets import SignedWebhooks, WebhookSecrets
from automata.proposals.service import ProposalService
from automata.settings import Settings
from automata.store.database import Database
from automata.store.readiness import Trouble, find_troubles

TROUBLES_SEC = 4.0  # everybody may ask /readyz, and a look costs the database some milliseconds


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
    signed_webhooks: SignedWebhooks
    proposals: ProposalService
    tokens: Tokens
    sessions: Sessions
    troubles: StaleWhileRevalidate[list[Trouble]]  # of the database, though it answers
    metrics: SystemMetrics | None = None  # of a process that serves the API
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    # Checking a hostile flow may take two seconds of processor; more than two at once help nobody.
    checks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    migrated: bool = False
    watchers: int = 0

    @classmethod
    def of(
        cls,
        db: Database,
        broker: Broker,
        settings: Settings,
        *,
        health: Callable[[], Mapping[str, Any]] = dict,
        secrets: Mapping[str, str] | None = None,
        provider: Provider | None = None,
    ) -> AppContext:
        """`secrets` are what webhooks may be signed with. Raises Usage, Refused for settings that cannot be."""
        tokens = Tokens(db)
        return cls(
            db=db,
            broker=broker,
            settings=settings,
            run_creator=RunCreator(db, broker, settings.batch),
            flows=FlowLookup(db),
            versions=VersionCache(db),
            health=health,
            webhooks=WebhookLookup(db),
            webhook_secrets=WebhookSecrets(secrets or {}),
            signed_webhooks=SignedWebhooks(db),
            proposals=ProposalService(db, settings),
            tokens=tokens,
            sessions=Sessions(db, tokens, settings.session_secret, provider.config.config_digest if provider else None),
            troubles=StaleWhileRevalidate(partial(find_troubles, db), TROUBLES_SEC, TROUBLES_SEC),
        )

    def forget_credentials(self) -> None:
        """This process refuses at once what it has revoked itself."""
        self.tokens.clear()
        self.sessions.clear()
