"""A trace a run, a span an attempt, sent to a real OTLP/HTTP receiver; and nothing at all where traces are off."""

from __future__ import annotations

import asyncio
import gzip
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from automata.api.app import create_app
from automata.errors import Usage
from automata.settings import Settings, load
from automata.steps.registry import load_types
from automata.tracing import Tracing, attempt_span, open_tracing, run_span, valid_traceparent
from tests.drive import FLAKY, Drive, drive, step

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SENT = f"00-{TRACE}-{PARENT}-01"
RUN = UUID("0197f000-0000-7000-8000-00000000ffff")


@dataclass
class Collector:
    """Takes spans at /v1/traces, and is the service that flows call at /call."""

    spans: list[Any] = field(default_factory=list)
    called: list[str | None] = field(default_factory=list)
    raw: bytes = b""
    url: str = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        body = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            assert any(one.key == "service.name" for one in resource.resource.attributes)
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return web.Response()

    async def call(self, request: web.Request) -> web.Response:
        self.called.append(request.headers.get("traceparent"))
        return web.json_response({})

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        app = web.Application()
        app.add_routes([web.post("/v1/traces", self.take), web.get("/call", self.call)])
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()


@dataclass
class Traced:
    """A server that traces, an API beside it, and the collector of its spans."""

    site: Drive
    api: httpx.AsyncClient
    collector: Collector
    server: AsyncExitStack

    async def start(self, name: str, **headers: str) -> UUID:
        return await start(self.site, self.api, name, **headers)

    async def sent(self) -> Collector:
        """Ends the server, which sends what it still has to say; what arrived in all."""
        await self.server.aclose()
        return self.collector


@pytest.fixture
async def traced(database_url: str) -> AsyncIterator[Traced]:
    collector = Collector()
    async with collector.open(), AsyncExitStack() as server:
        settings = Settings(otlp_url=collector.url, trace_ratio=1.0)
        tracing = open_tracing(settings)
        assert tracing is not None
        server.push_async_callback(asyncio.to_thread, tracing.close)
        site = await server.enter_async_context(
            drive(database_url, types={"http": load_types()["http"]}, tracing=tracing)
        )
        transport = httpx.ASGITransport(create_app(site.db, site.broker, settings, secrets={}))
        api = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080/api/v1")
        yield Traced(site, await server.enter_async_context(api), collector, server)


def call(collector: Collector, **headers: str) -> dict[str, Any]:
    config = {"url": f"{collector.url}/call", **({"headers": headers} if headers else {})}
    return {"id": "call", "type": "http", "config": config}


async def start(site: Drive, api: httpx.AsyncClient, name: str, **headers: str) -> UUID:
    answer = await api.post(f"/flows/{name}/runs", json={}, headers=headers)
    assert answer.status_code == 201, answer.text
    run = UUID(answer.json()["id"])
    await site.ended(run)
    return run


