"""Two flows with all that hangs on them, one of which whoever asks may not know of, and the proof that they do not."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from automata.engine.decision import FOREVER
from automata.store.orchestrator_queue import SettleRow
from automata.store.queue_sentinels import ADVANCE
from automata.store.recordings import Recording, save_recordings
from automata.store.task_logs import TaskLog
from automata.store.task_logs import save_logs as keep_logs
from automata.store.waiting_codec import ApprovalWait, encode_array
from tests.api.conftest import V1, Site

MINE = {"team": "billing", "tier": '50% \\ "one"'}
FOREIGN = {"team": "shop", "tier": MINE["tier"]}
STEP = "fetch"
# Which run of a world a route is about; any other is about the one that failed.
_RUN_OF = {"cancel": "waiting", "approvals": "waiting", "recording": "recorded"}


@dataclass
class World:
    """`runs`: failed (with an open dead letter), waiting (for a decision), recorded (at its end)."""

    name: str
    flow: str
    runs: Mapping[str, str]
    letter: int
    schedule: str

    def run(self, path: str) -> str:
        return next((self.runs[kind] for word, kind in _RUN_OF.items() if word in path.split("/")), self.runs["failed"])

    def address(self, path: str) -> str:
        """A route's path with what is in its place here."""
        values = {
            "name": self.name,
            "run_id": self.run(path),
            "letter_id": str(self.letter),
            "schedule_id": self.schedule,
            "step": "sign" if "approvals" in path else STEP,
            "number": "1",
            "action": "retry",
        }
        return re.sub(r"\{(\w+)(:\w+)?\}", lambda part: values[part[1]], path)

    def marks(self) -> list[str]:
        """What tells of it wherever it stands."""
        return [self.name, self.flow, self.schedule, *self.runs.values(), *self._ends()]

    def _ends(self) -> list[str]:
        """How a page shows the ids of runs."""
        return [one[-12:] for one in self.runs.values()]


# As long as a real one each, so that answers about it are as long too; 9 is no letter of a test's.
def unknown(like: World) -> World:
    """What is asked for in the place of `like`, and is not there."""
    ids = iter(str(UUID(int=0x7000_8000_0000_0000_0000 + n)) for n in range(9))
    name = "".join("x" if one.isalnum() else one for one in like.name)
    return World(name, next(ids), {kind: next(ids) for kind in like.runs}, like.letter + 10**6, next(ids))


async def build(site: Site, name: str, labels: Mapping[str, str]) -> World:
    """Make a world, as somebody who may."""
    steps = [
        {"id": STEP, "type": "http", "config": {"url": "https://example.com"}},
        {"id": "sign", "type": "approval", "config": {"prompt": f"{name}-says"}},
    ]
    made = await site.flow(name, labels=dict(labels), recording="on", steps=steps)
    await site.flow(name, labels=dict(labels), recording="on", steps=steps, description=f"{name}-says")
    failed, waiting, recorded = [await site.run(name) for _ in range(3)]
    error = {"code": "http_status", "message": f"{name}-says", "step": STEP}
    await site.start(failed)
    await site.apply(settle=[SettleRow(UUID(failed["id"]), STEP, "FAILED", None, None, error)])
    await site.finish(failed, "FAILED", error=error)
    await site.start(waiting)
    async with site.db.transaction() as conn:
        await conn.execute(
            "INSERT INTO task_queue (run_id, step, lane, ready_at, version_id, reads)"
            " SELECT id, 'sign', %(lane)s, %(never)s::timestamptz, version_id, %(reads)s::text[]"
            " FROM runs WHERE id = %(run)s"
            " UNION ALL SELECT id, %(step)s, %(own)s, now(), version_id, '{}' FROM runs WHERE id = %(run)s",
            {
                "lane": ADVANCE,
                "never": FOREVER,
                "reads": encode_array(ApprovalWait(f"{name}-says")),
                "run": UUID(waiting["id"]),
                "step": STEP,
                "own": f"{name}-lane",
            },
        )
        await save_recordings(conn, [Recording(UUID(recorded["id"]), STEP, 1, "[]")])
        line = f'[{{"at": "2026-01-01T00:00:00Z", "level": "info", "message": "{name}-says"}}]'
        await keep_logs(conn, [TaskLog(UUID(run["id"]), STEP, 1, line) for run in (failed, recorded)])
    await site.finish(recorded)
    given = {"flow": name, "name": f"{name}-nightly", "cron": "0 3 * * *"}
    schedule = await site.http.post(f"{V1}/schedules", json=given)
    assert schedule.status_code == 201, schedule.text
    async with site.db.connection() as conn:
        row = await (await conn.execute("SELECT id FROM dead_letters WHERE run_id = %s", [failed["id"]])).fetchone()
    assert row
    runs = {"failed": failed["id"], "waiting": waiting["id"], "recorded": recorded["id"]}
    return World(name, made["id"], runs, row[0], schedule.json()["id"])


async def kept(site: Site, world: World) -> list[Any]:
    """All that somebody could have changed of it."""
    async with site.db.connection() as conn:
        return [await (await conn.execute(one, {"flow": world.flow})).fetchall() for one in _KEPT]


