"""The composition root: which parts a process may have, and what each is made of.

`automata api|scheduler|orchestrator|worker|controller|up` are all made here, from one table. Imports stay inside the
functions: `automata --help` waits for no driver, and a process without a controller loads no Git.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from automata.project.source import Source
    from automata.proposals.forges.contract import Forge
    from automata.services.process import Composition, Loop, MakeApp, Resources
    from automata.services.run_advancer import RunAdvancer
    from automata.services.worker import Worker
    from automata.settings import Settings
    from automata.steps.contract import StepType
    from automata.steps.egress import HttpTransport
    from automata.steps.secrets import Secrets
    from automata.store.database import Database

API, SCHEDULER, WORKER, ORCHESTRATOR, CONTROLLER = "api", "scheduler", "worker", "orchestrator", "controller"
ALL = frozenset({API, SCHEDULER, WORKER, ORCHESTRATOR})  # what runs flows; the controller brings them
NOTIFIER = "notifier"  # a loop beside every worker, which has the secrets and the vetted way out
PRESENCE = "presence"  # a loop of every process


Followed = Mapping[str, tuple["Source", "Forge | None"]]  # what controllers follow, by the names of their loops


class Components:
    """What the parts of one process are made of; each is made once, and only where a part needs it."""

    def __init__(
        self, resources: Resources, parts: Collection[str], types: Mapping[str, StepType], followed: Followed
    ) -> None:
        """`types` are step types beside the installed ones."""
        from automata.services.plan_cache import PlanCache

        self.db = resources.db
        self.broker = resources.broker
        self.settings = resources.settings
        self.followed = followed
        self.plans = PlanCache(resources.db)
        self._tracing = resources.tracing
        self._on_close = resources.on_close
        self._joined = {ORCHESTRATOR, WORKER} <= set(parts)
        self._types = types

    @cached_property
    def advancer(self) -> RunAdvancer:
        """Shared by the orchestrator and the worker's completer."""
        from automata.services.run_advancer import RunAdvancer
        from automata.steps.registry import instant_rules

        return RunAdvancer(self.db, self.broker, self.plans, instant_rules(), self._tracing)

    @cached_property
    def secrets(self) -> Secrets:
        """Of steps and notifications; from now on logs mask them."""
        from automata.steps.secrets import open_secrets
        from automata.telemetry import mask_logs

        secrets = open_secrets()
        self._on_close(secrets.close)
        mask_logs(secrets.mask)
        return secrets

    @cached_property
    def transport(self) -> HttpTransport:
        """The vetted way out."""
        from automata.steps.egress import EgressPolicy, HttpTransport

        settings = self.settings
        transport = HttpTransport(EgressPolicy(settings.allow_loopback, settings.egress_allow, settings.egress_deny))
        self._on_close(transport.close)
        return transport

    @cached_property
    def worker(self) -> Worker:
        """Beside an orchestrator it advances the runs whose outcomes it commits."""
        from automata.services.executor import Executor
        from automata.services.worker import Worker
        from automata.steps.registry import load_types

        executor = Executor({**load_types(), **self._types}, self.transport, self.secrets, self._tracing)
        advancer = self.advancer if self._joined else None
        return Worker(self.db, self.broker, self.plans, executor, self.settings, advancer)

    @property
    def local_worker(self) -> Worker | None:
        """The worker as the orchestrator of the same process sees it."""
        return self.worker if self._joined else None


Loops = dict[str, "Loop"]  # by the name that health shows


def _api_loops(components: Components) -> Loops:
    return {}  # it answers requests, and has nothing to do beside them


def _scheduler_loops(components: Components) -> Loops:
    from automata.services.scheduler import Scheduler

    return {SCHEDULER: Scheduler(components.db, components.broker, components.plans, components.settings).run}


def _worker_loops(components: Components) -> Loops:
    from automata.services.notifier import Notifier

    notifier = Notifier(components.db, components.transport, components.secrets, components.settings)
    return {WORKER: components.worker.run, NOTIFIER: notifier.run}


def _orchestrator_loops(components: Components) -> Loops:
    from automata.services.orchestrator import Orchestrator

    db, broker, settings = components.db, components.broker, components.settings
    return {ORCHESTRATOR: Orchestrator(db, broker, components.advancer, settings, components.local_worker).run}


def _controller_loops(components: Components) -> Loops:
    from automata.services.sync_controller import Controller, Pace

    db, pace = components.db, Pace.of(components.settings)
    return {name: Controller(db, source, pace, forge).run for name, (source, forge) in components.followed.items()}


@dataclass(frozen=True, slots=True)
class Part:
    """`port`: where it answers HTTP as a process of its own; `repeatable`: it takes --processes."""

    port: int
    loops: Callable[[Components], Loops]
    repeatable: bool = False


PARTS: Mapping[str, Part] = {
    API: Part(8080, _api_loops),
    SCHEDULER: Part(8081, _scheduler_loops),
    WORKER: Part(8082, _worker_loops, repeatable=True),
    ORCHESTRATOR: Part(8083, _orchestrator_loops, repeatable=True),
    CONTROLLER: Part(8084, _controller_loops),
}


def compose(
    settings: Settings,
    parts: Collection[str],
    *,
    branch: str | None = None,
    types: Mapping[str, StepType] | None = None,
    make_app: MakeApp | None = None,
) -> Composition:
    """A process of these `parts`. `branch` is what a controller follows where there is one repository.

    Raises Usage for sources that cannot be, before anything is started.
    """
    from automata.services.process import Composition

    followed = _followed(settings, branch) if CONTROLLER in parts else {}
    return Composition(
        make_app=make_app or _app_of(parts),
        make_loops=partial(_make_loops, parts, types or {}, followed),
        takes_requests=API in parts,
        is_whole=set(parts) >= ALL,
    )


def _app_of(parts: Collection[str]) -> MakeApp:
    if API in parts:
        from automata.cli.site import create_site

        return create_site
    from automata.api.app import create_health_app

    return create_health_app


def _make_loops(
    parts: Collection[str], types: Mapping[str, StepType], followed: Followed, resources: Resources
) -> Loops:
    from automata.services.process_heartbeat import Presence

    components = Components(resources, parts, types, followed)
    loops: Loops = {}
    for name, part in PARTS.items():
        if name in parts:
            loops |= part.loops(components)
    present = {*parts} - {CONTROLLER} | followed.keys()
    return {**loops, PRESENCE: Presence(resources.db, present, resources.settings).run}


def _followed(settings: Settings, branch: str | None) -> Followed:
    """Raises Usage."""
    from automata.project.source import source_of, sources_of
    from automata.proposals.forges.factory import forge_of
    from automata.services.sync_controller import source_label

    if not settings.sources:
        source = source_of(settings, branch)
        return {CONTROLLER: (source, forge_of(settings, source))}
    return {
        f"controller of {source_label(source)} ({source.environment})": (source, forge_of(settings, source))
        for source in sources_of(settings)
    }


async def show_admin_token(settings: Settings, show: Callable[[str], None], db: Database) -> None:
    """Show the admin's token where this is the first start of a server that asks for one."""
    from automata.cli.bootstrap_token import bootstrap_token

    if token := await bootstrap_token(db, settings):
        show(token)


def runner() -> asyncio.Runner:
    """What a process runs in: uvloop where it is installed."""
    with suppress(ImportError):
        import uvloop

        return asyncio.Runner(loop_factory=uvloop.new_event_loop)
    return asyncio.Runner()
