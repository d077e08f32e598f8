"""People are told: what happened is never lost, is sent at least once, and runs do not wait for it."""

from __future__ import annotations

import asyncio
import hmac
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import pytest
from aiohttp import web

from automata.api.app import create_app
from automata.services.notifier import RETRY_PAUSES_SEC, Notifier
from automata.settings import Settings
from automata.steps.egress import EgressPolicy, HttpTransport
from automata.steps.secrets import Secrets
from automata.store import notifications as store
from automata.store.sync import ensure_source, record_attempt
from tests.drive import BROKEN, Drive, Json, drive, step
from tests.emptying import empty

KEY, PIN = "a-key-of-both-sides", "pin-4711"
SECRETS = {"KEY": KEY, "TOKEN": "t0ken-of-the-flow"}
APPROVE = {"id": "ask", "type": "approval", "config": {"prompt": "ship {{ inputs.pin }}?"}}


@dataclass
class Receiver:
    """What arrived, each proven to be signed; `answers` are the next statuses, 204 when there is none."""

    got: list[Json] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    slow: float = 0.0
    rang: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        head = request.headers
        signed = f"{head['webhook-id']}.{head['webhook-timestamp']}.".encode() + body
        made = "v1," + b64encode(hmac.digest(KEY.encode(), signed, "sha256")).decode()
        assert head["webhook-signature"] == made
        self.ids.append(head["webhook-id"])
        self.got.append(json.loads(body))
        self.rang.set()
        await asyncio.sleep(self.slow)
        return web.Response(status=self.answers.pop(0) if self.answers else 204)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/hook", self.answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        finally:
            await runner.cleanup()


@dataclass
class Post:
    """A running site, a receiver, and a notifier that is turned by hand."""

    site: Drive
    receiver: Receiver
    notifier: Notifier
    source: UUID
    url: str

    async def rule(self, *on: str, **more: Any) -> None:
        async with self.site.db.transaction() as conn:
            rule = {"name": "ops", "on": list(on), "url": self.url, "secret": "KEY", **more}
            await store.replace_rules(conn, self.source, [rule])

    async def run_once(self) -> None:
        while await self.notifier.run_once():
            pass

    async def due(self) -> None:
        async with self.site.db.connection() as conn:
            await conn.execute("UPDATE notifications SET due_at = now() WHERE state = 'pending'")

    async def rows(self) -> list[store.NotificationRow]:
        async with self.site.db.connection() as conn:
            return (await store.list_notifications(conn)).items


@pytest.fixture
async def post(database_url: str) -> AsyncIterator[Post]:
    receiver = Receiver()
    transport = HttpTransport(EgressPolicy(allow_loopback=True))
    async with receiver.open() as hook, drive(database_url, secrets=SECRETS) as site:
        async with site.db.transaction() as conn:
            await empty(conn, "notifications, notification_events, notification_rules")
            source = await ensure_source(conn, "https://example.com/f.git", branch="main", environment="prod")
        notifier = Notifier(site.db, transport, Secrets(SECRETS), Settings())
        try:
            yield Post(site, receiver, notifier, source.id, hook)
        finally:
            await transport.close()


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    """What `look` finds, once it finds something."""
    async with asyncio.timeout(120):
        while not (found := await look()):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        return found


async def failed_run(site: Drive, name: str = "fails", **more: Any) -> UUID:
    site.play.script["a"] = [BROKEN]
    run = await site.start(await site.put(name, step("a"), **more))
    await site.ended(run)
    return run


async def test_a_failed_run_and_its_dead_letter_are_told_with_what_one_needs_to_look(post: Post) -> None:
    await post.rule("run.failed", "dead_letter")
    run = await failed_run(post.site)
    await post.run_once()
    told = {one["type"]: one["data"] for one in post.receiver.got}
    common = {"flow": "fails", "version": 1, "run_id": str(run), "step": "a"}
    error = {"code": "broken", "message": "it broke"}
    assert told["run.failed"] == {**common, "error": error}
    letter = told["dead_letter"]
    assert letter == {**common, "error": error, "attempts": 1, "dead_letter": letter["dead_letter"]}
    assert {row.state for row in await post.rows()} == {"delivered"}
    await post.run_once()
    assert len(post.receiver.got) == 2, "once each"


