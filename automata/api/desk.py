"""What every route works with: made once by create_app, found through the request's app."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from fastapi import Request

from automata.api.entrance import Entrance
from automata.api.gauges import SystemGauges
from automata.api.intake import Intake
from automata.api.keyring import Keyring
from automata.api.known import Doors, Heads, Versions
from automata.broker.contract import Broker
from automata.proposals.service import ProposalService
from automata.settings import Settings
from automata.store.database import Database


@dataclass(slots=True)
class Desk:
    """`health` names parts of the process and what is wrong with each (None: nothing).

    Set `stopping` before the server stops: long polls then answer at once with what is true so far.
    """

    db: Database
    broker: Broker
    settings: Settings
    intake: Intake
    heads: Heads
    versions: Versions
    health: Callable[[], Mapping[str, Any]]
    doors: Doors
    keyring: Keyring
    proposals: ProposalService
    entrance: Entrance
    gauges: SystemGauges | None = None  # of a process that serves the API
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    # Checking a hostile flow may take two seconds of processor; more than two at once help nobody.
    checks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    migrated: bool = False
    watchers: int = 0

    @classmethod
    def of(cls, request: Request) -> Desk:
        return cast(Desk, request.app.state.desk)
