"""Promise 6: a secret goes to the address that its flow names, and is nowhere else.

All processes for real, on PostgreSQL and RabbitMQ. The services echo what they are sent wherever an answer can hold it.
A marker that is no secret travels beside the canaries; a place that does not hold it would prove nothing.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import secrets
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aio_pika
import httpx
import psycopg
import pytest
from psycopg import sql

from automata.broker import topology
from tests import warm
from tests.api.deliveries import signed
from tests.git.served import USER, serving
from tests.promises.canary import canary, echoing, leaks, needles, vault
from tests.promises.fleet import Member, fleet
from tests.promises.processes import environment, until
from tests.rabbitmq import emptied, worker_url

NAMES = ("ENV_KEY", "FILE_KEY", "VAULT_KEY", "HOOK_KEY", "TOLD_KEY")
PARTS = ("controller", "scheduler", "orchestrator", "worker")
MAX_PAGES = 120


def flows(url: str) -> dict[str, dict[str, Any]]:
    ways = {
        "method": "POST",
        "headers": {
            "X-Key": "{{ secrets.ENV_KEY }}",
            "X-Coded": "{{ secrets.FILE_KEY | b64encode }}",
            "X-Long": "before {{ secrets.VAULT_KEY }} after",
            "X-Mark": "{{ inputs.mark }}",
        },
        "query": {"q": "{{ secrets.VAULT_KEY }}", "mark": "{{ inputs.mark }}"},
        "auth": {"basic": {"username": "me", "password": "{{ secrets.FILE_KEY }}"}},
        "body": {
            "plain": "{{ secrets.ENV_KEY }}",
            "inner": "{{ {'deep': secrets.FILE_KEY} | json }}",
            "coded": "{{ ('user:' ~ secrets.VAULT_KEY) | b64encode }}",
            "quoted": "a={{ secrets.ENV_KEY | urlencode }}",
            "mark": "{{ inputs.mark }}",
        },
    }
    inputs = {"mark": {"type": "string", "required": True}}
    hook = {"name": "shop", "secret": "HOOK_KEY"}
    later = "{{ steps.send.outputs.body }}"
    return {
        "canary": {
            "name": "canary",
            "inputs": inputs,
            "webhooks": [hook],
            "outputs": {"all": later, "was": "{{ steps.send.outputs.headers['x-was'] }}"},
            "steps": [
                {"id": "send", "type": "http", "config": {"url": f"{url}/echo", **ways}},
                {"id": "moved", "type": "http", "config": {"url": f"{url}/moved", **ways}},
                {"id": "pick", "type": "transform", "depends_on": ["send"], "config": {"mappings": {"all": later}}},
                {
                    "id": "later",
                    "type": "http",
                    "depends_on": ["send"],
                    "config": {"method": "POST", "url": f"{url}/echo", "body": later},
                },
            ],
        },
        "fails": {
            "name": "fails",
            "inputs": inputs,
            "steps": [{"id": "send", "type": "http", "config": {"url": f"{url}/fail", **ways}}],
        },
    }


def write_repository(place: Path, url: str) -> Path:
    files = {f"flows/{name}.json": json.dumps(flow) for name, flow in flows(url).items()}
    told = [{"name": "on-call", "on": ["run.failed", "dead_letter"], "url": f"{url}/told", "secret": "TOLD_KEY"}]
    files["environments/prod.yaml"] = json.dumps({"secrets": list(NAMES), "recording": "on", "notifications": told})
    files["automata.yaml"] = json.dumps(
        {"flows": ["flows"], "environments": {"prod": {"branch": "main", "file": "environments/prod.yaml"}}}
    )
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "flows"]):
        subprocess.run(["git", *identity, *command], cwd=place, check=True)
    return place


class Spy(threading.Thread):
    """Hears all that passes the exchanges."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.heard = url, b""
        self.up, self.over = threading.Event(), threading.Event()

    def run(self) -> None:
        asyncio.run(self._listen())

    async def _listen(self) -> None:
        connection = await aio_pika.connect(self.url)
        async with connection, connection.channel() as channel:
            queue = await channel.declare_queue(exclusive=True)
            for name in (topology.RUNS, topology.TASKS, topology.DLQ):
                await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, durable=True)
                await queue.bind(name, "#")

            async def hear(message: Any) -> None:
                self.heard += message.body + repr((message.routing_key, message.headers)).encode()

            await queue.consume(hear, no_ack=True)
            self.up.set()
            await asyncio.to_thread(self.over.wait)


class Scene:
    """What was hidden, what travelled beside it, and what each place holds."""

    def __init__(self) -> None:
        self.hidden: dict[str, str] = {}
        self.mark = f"mark{secrets.token_hex(8)}"
        self.places: dict[str, bytes] = {}
        self.runs: list[str] = []
        self.sent = b""