async def test_a_letter_is_told_to_the_rule_of_a_flow_above_once(post: Post) -> None:
    await post.rule("dead_letter", flows=["above"])
    await post.site.put("fails", step("a"))
    child = {"id": "child", "type": "flow", "config": {"flow": "fails"}}
    post.site.play.script["a"] = [BROKEN, BROKEN]
    for name in ("above", "other"):
        await post.site.ended(await post.site.start(await post.site.put(name, child)))
    await post.run_once()
    (told,) = post.receiver.got
    assert (told["data"]["flow"], told["data"]["step"]) == ("fails", "a")


async def test_a_run_that_succeeds_and_a_site_without_rules_write_no_event(post: Post) -> None:
    await failed_run(post.site)
    await post.rule("run.failed", "dead_letter", "approval.waiting")
    await post.site.ended(await post.site.start(await post.site.put("well", step("b"))))
    assert await post.site.value("SELECT count(*) FROM notification_events") == 0


async def test_an_open_approval_is_told_masked_and_one_that_was_decided_meanwhile_is_not(post: Post) -> None:
    await post.rule("approval.waiting")
    flow = await post.site.put("asks", APPROVE, inputs={"pin": {"secret": True}})
    run = await post.site.start(flow, pin=PIN)
    await until(lambda: post.site.value("SELECT about ->> 'run' FROM notification_events"))
    await post.run_once()
    (told,) = post.receiver.got
    assert told["data"]["prompt"] == "ship ***?"
    assert (told["data"]["run_id"], told["data"]["step"]) == (str(run), "ask")
    await post.site.start(flow, pin=PIN)
    id = await until(lambda: post.site.value("SELECT about ->> 'run' FROM notification_events"))
    async with post.site.db.connection() as conn:
        await conn.execute("DELETE FROM task_queue WHERE run_id = %s", [id])
    await post.run_once()
    assert len(post.receiver.got) == 1


async def test_a_secret_output_is_told_to_nobody(post: Post) -> None:
    await post.rule("approval.waiting")
    mint = {"id": "mint", "type": "transform", "config": {"mappings": {"t": "tok-canary"}}}
    mint["outputs"] = {"token": {"value": "{{ result.t }}", "secret": True}}
    prompt = "ship {{ steps.mint.outputs.token }}?"
    ask = {"id": "ask", "type": "approval", "depends_on": ["mint"], "config": {"prompt": prompt}}
    await post.site.start(await post.site.put("mints", mint, ask))
    await until(lambda: post.site.value("SELECT about ->> 'run' FROM notification_events"))
    await post.run_once()
    (told,) = post.receiver.got
    assert told["data"]["prompt"] == "ship ***?"


async def test_a_blocked_sync_is_told_once_for_each_commit_and_reason(post: Post) -> None:
    await post.rule("sync.blocked")
    for sha in ("a", "a", "b"):
        async with post.site.db.transaction() as conn:
            now = (await (await conn.execute("SELECT now()")).fetchone() or (None,))[0]
            error = {"code": "invalid_flows", "message": "1 error in flows/a.yaml"}
            await record_attempt(conn, post.source, "failed", sha=sha * 40, started_at=now, error=error)
    await post.run_once()
    assert sorted(one["data"]["sha"][0] for one in post.receiver.got) == ["a", "b"]
    assert post.receiver.got[0]["data"]["environment"] == "prod"


async def test_a_receiver_that_is_away_is_tried_again_under_the_same_id_and_given_up_in_the_end(post: Post) -> None:
    await post.rule("run.failed")
    post.receiver.answers = [500, 204]
    await failed_run(post.site)
    await post.run_once()
    (row,) = await post.rows()
    assert (row.state, row.attempts, row.status, row.error) == ("pending", 1, 500, "the receiver answered 500")
    await post.due()
    await post.run_once()
    assert post.receiver.ids == [f"msg_{row.id}"] * 2
    assert [one.state for one in await post.rows()] == ["delivered"]
    post.receiver.answers = [503] * 20
    await failed_run(post.site)
    for _ in range(len(RETRY_PAUSES_SEC) + 3):
        await post.run_once()
        await post.due()
    newest = (await post.rows())[0]
    assert (newest.state, newest.attempts) == ("failed", len(RETRY_PAUSES_SEC) + 1)