def facts(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


async def test_a_run_goes_on_in_the_trace_of_its_request_and_sends_it_to_whom_it_calls(traced: Traced) -> None:
    await traced.site.put("traced", call(traced.collector))
    await traced.start("traced", traceparent=SENT)
    collector = await traced.sent()
    (run,) = collector.named("run traced")
    (attempt,) = collector.named("step call")
    assert (run.trace_id.hex(), run.parent_span_id.hex()) == (TRACE, PARENT)
    assert (attempt.trace_id.hex(), attempt.parent_span_id) == (TRACE, run.span_id)
    assert collector.called == [f"00-{TRACE}-{attempt.span_id.hex()}-01"]
    assert run.start_time_unix_nano <= attempt.start_time_unix_nano + 5_000_000
    assert attempt.end_time_unix_nano >= attempt.start_time_unix_nano
    assert facts(attempt)["automata.step.type"] == "http"
    assert facts(run)["automata.run.status"] == "SUCCEEDED"


async def test_every_attempt_is_a_span_with_its_error_and_what_a_flow_starts_is_in_its_trace(traced: Traced) -> None:
    await traced.site.put("below", step("b"))
    traced.site.play.script["a"] = [FLAKY]
    retry = {"max_attempts": 2, "backoff": {"type": "fixed", "delay_sec": 0}}
    await traced.site.put(
        "above",
        step("a", retry=retry),
        {"id": "child", "type": "flow", "depends_on": ["a"], "config": {"flow": "below"}},
    )
    await traced.start("above")
    collector = await traced.sent()
    first, second = collector.named("step a")
    assert (facts(first)["error.type"], facts(first)["automata.attempt"]) == ("flaky", 1)
    assert "error.type" not in facts(second)
    assert (first.status.code, second.status.code) == (2, 1)
    (above,), (below,) = collector.named("run above"), collector.named("run below")
    assert above.trace_id == UUID(facts(above)["automata.run"]).bytes, "found by the run's id"
    assert (below.trace_id, below.parent_span_id) == (above.trace_id, above.span_id)
    assert not above.parent_span_id


async def test_what_is_not_sampled_is_sent_on_and_not_stored_and_a_flow_may_say_its_own(traced: Traced) -> None:
    own = f"00-{TRACE}-{'1' * 16}-00"
    await traced.site.put("traced", call(traced.collector))
    await traced.site.put("own", call(traced.collector, TraceParent=own))
    await traced.start("traced", traceparent=SENT[:-2] + "00")
    await traced.start("own", traceparent=SENT[:-2] + "00")
    collector = await traced.sent()
    assert collector.spans == []
    first, second = collector.called
    assert first is not None
    assert first.startswith(f"00-{TRACE}-")
    assert first.endswith("-00")
    assert second == own


async def test_spans_hold_no_values_of_flows(traced: Traced) -> None:
    canary = "canary-0f5e1d"
    wrong = {"url": f"{traced.collector.url}/gone/{canary}", "body": canary, "method": "POST"}
    await traced.site.put("fails", {"id": "call", "type": "http", "config": wrong})
    await traced.start("fails")
    collector = await traced.sent()
    assert facts(collector.named("step call")[0])["error.type"]
    assert canary.encode() not in collector.raw


async def test_a_collector_that_is_away_costs_no_run_and_no_long_end(database_url: str, unused_tcp_port: int) -> None:
    tracing = Tracing(f"http://127.0.0.1:{unused_tcp_port}", 1.0)
    async with drive(database_url, tracing=tracing) as site:
        await site.ended(await site.start(await site.put("plain", step("a"))))
    began = time.monotonic()
    await asyncio.to_thread(tracing.close)
    assert time.monotonic() - began < 8


@pytest.fixture
def unused_tcp_port() -> int:
    from tests.cli.test_app import closed_port

    return closed_port()


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        (SENT, SENT),
        (f" {SENT} ", SENT),
        (f"00-{TRACE}-{PARENT}-03", SENT),
        (f"cc-{TRACE}-{PARENT}-01-what-comes-later", SENT),
        (f"00-{TRACE}-{PARENT}-01-more", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT}", None),
        ("cc-" + "x" * 100_000, None),
        ("", None),
        (None, None),
    ],
)
def test_a_header_that_is_none_is_as_if_not_sent(header: str | None, kept: str | None) -> None:
    assert valid_traceparent(header) == kept


def test_processes_agree_on_spans_and_on_what_is_sampled_without_asking() -> None:
    one, other = (run_span(RUN, 1, None, 0.5) for _ in range(2))
    assert one == other
    assert attempt_span(one, RUN) == attempt_span(other, RUN)
    assert run_span(RUN, 2, None, 0.5).span != one.span
    sampled = [run_span(UUID(int=RUN.int ^ (n * 2_654_435_761 << 20)), 1, None, 0.25).sampled for n in range(2_000)]
    assert 400 < sum(sampled) < 600
    assert not run_span(RUN, 1, None, 0).sampled
    assert run_span(UUID(int=2**128 - 1), 1, None, 1).sampled
    assert run_span(RUN, 1, SENT, 0).sampled, "who starts it decides"


@pytest.mark.parametrize("value", ["1.5", "-1", "much"])
def test_a_ratio_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(Usage, match="TRACE_RATIO"):
        load({"AUTOMATA_TRACE_RATIO": value})


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(Usage, match="OTLP_URL"):
        load({"AUTOMATA_OTLP_URL": "collector:4317"})


def test_where_traces_are_off_nothing_of_them_is_imported() -> None:
    code = (
        "import sys; import automata.cli.services, automata.services.process, automata.api.app, automata.tracing as t\n"
        "from automata.settings import Settings\n"
        "assert t.open_tracing(Settings()) is None\n"
        "print([n for n in sys.modules if n.startswith(('opentelemetry.sdk', 'opentelemetry.exporter', 'requests'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_where_the_extra_is_missing_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    with pytest.raises(Usage, match="missing") as raised:
        open_tracing(Settings(otlp_url="http://127.0.0.1:4318"))
    assert "automata-flows[otel]" in str(raised.value.hint)


async def test_where_traces_are_off_no_header_is_kept_or_sent(database_url: str) -> None:
    collector = Collector()
    async with collector.open(), drive(database_url, types={"http": load_types()["http"]}) as site:
        app = create_app(site.db, site.broker, Settings(), secrets={})
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080/api/v1") as api:
            await site.put("traced", call(collector))
            run = await start(site, api, "traced", traceparent=SENT)
        assert await site.value("SELECT traceparent FROM runs WHERE id = %s", run) is None
    assert collector.called == [None]