def dump(url: str) -> Iterator[tuple[str, bytes]]:
    with psycopg.connect(url) as conn:
        names = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (name,) in names:
            with conn.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(name))) as rows:
                yield f"table {name}", b"".join(map(bytes, rows))


def answers(client: httpx.Client, known: dict[str, list[str]]) -> Iterator[tuple[str, bytes]]:
    """Every GET of the description, for every id that the listings gave."""
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        if "get" not in methods:
            continue
        filled = [path]
        for name in re.findall(r"{(\w+)", path):
            values = known.get(name) or known.get(path.split("/")[3]) or []
            filled = [re.sub(rf"{{{name}[^}}]*}}", value, one) for one in filled for value in values]
        for one in filled:
            answer = client.get(one, params={"last": 20} if one.endswith("recordings") else None)
            assert answer.status_code < 500, (one, answer.text)
            assert answer.status_code not in (401, 403, 422), (one, answer.text)
            if answer.status_code == 200:
                yield f"GET {one}", answer.content + repr(answer.headers.multi_items()).encode()


def pages(client: httpx.Client, *first: str) -> Iterator[tuple[str, bytes]]:
    """What the console leads to."""
    wait, seen = ["/", *first], set()
    while wait and len(seen) < MAX_PAGES:
        path = wait.pop(0)
        if path in seen or path.startswith(("/static", "/api")):
            continue
        seen.add(path)
        answer = client.get(path, headers={"Accept": "text/html"}, follow_redirects=True)
        assert answer.status_code < 500, path
        yield f"page {path}", answer.content
        wait += [found.replace("&amp;", "&") for found in re.findall(r'href="(/[^"#]*)', answer.text)]


def said(env: dict[str, str], *words: str) -> bytes:
    done = warm.run(["automata", *words], env=env)
    assert done.returncode in (0, 1), done.stderr
    return (done.stdout + done.stderr).encode()


