"""What the controller follows: the newest commit whatever became of the history, hints, and the set that it left."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from automata.errors import Refused
from automata.flow.model import Flow
from automata.project.source import Source
from automata.services.sync_controller import Controller, Pace
from automata.store.database import Database
from automata.store.flows import put_api_flow
from automata.store.sync import AttemptRow, SourceRow, list_attempts, list_sources, lock_source
from automata.store.sync_hints import record_hint, request_sync
from automata.store.sync_rollbacks import release, roll_back
from automata.sync.conditions import conditions
from automata.sync.reconcile import sync_once
from tests.promises.processes import make_repo

PACE = Pace(60, 600, 0, 0.02)


def spec(name: str, value: Any = 1) -> dict[str, Any]:
    return {"name": name, "steps": [{"id": "t", "type": "transform", "config": {"mappings": {"n": value}}}]}


class Room:
    """A controller, the repository that it follows, and the database."""

    def __init__(self, db: Database, repo: Path) -> None:
        self.db = db
        self.repo = repo
        self.source = Source(str(repo), branch="main")
        self.controller = Controller(db, self.source, PACE)

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        done = subprocess.run(["git", *identity, *words], cwd=self.repo, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, *options: str, **flows: Any) -> str:
        """Flows by name: their value, or None to remove one, or the text of the file."""
        for name, value in flows.items():
            file = self.repo / "flows" / f"{name}.json"
            if value is None:
                file.unlink()
            else:
                file.write_text(value if isinstance(value, str) else json.dumps(spec(name, value)))
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "change", *options)
        return self.git("rev-parse", "HEAD")

    async def row(self) -> SourceRow:
        async with self.db.connection() as conn:
            (row,) = await list_sources(conn)
        return row

    async def hint(self) -> None:
        async with self.db.transaction() as conn:
            await record_hint(conn, [(await self.row()).id])

    async def ask(self) -> None:
        async with self.db.transaction() as conn:
            await request_sync(conn, (await self.row()).id)

    async def execute(self, statement: str) -> None:
        async with self.db.transaction() as conn:
            await conn.execute(statement.encode())

    async def current(self) -> dict[str, int]:
        """Name -> number of the current version."""
        async with self.db.connection() as conn:
            cursor = await conn.execute(
                "SELECT name, number FROM flows JOIN flow_versions AS version ON version.id = current_version_id"
                " WHERE archived_at IS NULL"
            )
            return dict(await cursor.fetchall())

    async def last(self) -> AttemptRow:
        async with self.db.connection() as conn:
            return (await list_attempts(conn, (await self.row()).id, 1))[0]

    async def attempts(self) -> list[tuple[str, str | None]]:
        """Status and commit, the oldest first."""
        async with self.db.connection() as conn:
            return [(one.status, one.sha) for one in await list_attempts(conn, (await self.row()).id)][::-1]

    async def condition(self, kind: str) -> Any:
        row = await self.row()
        async with self.db.connection() as conn:
            found = conditions(row, await list_attempts(conn, row.id))
        return next(one for one in found if one.type == kind)


@pytest.fixture
async def room(fresh_database_url: str, tmp_path: Path) -> AsyncIterator[Room]:
    """After the first sync of a repository with the flows `one` and `two`."""
    repo = make_repo(tmp_path / "repo", spec("one"), spec("two"))
    async with await Database.open(fresh_database_url) as db:
        room = Room(db, repo)
        assert await room.controller.run_once() == PACE.interval_sec
        yield room


async def test_of_several_commits_between_two_looks_only_the_newest_is_tried(room: Room) -> None:
    room.commit(one="not a flow")
    room.commit(one=7)
    newest = room.commit(one=8)
    await room.controller.run_once()
    assert (await room.attempts())[1:] == [("synced", newest)]
    assert await room.current() == {"one": 2, "two": 1}


@pytest.mark.parametrize("waits", [False, True])
async def test_a_branch_that_was_rewritten_is_planned_by_content(
    room: Room, caplog: pytest.LogCaptureFixture, waits: bool
) -> None:
    """Whether the commit that vanished was synced, or was wrong and waited for."""
    room.commit(one="not a flow" if waits else 5)
    await room.controller.run_once()
    before = await room.current()
    room.git("reset", "-q", "--hard", "HEAD~1")
    amended = room.commit("--amend", two=9)
    with caplog.at_level(logging.WARNING):
        await room.controller.run_once()
    row = await room.row()
    assert (row.head_sha, row.seen_sha, room.controller.stuck) == (amended, amended, None)
    # What `one` was before is a version that is there already: no new one is made.
    assert await room.current() == before | {"one": 1, "two": 2}
    assert "the history of main was rewritten" in caplog.text


async def test_a_branch_that_was_set_back_to_an_older_commit_is_followed(room: Room) -> None:
    first = (await room.row()).head_sha
    room.commit(one=2, three=1)
    await room.controller.run_once()
    room.git("reset", "-q", "--hard", str(first))
    await room.controller.run_once()
    assert (await room.row()).head_sha == first
    assert await room.current() == {"one": 1, "two": 1}


async def test_a_hint_that_found_a_commit_makes_polls_rare_until_one_comes_without(room: Room) -> None:
    turn = room.controller.run_once
    await room.hint()
    assert await turn() == PACE.interval_sec, "it told of nothing new"
    room.commit(one=2)
    await room.hint()
    assert await turn() == PACE.hinted_sec
    assert await turn() == PACE.hinted_sec
    room.commit(one=3)
    assert await turn() == PACE.interval_sec
    room.commit(one="wrong, but announced")
    await room.hint()
    assert await turn() == PACE.hinted_sec
    again = Controller(room.db, room.source, PACE)
    assert await again.run_once() == PACE.interval_sec, "a hint from before its start is no news"


async def test_who_asks_for_a_look_has_what_is_stuck_tried_again_and_makes_no_poll_rare(room: Room) -> None:
    turn = room.controller.run_once
    room.commit(one=2)
    await room.ask()
    assert await turn() == PACE.interval_sec, "no webhook announced it"
    room.commit(one="wrong")
    await turn()
    failed = await room.last()
    await turn()
    assert await room.last() == failed, "what is stuck is not tried again by itself"
    await room.ask()
    await turn()
    again = await room.last()
    assert (again.id, again.error) == (failed.id, failed.error)
    assert again.finished_at > failed.finished_at


@pytest.mark.parametrize("wake", ["hint", "ask"])
async def test_a_hint_ends_the_pause(room: Room, wake: str) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(room.controller.run(stop))
    room.commit(one=2)
    await getattr(room, wake)()
    for _ in range(1000):
        if await room.current() == {"one": 2, "two": 1}:
            break
        await asyncio.sleep(0.02)
    stop.set()
    await asyncio.wait_for(running, 300)
    assert await room.current() == {"one": 2, "two": 1}


async def test_what_was_changed_beside_git_is_reported_and_stays_without_the_policy(room: Room) -> None:
    assert (await room.condition("Drifted")).status == "False"
    await room.execute("UPDATE flows SET archived_at = now() WHERE name = 'one'")
    await room.controller.run_once()
    found = await room.condition("Drifted")
    assert (found.status, found.message) == ("True", "one is archived.")
    assert await room.current() == {"two": 1}


async def test_with_the_policy_it_is_put_back_and_recorded(room: Room) -> None:
    (room.repo / "automata.yaml").write_text("flows: [flows]\nsync: {heal: true}\n")
    room.commit(one=2)
    await room.controller.run_once()
    await room.execute("UPDATE flows SET archived_at = now() WHERE name = 'one'")
    await room.execute("UPDATE flows SET name = 'other' WHERE name = 'two'")
    await room.controller.run_once()
    assert await room.current() == {"one": 2, "two": 1}
    assert (await room.condition("Drifted")).status == "False"
    assert (await room.condition("Synced")).status == "True"
    assert [status for status, _ in await room.attempts()].count("healed") == 1


async def test_what_somebody_else_owns_by_now_is_not_taken_back(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    (room.repo / "automata.yaml").write_text("flows: [flows]\nsync: {heal: true}\n")
    room.commit(one=2)
    await room.controller.run_once()
    await room.execute("UPDATE flows SET archived_at = now() WHERE name = 'one'")
    async with room.db.transaction() as conn:
        await put_api_flow(conn, Flow.from_spec(spec("one", 3)))
    assert await room.controller.run_once() == PACE.interval_sec
    assert "cannot be put back" in caplog.text
    assert (await room.condition("Drifted")).message == "one is managed by the API."
    assert await room.current() == {"one": 3, "two": 1}


async def test_a_pinned_environment_stays_and_shows_where_the_branch_is(room: Room) -> None:
    first = str((await room.row()).head_sha)
    room.commit(one=2)
    await room.controller.run_once()
    async with room.db.transaction() as conn:
        await roll_back(conn, await lock_source(conn, (await room.row()).id), first, by="Ada", reason="wrong")
    ahead = room.commit(one=3, two=3)
    await room.controller.run_once()
    row = await room.row()
    assert (row.head_sha, row.seen_sha) == (first, ahead)
    assert await room.current() == {"one": 1, "two": 1}
    with pytest.raises(Refused, match=r"pinned to .* by Ada: wrong"):
        await sync_once(room.db, room.source)
    assert (await room.attempts())[-1][0] == "rolled_back", "what is refused by a pin is no attempt"
    async with room.db.transaction() as conn:
        await release(conn, row)
    await room.controller.run_once()
    assert (await room.row()).head_sha == ahead
    assert await room.current() == {"one": 3, "two": 2}


async def test_a_blocked_prune_waits_for_its_command_and_then_goes_on(room: Room) -> None:
    blocked = room.commit(one=None, two=None, three=1)
    await room.controller.run_once()
    await room.controller.run_once()
    found = await room.condition("PruneBlocked")
    assert (found.status, found.sha, room.controller.stuck) == ("True", blocked, blocked)
    assert await room.current() == {"one": 1, "two": 1}
    word = found.message.split("--confirm-deletes ")[1].split()[0]
    await sync_once(room.db, room.source, confirm=word)
    assert await room.current() == {"three": 1}
    await room.controller.run_once()
    assert (room.controller.stuck, (await room.condition("PruneBlocked")).status) == (None, "False")
    room.commit(three=2)
    await room.controller.run_once()
    assert await room.current() == {"three": 2}


async def test_a_rollback_while_a_sync_is_under_way_wins(room: Room, fresh_database_url: str) -> None:
    source = await room.row()
    room.commit(one=2)
    await room.controller.run_once()
    room.commit(one=3)

    async def pin() -> None:
        async with await Database.open(fresh_database_url, max_size=1) as db, db.transaction() as conn:
            await roll_back(conn, await lock_source(conn, source.id), str(source.head_sha), by="Ada", reason="wrong")

    def on_step(step: str) -> None:
        if step == "guard":
            thread = threading.Thread(target=lambda: asyncio.run(pin()))
            thread.start()
            thread.join()

    with pytest.raises(Refused, match="pinned"):
        await sync_once(room.db, room.source, on_step=on_step)
    assert await room.current() == {"one": 1, "two": 1}
