"""Flows driven to their ends inside a test: the real orchestrator and worker on a real database, and a step type that
does what the test wrote down for it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from automata.broker.contract import RUNS_PENDING, tasks_ready
from automata.broker.local import LocalBroker
from automata.engine.retry import Failure
from automata.flow.model import Flow
from automata.services.executor import Executor
from automata.services.orchestrator import Orchestrator
from automata.services.plan_cache import PlanCache
from automata.services.run_advancer import RunAdvancer
from automata.services.worker import Worker
from automata.settings import Settings
from automata.steps.contract import Outcome, StepContext
from automata.steps.egress import EgressPolicy, HttpTransport
from automata.steps.registry import instant_rules
from automata.steps.secrets import Secrets
from automata.store.database import Database
from automata.store.flows import put_api_flow
from automata.store.new_runs import NewRun, create_runs
from automata.store.run_tasks import TaskRow, list_tasks
from automata.store.runs import RunRow, get_run
from automata.tracing import Tracing

Json = dict[str, Any]
BROKEN = Failure("it broke", "broken")
FLAKY = Failure("it broke for now", "flaky", retryable=True)


@dataclass
class Call:
    run: str
    step: str
    attempt: int
    key: str
    config: Mapping[str, Any]


@dataclass
class Play:
    """The step type `play`: each call takes the next line of its step's script, and succeeds when there is none.

    A line is a Failure, outputs, or an Event that is awaited first.
    """

    script: defaultdict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    calls: list[Call] = field(default_factory=list)
    rang: asyncio.Condition = field(default_factory=asyncio.Condition)

    name = "play"
    kind = "work"
    scope = "result"
    config_schema: Mapping[str, Any] = field(default_factory=dict)

    async def execute(self, config: Mapping[str, Any], ctx: StepContext) -> Outcome:
        self.calls.append(Call(ctx.run_id, ctx.step, ctx.attempt, ctx.idempotency_key, config))
        async with self.rang:
            self.rang.notify_all()
        lines = self.script[ctx.step]
        while lines and isinstance(hold := lines[0], asyncio.Event):
            await hold.wait()
            if hold in lines:  # two calls of one step may have waited for it
                lines.remove(hold)
        line = lines.pop(0) if lines else {"ok": True}
        return Outcome(failure=line) if isinstance(line, Failure) else Outcome(outputs=line)

    def made(self, step: str) -> list[int]:
        """The attempts of a step, in the order in which they were made."""
        return [call.attempt for call in self.calls if call.step == step]


@dataclass
class Drive:
    db: Database
    broker: LocalBroker
    play: Play

    async def put(self, name: str, *steps: Json, **more: Any) -> tuple[UUID, UUID]:
        """The ids of a flow and of its version."""
        async with self.db.transaction() as conn:
            put = await put_api_flow(conn, Flow.from_spec({"name": name, "steps": list(steps), **more}), author="test")
        return put.flow.id, put.version.id

    async def start(self, flow: tuple[UUID, UUID], **inputs: Any) -> UUID:
        async with self.db.transaction() as conn:
            (made,) = await create_runs(conn, [NewRun(*flow, inputs)])
        self.notify()
        return made.id

    def notify(self) -> None:
        self.broker.notify(RUNS_PENDING)

    async def ended(self, run: UUID) -> RunRow:
        async with asyncio.timeout(120):
            while True:
                async with self.db.connection() as conn:
                    found = await get_run(conn, run)
                if found.finished_at:
                    return found
                await asyncio.sleep(0.01)

    async def called(self, step: str, times: int = 1) -> None:
        async with asyncio.timeout(120), self.play.rang:
            await self.play.rang.wait_for(lambda: len(self.play.made(step)) >= times)

    async def tasks(self, run: UUID) -> dict[str, TaskRow]:
        async with self.db.connection() as conn:
            return {row.step: row for row in await list_tasks(conn, run)}

    async def states(self, run: UUID) -> dict[str, str]:
        return {step: str(row.status) for step, row in (await self.tasks(run)).items()}

    async def value(self, query: str, *values: Any) -> Any:
        async with self.db.connection() as conn:
            row = await (await conn.execute(query.encode(), values)).fetchone()
        return row and row[0]


def step(id: str, *after: str, **more: Any) -> Json:
    return {"id": id, "type": "play", "depends_on": list(after), **more}


def transform(id: str, mappings: Json, *after: str) -> Json:
    return {"id": id, "type": "transform", "depends_on": list(after), "config": {"mappings": mappings}}


def fan(id: str, *after: str, branches: Mapping[str, list[Json]], **more: Any) -> Json:
    parts = [{"id": name, "steps": steps} for name, steps in branches.items()]
    return {"id": id, "type": "parallel", "depends_on": list(after), "branches": parts, **more}


@asynccontextmanager
async def drive(
    url: str,
    types: Mapping[str, Any] | None = None,
    secrets: Mapping[str, str] | None = None,
    tracing: Tracing | None = None,
    joined: bool = True,
    **settings: Any,
) -> AsyncIterator[Drive]:
    """Orchestrator and worker run until the block ends; `types` are more step types that the worker knows.

    `joined`: they dispatch to each other as in one process; else they meet in the database alone.
    """
    play, broker, stop = Play(), LocalBroker(), asyncio.Event()
    chosen = Settings(**{"poll_sec": 0.1, "heartbeat_sec": 1.0, **settings})
    transport = HttpTransport(EgressPolicy(allow_loopback=True))
    async with await Database.open(url, max_size=8) as db:
        plans = PlanCache(db)
        executor = Executor({"play": play, **(types or {})}, transport, Secrets(secrets), tracing)
        advancer = RunAdvancer(db, broker, plans, instant_rules(), tracing)
        worker = Worker(db, broker, plans, executor, chosen, advancer if joined else None)
        orchestrator = Orchestrator(db, broker, advancer, chosen, worker if joined else None)
        loops = [
            asyncio.create_task(orchestrator.run(stop)),
            asyncio.create_task(worker.run(stop)),
        ]
        try:
            yield Drive(db, broker, play)
        finally:
            stop.set()
            broker.notify(RUNS_PENDING)
            broker.notify(tasks_ready("default"))
            await asyncio.gather(*loops)
            await transport.close()