@pytest.fixture(scope="module")
def scene(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene, home = Scene(), tmp_path_factory.mktemp("canary")
    scene.hidden = {name: canary(name.lower()) for name in NAMES} | {
        name: secrets.token_hex(24) for name in ("vault token", "git token", "session secret", "forge secret")
    }
    hidden, folder = scene.hidden, home / "secrets"
    folder.mkdir()
    (folder / "FILE_KEY").write_text(hidden["FILE_KEY"])
    with contextlib.ExitStack() as stack:
        echo = stack.enter_context(echoing())
        amqp = stack.enter_context(emptied(worker_url()))
        place = write_repository(home / "flows", echo.url)
        git = stack.enter_context(serving(home))
        git.expected = "Basic " + base64.b64encode(f"{USER}:{hidden['git token']}".encode()).decode()
        shop = stack.enter_context(vault(hidden["vault token"], VAULT_KEY=hidden["VAULT_KEY"]))
        env = environment(
            database_url,
            AUTOMATA_AMQP_URL=amqp,
            AUTOMATA_AUTH="on",
            AUTOMATA_REPO=f"http://{USER}:{hidden['git token']}@127.0.0.1:{git.server_port}/{place.name}/.git",
            AUTOMATA_SESSION_SECRET=hidden["session secret"],
            AUTOMATA_SYNC_WEBHOOK_SECRET=hidden["forge secret"],
            AUTOMATA_SECRETS_DIR=str(folder),
            AUTOMATA_VAULT_ADDR=shop,
            AUTOMATA_VAULT_TOKEN=hidden["vault token"],
            AUTOMATA_OTLP_URL=echo.url,
            AUTOMATA_LOG_LEVEL="debug",
            AUTOMATA_DATA_DIR=str(home / "data"),
            AUTOMATA_SECRET_ENV_KEY=hidden["ENV_KEY"],
            AUTOMATA_SECRET_HOOK_KEY=hidden["HOOK_KEY"],
            AUTOMATA_SECRET_TOLD_KEY=hidden["TOLD_KEY"],
        )
        made = json.loads(said(env, "token", "create", "ops", "--role", "admin", "-o", "json"))
        hidden["token"] = made["token"][-40:]
        env["AUTOMATA_TOKEN"] = made["token"]
        spy = Spy(amqp)
        spy.start()
        assert spy.up.wait(120)
        members = [Member(part, env, log=home / f"{part}.log") for part in ("api", *PARTS)]
        with fleet(*members) as (api, *others):
            env["AUTOMATA_API_URL"] = api.address
            work(scene, api, made["token"], home, env)
            for member in (api, *others):
                scene.places[f"metrics of {member.part}"] = httpx.get(
                    f"{member.address}/metrics", headers={"Authorization": f"Bearer {made['token']}"}
                ).content
            scene.places |= dict(dump(database_url))
            for member in (*others, api):
                member.process.terminate()  # type: ignore[union-attr] # what they still hold of traces is sent now
            for member in (*others, api):
                member.process.wait(120)  # type: ignore[union-attr]
                with member.process.stdout as rest:  # type: ignore[union-attr]
                    told = rest.read().encode()
                scene.places[f"log of {member.part}"] = member.log.read_bytes() + told  # type: ignore[union-attr]
        spy.over.set()
        spy.join(120)
        scene.places |= {"broker": spy.heard, "traces": echo.traces}
        scene.sent = echo.seen
        yield scene


def work(scene: Scene, api: Member, token: str, home: Path, env: dict[str, str]) -> None:
    with httpx.Client(base_url=api.address, timeout=120) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        until(lambda: client.get("/api/v1/flows/fails").status_code == 200, "the flows are synced")
        for flow in ("canary", "fails"):
            answer = client.post(f"/api/v1/flows/{flow}/runs", json={"inputs": {"mark": scene.mark}})
            scene.runs.append(answer.json()["id"])
        body = json.dumps({"mark": scene.mark}).encode()
        headers = signed(body, secret=scene.hidden["HOOK_KEY"], where="canary/shop")
        scene.runs.append(client.post("/api/v1/hooks/canary/shop", content=body, headers=headers).json()["id"])
        forged = signed(body, "d-2", secret="x" * 20)
        assert client.post("/api/v1/hooks/canary/shop", content=body, headers=forged).status_code == 401
        ends = lambda: [client.get(f"/api/v1/runs/{run}").json()["status"] for run in scene.runs]  # noqa: E731
        until(lambda: ends() == ["SUCCEEDED", "FAILED", "SUCCEEDED"], "the runs have ended")
        listed = lambda what: client.get(f"/api/v1/{what}").json()["items"]  # noqa: E731
        until(lambda: any(one["error"] for one in listed("notifications")), "a notification was refused")
        known = {"name": ["canary", "fails"], "run_id": scene.runs, "step": ["send", "moved", "later"]}
        for what in ("notifications", "dlq", "tokens", "sync"):
            known[what] = [str(one["id"]) for one in listed(what)]
        scene.places |= dict(answers(client, known))
    with httpx.Client(base_url=api.address, timeout=120) as person:
        answer = person.post("/sign-in", json={"token": token})
        assert answer.status_code == 200, answer.text
        (cookie,) = person.cookies.jar
        scene.hidden["session"] = str(cookie.value)
        steps = [f"/runs/{run}/steps/send" for run in scene.runs]
        scene.places |= dict(pages(person, *(f"/runs/{run}" for run in scene.runs), *steps))
    run, failed, _ = scene.runs
    for words in (
        ["run", "show", run],
        ["run", "tasks", run],
        ["run", "logs", failed],
        ["dlq", "list"],
        ["audit", "list"],
    ):
        for form in ("table", "json"):
            scene.places[f"automata {words[0]} {words[1]} {form}"] = said(env, *words, "-o", form)
    told = home / "recorded"
    scene.places["automata record"] = said(env, "record", run, failed, "--to", str(told))
    scene.places["recordings on disk"] = b"".join(path.read_bytes() for path in told.glob("*.json"))


def context(scene: Scene, place: str) -> str:
    """What stands around the first find, for whoever has to mend it; the values are of no use to anybody."""
    text = scene.places[place]
    at = min(text.find(one) for value in scene.hidden.values() for one in needles(value) if one in text)
    return repr(text[max(0, at - 80) : at + 80])


def test_the_canaries_went_where_the_flows_sent_them(scene: Scene) -> None:
    assert leaks(scene.hidden, scene.sent) >= {"ENV_KEY", "FILE_KEY", "VAULT_KEY"}


def test_no_place_holds_a_canary(scene: Scene) -> None:
    found = {place: names for place, text in scene.places.items() if (names := leaks(scene.hidden, text))}
    assert not found, {place: context(scene, place) for place in found}


def test_every_kind_of_place_holds_what_travelled_beside_them(scene: Scene) -> None:
    marked = {place for place, text in scene.places.items() if scene.mark.encode() in text}
    for place in ("table runs", "table dead_letters", "table notifications", "recordings on disk"):
        assert place in marked, (place, sorted(marked))
    searched = Counter(place.split(" ")[0] for place in scene.places)
    assert searched["table"] >= 25, searched
    assert searched["GET"] >= 40, searched
    assert searched["page"] >= 30, searched
    kinds = {place.split(" ")[0] for place in marked}
    assert kinds >= {"table", "GET", "page", "automata"}, sorted(kinds)
    assert any(place.startswith("GET /api/v1/dlq/") for place in marked), sorted(marked)
    assert scene.runs[0].encode() in scene.places["broker"]
    assert b"run canary" in scene.places["traces"]
    assert b"on-call" in scene.places["log of worker"]
    assert all(b"automata_" in text for place, text in scene.places.items() if place.startswith("metrics"))
