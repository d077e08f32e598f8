"""The sandbox and production agree: generated flows through both, against the same answers, compared in all that shows.

What a flow does may depend on who is faster, where a failure ends what runs beside it. So failures that nothing
contains are generated only in flows whose steps run one after another.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from automata.sandbox.case_file import read_cases
from automata.sandbox.case_runner import Flows, run_case
from automata.steps.registry import load_types
from tests.amounts import times
from tests.drive import Drive, drive

FLOWS = times(150)
AT_ONCE = 25
MOCKED = "http://mock.example.com"
RETRIED = 503
Json = dict[str, Any]


@dataclass
class Made:
    """A flow, and the statuses that each of its addresses answers with, one after another, the last one for ever."""

    spec: Json
    answers: dict[str, list[int]] = field(default_factory=dict)


class Maker:
    """One flow from one seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.name = f"flow-{seed}"
        self.answers: dict[str, list[int]] = {}
        self.count = 0
        self.line = self.dice.random() < 0.4  # steps one after another, where failures may end the run

    def make(self) -> Made:
        steps: list[Json] = []
        for _ in range(self.dice.randint(1, 6)):
            before = [step["id"] for step in steps]
            waits = before[-1:] if self.line else [id for id in before if self.dice.random() < 0.5]
            steps.append(self.step(waits, nested=False))
        spec: Json = {"name": self.name, "inputs": {"base": {}, "n": {"type": "integer"}}, "steps": steps}
        default = "" if self.dice.random() < 0.15 else " | default(none)"  # some cannot make their outputs
        spec["outputs"] = {step["id"]: f"{{{{ steps.{step['id']}.outputs{default} }}}}" for step in steps}
        if self.dice.random() < 0.3:
            spec["on_failure"] = self.http({"id": "handler"}, [200], body={"of": "{{ failed_step }}"})
        return Made(spec, self.answers)

    def step(self, waits: list[str], *, nested: bool) -> Json:
        self.count += 1
        step: Json = {"id": f"s{self.count}"} | ({"depends_on": waits} if waits else {})
        kind = self.dice.choice(["http", "http", "http", "transform", "delay", "parallel"])
        if kind == "parallel" and not nested and not self.line:
            branches = [
                {"id": f"b{n}", "steps": [self.step([], nested=True) for _ in range(self.dice.randint(1, 2))]}
                for n in range(self.dice.randint(1, 3))
            ]
            return step | {"type": "parallel", "branches": branches}
        if self.dice.random() < 0.2:
            step["condition"] = f"inputs.n > {self.dice.randint(0, 10)}"
        if kind == "delay":
            return step | {"type": "delay", "config": {"duration_ms": self.dice.randint(0, 3)}, "outputs": {"n": 1}}
        if kind == "transform":
            mappings = {"n": "{{ inputs.n + 1 }}", "seen": self.read(waits)}
            return step | {"type": "transform", "config": {"mappings": mappings}}
        return self.http(step, self.statuses(), body={"seen": self.read(waits), "at": "{{ index | default(0) }}"})

    def http(self, step: Json, statuses: list[int], body: Json) -> Json:
        path = f"/{self.name}/{step['id']}"
        step |= {"type": "http", "retry": {"max_attempts": 3, "initial_delay_ms": 0, "jitter": "none"}}
        url = f"{{{{ inputs.base }}}}{path}"
        step["config"] = {"method": self.dice.choice(["POST", "PUT"]), "url": url, "body": body}
        step["outputs"] = {"call": "{{ response.body.call }}", "status": "{{ response.status_code }}"}
        if step["id"] != "handler" and self.dice.random() < 0.2:
            many = self.dice.randint(0, 4)
            step |= {"foreach": list(range(many)), "max_parallel": self.dice.randint(1, 3)}
            step["config"]["url"] += "/{{ index }}"
            self.answers |= {f"{path}/{n}": self.statuses() for n in range(many)}
        else:
            self.answers[path] = statuses
        if not self.line or self.dice.random() < 0.3:
            step["continue_on_error"] = True
        elif "foreach" in step:
            step["max_parallel"] = 1  # items that run beside one that fails would be a race
        return step

    def statuses(self) -> list[int]:
        return self.dice.choice([[200], [200], [201], [RETRIED, 200], [RETRIED, RETRIED, 201], [RETRIED], [404]])

    def read(self, waits: list[str]) -> str:
        return f"{{{{ steps.{waits[-1]}.status }}}}" if waits else "nothing"