_KEPT = (
    "SELECT current_version_id, archived_at FROM flows WHERE id = %(flow)s",
    "SELECT id FROM runs WHERE flow_id = %(flow)s ORDER BY id",
    "SELECT run_id, status FROM run_results WHERE flow_id = %(flow)s ORDER BY run_id",
    "SELECT id, state FROM dead_letters WHERE flow_id = %(flow)s ORDER BY id",
    "SELECT id, name, spec, enabled, next_fire_at FROM schedules WHERE flow_id = %(flow)s ORDER BY id",
    "SELECT run_id, step, ready_at FROM task_queue JOIN runs ON runs.id = run_id"
    " WHERE flow_id = %(flow)s ORDER BY 1, 2",
    "SELECT run_id, step FROM approvals JOIN runs ON runs.id = run_id WHERE flow_id = %(flow)s",
)


Asked = Mapping[str, Any]  # of httpx: json, params, data
Asks = Mapping[tuple[str, str], Callable[[World], Sequence[Asked]]]


@dataclass
class Askers:
    """Asks every route that keeps to limits, as somebody who is limited to MINE."""

    site: Site
    admin: str
    limited: str
    foreign: World
    asks: Asks
    walked: int = 0
    worlds: int = 0
    untouched: World | None = None

    @classmethod
    async def of(cls, site: Site, asks: Asks) -> Askers:
        admin = await site.token("admin")
        limited = await site.token("reviewer", **MINE)
        site.as_(admin)
        return cls(site, admin, limited, await build(site, "orders-foreign", FOREIGN), asks)

    async def mine(self, method: str = "POST") -> World:
        """A world of theirs in which nothing has been done yet, as far as what is asked could have changed it."""
        if method == "GET" and self.untouched:
            return self.untouched
        self.untouched = made = await self._make()
        return made

    async def _make(self) -> World:
        self.worlds += 1
        self.site.as_(self.admin)
        try:
            made = await build(self.site, f"invoices-{self.worlds}", {**MINE, "more": "yes"})
            async with self.site.db.connection() as conn:  # and one of its runs is a step of a foreign one
                await conn.execute(
                    "UPDATE runs SET parent_run_id = %s, parent_step = 'x', created_by = %s WHERE id = %s",
                    [self.foreign.runs["failed"], f"run {self.foreign.runs['failed']}", made.runs["failed"]],
                )
            return made
        finally:
            self.site.as_(self.limited)

    async def check(self, path: str, method: str) -> None:
        """Of theirs it takes, of the foreign one it says and changes nothing: it answers as to what is not there."""
        mine = await self.mine(method)
        before = await kept(self.site, self.foreign)
        for asked in self._all(path, method, mine):
            answer = await self._ask(method, mine, path, asked)
            assert answer.status_code < 400, (method, path, asked, answer.status_code, answer.text)
            self._says_nothing(answer, (method, path, asked))
        nowhere = unknown(self.foreign)
        for there, not_there in zip(*(self._all(path, method, one) for one in (self.foreign, nowhere)), strict=True):
            got = await self._ask(method, self.foreign, path, there)
            if "{" not in path and not there:
                self._says_nothing(got, (method, path))
            wanted = await self._ask(method, nowhere, path, not_there)
            assert self._plain(got, nowhere) == self._plain(wanted, nowhere), (method, path, there)
        assert await kept(self.site, self.foreign) == before, (method, path)

    def _all(self, path: str, method: str, world: World) -> Sequence[Asked]:
        if found := self.asks.get((path, method)):
            return found(world)
        is_form = method == "POST" and not path.startswith("/api/")
        return [{"data": {"back": ""}} if is_form else {}]

    async def _ask(self, method: str, world: World, path: str, asked: Asked) -> httpx.Response:
        self.walked += 1
        self.site.http.cookies.clear()
        return await self.site.http.request(method, world.address(path), **asked)

    def _says_nothing(self, answer: httpx.Response, of: object) -> None:
        said = answer.text + str(answer.headers)
        assert not [mark for mark in self.foreign.marks() if mark in said], (of, said)

    def _plain(self, answer: httpx.Response, nowhere: World) -> tuple[int, str, str]:
        """The answer as it would be if what was asked for had another name."""
        headers = {name: value for name, value in answer.headers.items() if name not in ("content-length", "date")}
        said = [answer.text, repr(sorted(headers.items()))]
        pairs = [
            (f"letter {self.foreign.letter}.", f"letter {nowhere.letter}."),
            (f"letters/{self.foreign.letter}", f"letters/{nowhere.letter}"),
            *zip(self.foreign.marks(), nowhere.marks(), strict=True),
            *_CHANGING,
        ]
        for index, text in enumerate(said):
            for pair in pairs:
                text = re.sub(re.escape(pair[0]) if pair not in _CHANGING else pair[0], pair[1], text)
            said[index] = text
        return answer.status_code, said[0], said[1]


# What differs between two answers to the same question.
_CHANGING = ((r'name="key" value="[0-9a-f-]+"', ""), (r"\d\d(:|%3A)\d\d(:|%3A)\d\d(\.\d+)?", ""), (r"\d+ s ago", ""))