async def test_a_sender_that_dies_in_the_middle_leaves_the_message_due_again(post: Post) -> None:
    await post.rule("run.failed")
    post.receiver.slow = 3
    await failed_run(post.site)
    dying = asyncio.create_task(post.run_once())
    await post.receiver.rang.wait()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    post.receiver.slow = 0
    await post.run_once()
    assert len(post.receiver.got) == 1, "it is still claimed"
    await post.due()
    await post.run_once()
    assert len(set(post.receiver.ids)) == 1
    assert len(post.receiver.ids) == 2


async def test_two_notifiers_send_each_message_once(post: Post) -> None:
    await post.rule("run.failed")
    post.receiver.slow = 0.05
    for _ in range(10):
        await failed_run(post.site)
    await asyncio.gather(post.run_once(), post.run_once(), post.run_once())
    await post.run_once()
    assert len(post.receiver.ids) == len(set(post.receiver.ids)) == 10


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ({"secret": "NONE"}, "the worker has no secret NONE"),
        ({"url": "http://169.254.169.254/latest"}, "refused"),
        ({"url": "{{ secrets.TOKEN }}"}, "cannot be called"),
    ],
)
async def test_what_cannot_be_sent_says_why_and_keeps_nobody_else_waiting(post: Post, rule: Json, error: str) -> None:
    await post.rule("run.failed", **rule)
    await failed_run(post.site)
    await post.run_once()
    (row,) = await post.rows()
    assert row.state == "pending"
    assert error in str(row.error)
    assert SECRETS["TOKEN"] not in str(row.error)


async def test_over_rest_rules_are_listed_tested_and_sent_again(post: Post) -> None:
    await post.rule("run.failed", flows=["orders"])
    app = create_app(post.site.db, post.site.broker, Settings())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080/api/v1") as api:
        (rule,) = (await api.get("/notifications/rules")).json()["items"]
        assert (rule["name"], rule["environment"], rule["flows"]) == ("ops", "prod", ["orders"])
        assert rule["to"] == post.url.removesuffix("/hook"), "an address may be a way in"
        assert (await api.post("/notifications/test", json={"rule": "none"})).status_code == 404
        post.receiver.answers = [410]
        (made,) = (await api.post("/notifications/test", json={})).json()["items"]
        await post.run_once()
        shown = (await api.get(f"/notifications/{made['id']}")).json()
        assert (shown["state"], shown["status"], shown["kind"]) == ("failed", 410, "test")
        assert post.receiver.got[0]["type"] == "test"
        assert (await api.post(f"/notifications/{made['id']}/retry")).status_code == 200
        await post.run_once()
        listed = (await api.get("/notifications", params={"state": "delivered"})).json()["items"]
        assert [one["id"] for one in listed] == [made["id"]]
        again = await api.post(f"/notifications/{made['id']}/retry")
        assert (again.status_code, again.json()["code"]) == (409, "not_failed")
        assert (await api.get("/notifications", params={"state": "odd"})).status_code == 422
        assert (await api.get("/notifications", params={"cursor": "WyJhIiwiYiJd"})).status_code == 422
        assert (await api.get("/notifications/no-uuid")).status_code == 404


async def test_old_messages_go_and_those_that_are_to_be_sent_stay(post: Post) -> None:
    await post.rule("run.failed")
    post.receiver.answers = [204, 500]
    for _ in range(2):
        await failed_run(post.site)
        await post.run_once()
    async with post.site.db.connection() as conn:
        await conn.execute("UPDATE notifications SET created_at = now() - interval '31 days'")
        assert await store.delete_old(conn) == 1
    assert [row.state for row in await post.rows()] == ["pending"]