@dataclass
class Shown:
    """All that a run shows. `requests`: (method, path, body) and how often."""

    status: str
    outputs: Any
    error: Any
    steps: Mapping[str, tuple[str, Any]]
    requests: Counter[tuple[str, str, str]]


class Server:
    """The answers as a real HTTP server, and what it was sent."""

    def __init__(self, answers: Mapping[str, list[int]]) -> None:
        self.answers = answers
        self.calls: Counter[str] = Counter()
        self.sent: dict[str, Counter[tuple[str, str, str]]] = {}

    @asynccontextmanager
    async def running(self) -> Any:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.path
        self.calls[path] += 1
        flow = path.split("/")[1]
        seen = self.sent.setdefault(flow, Counter())
        seen[request.method, path, json.dumps(await request.json(), sort_keys=True)] += 1
        script = self.answers[path]
        status = script[min(self.calls[path], len(script)) - 1]
        body = json.dumps({"call": self.calls[path]}, separators=(",", ":"))
        return web.Response(text=body, status=status, content_type="application/json")


async def in_production(url: str, made: list[Made]) -> dict[str, Shown]:
    server = Server({path: script for one in made for path, script in one.answers.items()})
    types = {"http": load_types()["http"]}
    async with server.running() as base, drive(url, types, poll_sec=0.2) as site:
        limit = asyncio.Semaphore(AT_ONCE)

        async def one(flow: Made) -> Shown:
            async with limit:
                spec = dict(flow.spec)
                name, steps = spec.pop("name"), spec.pop("steps")
                run = await site.start(await site.put(name, *steps, **spec), base=base, n=5)
                return await _shown(site, run, server, name)

        shown = await asyncio.gather(*(one(flow) for flow in made))
    return {flow.spec["name"]: what for flow, what in zip(made, shown, strict=True)}


async def _shown(site: Drive, run: Any, server: Server, name: str) -> Shown:
    ended = await site.ended(run)
    steps = {name: (str(row.status), row.outputs) for name, row in (await site.tasks(run)).items()}
    async with site.db.connection() as conn:
        row = await (await conn.execute("SELECT outputs, error FROM run_results WHERE run_id = %s", [run])).fetchone()
    assert row is not None
    return Shown(str(ended.status), row[0], _anywhere(row[1]), steps, server.sent.get(name, Counter()))


def in_the_sandbox(made: Made, status: str) -> Shown:
    mocks = [
        {
            "id": path.strip("/").replace("/", "."),
            "optional": True,
            "request": {"url": f"{MOCKED}{path}"},
            "responses": [{"status": status, "json": {"call": n}} for n, status in enumerate(script, 1)]
            + [{"status": script[-1], "json": {"call": n}} for n in range(len(script) + 1, 4)],
        }
        for path, script in made.answers.items()
    ]
    case = {"name": "it", "inputs": {"base": MOCKED, "n": 5}, "mocks": mocks, "expect": {"status": status}}
    text = json.dumps({"flow": made.spec["name"], "cases": [case]}).encode()
    read = read_cases(text, "tests/a.test.yaml", lambda _: None)
    assert read.diagnostics == ()
    result = run_case(read.cases[0], Flows({made.spec["name"]: (made.spec, {})}))
    assert not result.problems, result.problems
    steps = {name: (record["status"], record["outputs"]) for name, record in result.steps.items()}
    requests = Counter(
        (one["method"], one["url"].removeprefix(MOCKED), json.dumps(json.loads(one["body"]), sort_keys=True))
        for one in result.requests
    )
    return Shown(result.status, result.outputs, _anywhere(result.error), steps, requests)


def _anywhere(error: Any) -> Any:
    """An error without where it happened: the server's address and the run's id."""
    text = re.sub(r"http://(127\.0\.0\.1:\d+|mock\.example\.com)", "SERVER", json.dumps(error))
    return json.loads(re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "RUN", text))


async def test_generated_flows_show_the_same_in_both(database_url: str) -> None:
    made = [Maker(seed).make() for seed in range(FLOWS)]
    production = await in_production(database_url, made)
    ended: Counter[str] = Counter()
    for one in made:
        there = production[one.spec["name"]]
        here = await asyncio.to_thread(in_the_sandbox, one, there.status)  # virtual time needs a loop of its own
        spec = json.dumps(one.spec, indent=1)
        for part in ("status", "error", "outputs", "steps", "requests"):
            assert getattr(here, part) == getattr(there, part), f"{part} of {one.spec['name']}: {spec}"
        ended[there.status] += 1
    assert min(ended["SUCCEEDED"], ended["FAILED"]) > FLOWS / 20, f"both ends must be common: {ended}"
