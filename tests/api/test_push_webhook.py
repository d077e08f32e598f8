"""A forge tells that a branch moved: hints for the controller, and nothing for whoever has no secret."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from typing import Any

import pytest

from automata.api.app import create_app
from automata.broker.local import LocalBroker
from automata.errors import Usage
from automata.settings import Settings, load
from automata.store.sync import ensure_source, get_source
from automata.telemetry import REGISTRY
from tests.api.deliveries import signed

V1 = "/api/v1"
SECRET = "canary-77d0c1a2b3"
URL = "https://git.example.com/team/flows.git"
PUSH = {"ref": "refs/heads/main", "repository": {"clone_url": URL}}


def github(payload: Any = PUSH, delivery: str = "d-1", *, secret: str = SECRET, event: str = "push") -> dict[str, Any]:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={mac}", "X-GitHub-Delivery": delivery, "X-GitHub-Event": event}
    return {"content": body, "headers": headers | {"Content-Type": "application/json"}}


def gitlab(payload: Any = PUSH, delivery: str = "d-1", *, secret: str = SECRET) -> dict[str, Any]:
    headers = {"X-Gitlab-Token": secret, "Idempotency-Key": delivery, "X-Gitlab-Event": "Push Hook"}
    return {"content": json.dumps(payload).encode(), "headers": headers | {"Content-Type": "application/json"}}


def ours(payload: Any = PUSH, delivery: str = "d-1", **more: Any) -> dict[str, Any]:
    body = json.dumps(payload).encode()
    return {"content": body, "headers": signed(body, delivery, **{"secret": SECRET, "where": "", **more})}


async def source(site: Any, url: str = URL, branch: str = "main", environment: str = "prod") -> Any:
    async with site.db.transaction() as conn:
        return await ensure_source(conn, url, branch=branch, environment=environment)


async def hinted(site: Any, row: Any) -> Any:
    async with site.db.connection() as conn:
        return (await get_source(conn, row.id)).hinted_at


async def hook(site: Any, request: dict[str, Any]) -> Any:
    return await site.http.post(f"{V1}/sync/hook", **request)


def counted(result: str) -> float:
    return REGISTRY.get_sample_value("automata_sync_hints_total", {"result": result}) or 0.0


@pytest.mark.parametrize("forge", [github, gitlab, ours])
async def test_a_push_hints_the_sources_that_follow_the_branch_once(open_site, forge):
    site = await open_site(sync_webhook_secret=SECRET)
    follows = [await source(site), await source(site, "git@git.example.com:team/flows", environment="dev")]
    others = [await source(site, branch="develop", environment="stage"), await source(site, "https://x.test/a")]
    before = counted("hinted")
    answer = await hook(site, forge())
    assert (answer.status_code, answer.json()) == (202, {"result": "hinted", "sources": 2})
    first = [await hinted(site, row) for row in follows]
    assert None not in first
    assert [await hinted(site, row) for row in others] == [None, None]
    again = await hook(site, forge())
    assert (again.status_code, again.json()["result"]) == (202, "repeated")
    assert [await hinted(site, row) for row in follows] == first, "a replayed delivery has no second effect"
    assert (await hook(site, forge(PUSH | {"after": "b" * 40}, "d-2"))).json()["result"] == "hinted"
    assert await hinted(site, follows[0]) > first[0]
    assert counted("hinted") - before == 2


async def test_of_a_crowd_with_one_delivery_one_has_an_effect(open_site):
    site = await open_site(sync_webhook_secret=SECRET)
    await source(site)
    answers = await asyncio.gather(*(hook(site, github()) for _ in range(12)))
    assert sorted(answer.json()["result"] for answer in answers) == ["hinted"] + ["repeated"] * 11


async def test_every_refusal_is_the_same_and_leaves_nothing(open_site):
    site = await open_site(sync_webhook_secret=SECRET)
    row = await source(site)
    body = json.dumps(PUSH).encode()
    bare = {"content": body, "headers": {"Content-Type": "application/json"}}
    twice = [*github()["headers"].items(), ("X-Hub-Signature-256", github()["headers"]["X-Hub-Signature-256"])]
    wrong = [
        bare,
        github(secret="guess-guess-guess-"),
        gitlab(secret="guess-guess-guess-"),
        gitlab(secret=SECRET[:-1]),
        ours(age=310),
        ours(age=-310),
        ours(secret="guess-guess-guess-"),
        {**github(), "content": body + b" "},
        {"content": b"\xff not json", "headers": github()["headers"]},
        {"content": body, "headers": twice},
        {"content": body, "headers": github()["headers"] | {"X-Gitlab-Token": SECRET}},
    ]
    before, answers = counted("refused"), [await hook(site, one) for one in wrong]
    said = {json.dumps({k: v for k, v in one.json().items() if k != "instance"}, sort_keys=True) for one in answers}
    assert {answer.status_code for answer in answers} == {401}
    assert len(said) == 1, said
    assert counted("refused") - before == len(wrong)
    assert await hinted(site, row) is None
    async with site.db.connection() as conn:
        cursor = await conn.execute("SELECT count(*) FROM sync_deliveries")
        assert await cursor.fetchone() == (0,)


async def test_without_a_secret_every_delivery_is_refused(site):
    row = await source(site)
    for request in (github(secret=""), gitlab(secret=""), github(), ours()):
        assert (await hook(site, request)).status_code == 401
    assert await hinted(site, row) is None


async def test_the_old_secret_is_good_while_the_new_one_is_brought_in(open_site):
    site = await open_site(sync_webhook_secret=f"new-secret-16-bytes\n{SECRET}")
    await source(site)
    assert (await hook(site, github(delivery="a"))).status_code == 202
    assert (await hook(site, github(PUSH | {"n": 1}, "b", secret="new-secret-16-bytes"))).status_code == 202


@pytest.mark.parametrize("weak", ["short", "a" * 15, "x" * 16 + "\n" + "y" * 16 + "\n" + "z" * 16])
def test_a_weak_secret_keeps_the_api_from_starting(weak):
    with pytest.raises(Usage, match="AUTOMATA_SYNC_WEBHOOK_SECRET"):
        create_app(None, LocalBroker(), Settings(sync_webhook_secret=weak))  # type: ignore[arg-type]


def test_the_secret_is_never_shown_with_the_settings():
    settings = load({"AUTOMATA_SYNC_WEBHOOK_SECRET": SECRET})
    assert settings.sync_webhook_secret == SECRET
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    "payload",
    [
        PUSH | {"ref": "refs/tags/v1"},
        PUSH | {"ref": "refs/heads/" + "x" * 5000},
        {"ref": "refs/heads/main", "repository": {"clone_url": "https://git.example.com/other.git"}},
        {"ref": "refs/heads/main", "repository": {"url": "~nobody-of-this-name"}},
        {"zen": "Keep it logically awesome."},
        [PUSH],
        None,
    ],
)
async def test_what_concerns_nobody_is_taken_and_ignored(open_site, payload):
    site = await open_site(sync_webhook_secret=SECRET)
    row = await source(site)
    answer = await hook(site, github(payload))
    assert (answer.status_code, answer.json()) == (202, {"result": "ignored", "sources": 0})
    assert await hinted(site, row) is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b'{"ref": ' * 5000, 400),
        (b"", 400),
        (b'{"ref": "refs/heads/main", "repository": "\\ud800"}', None),
        (b'{"ref": "refs/heads/\\u0000", "repository": "\\u0000"}', None),
    ],
)
async def test_a_signed_body_that_is_no_json_is_no_crash(open_site, body, status):
    site = await open_site(sync_webhook_secret=SECRET)
    await source(site)
    answer = await hook(site, github(body))
    assert answer.status_code == status or (status is None and answer.status_code in (202, 400)), answer.text


async def test_a_form_is_refused_with_what_to_set(open_site):
    site = await open_site(sync_webhook_secret=SECRET)
    request = github()
    request["headers"] |= {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await hook(site, request)
    assert (answer.status_code, "content type" in answer.json()["hint"]) == (415, True)


async def test_a_body_that_is_too_large_is_not_read_to_its_end(open_site):
    site = await open_site(sync_webhook_secret=SECRET, hook_body_bytes=2048)
    assert (await hook(site, github(PUSH | {"x": "y" * 3000}))).status_code == 413
    assert (await hook(site, github(PUSH | {"x": "y" * 1000}))).status_code == 202


async def test_a_large_signed_body_is_verified_too(open_site):
    site = await open_site(sync_webhook_secret=SECRET)
    await source(site)
    assert (await hook(site, github(PUSH | {"x": "y" * 200_000}))).json()["result"] == "hinted"
