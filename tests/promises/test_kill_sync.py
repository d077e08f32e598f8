"""SIGKILL of a real controller at every step of a sync: what is current is the old set or the new one, never a mix.

`make thorough` does twenty times as many rounds, some of them at moments of chance; `make test` meets each point once.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.amounts import times
from tests.promises.fleet import Member, fleet
from tests.promises.points import SYNC_POINTS, forked
from tests.promises.processes import environment, make_repo, until

FLOWS = 12
MAX_SEC = 0.8  # about what a process takes until its first sync is over
# One statement sees one state of the database.
CURRENT = """
SELECT (SELECT max(head_sha) FROM sync_sources),
    (SELECT json_object_agg(name, spec #>> '{steps,0,config,mappings,n}' ORDER BY name) FROM flows
     JOIN flow_versions AS version ON version.id = current_version_id WHERE archived_at IS NULL),
    (SELECT json_agg(spec ->> 'cron' ORDER BY name) FROM schedules),
    (SELECT count(*) FROM sync_attempts WHERE status = 'synced')
"""


class Repository:
    """A branch on which each commit changes every flow, brings one, takes one away, and moves a schedule."""

    def __init__(self, place: Path) -> None:
        self.path = make_repo(place, {"name": "first", "steps": []})
        self.sets: dict[str, Any] = {}  # commit -> (flow -> value, schedules)

    def commit(self, number: int) -> str:
        values = {f"f{n:02}": str(number) for n in range(FLOWS)} | {f"guest-{number}": str(number)}
        cron = f"{number % 60} 6 * * *"
        for old in (self.path / "flows").iterdir():
            old.unlink()
        for name, value in values.items():
            step = {"id": "t", "type": "transform", "config": {"mappings": {"n": value}}}
            schedules = {"schedules": [{"name": "daily", "cron": cron}]} if name == "f00" else {}
            (self.path / "flows" / f"{name}.json").write_text(json.dumps({"name": name, "steps": [step], **schedules}))
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        for words in (["add", "-A"], ["commit", "-q", "-m", str(number)]):
            subprocess.run(["git", *identity, *words], cwd=self.path, check=True)
        asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=self.path, check=True, capture_output=True, text=True)
        sha = asked.stdout.strip()
        self.sets[sha] = (values, [cron])
        return sha


class Witness:
    """Looks at the database all the time; `mixed` are the states that no commit has."""

    def __init__(self, url: str, repository: Repository) -> None:
        self.url = url
        self.repository = repository
        self.looks = 0
        self.mixed: list[Any] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        done = threading.Event()

        def watch() -> None:
            with psycopg.connect(self.url, autocommit=True) as conn:
                while not done.wait(0.005):
                    self.look(conn)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def look(self, conn: psycopg.Connection) -> str | None:
        """The commit whose set is current; None before the first."""
        row = conn.execute(CURRENT.encode()).fetchone()
        assert row is not None
        sha, flows, schedules, _ = row
        self.looks += 1
        if (flows, schedules) != self.repository.sets.get(sha, (None, None)):
            self.mixed.append(row)
        return sha

    def current(self) -> str | None:
        with psycopg.connect(self.url, autocommit=True) as conn:
            return self.look(conn)


@pytest.fixture(scope="module")
def nursery() -> Any:
    """Makes processes that have imported the product already."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(
        ["automata.services.sync_controller", "automata.services.process", "automata.cli.site", "automata.cli.app",
         "tests.promises.points"]
    )  # fmt: skip
    return made


def killed(nursery: Any, point: str | None, env: dict[str, str], words: list[str], after_sec: float) -> None:
    """Start a controller that kills itself, or without a point is killed after a while; returns when it is dead."""
    process = nursery.Process(target=forked, args=(point, env, words))
    process.start()
    try:
        if point is None:
            time.sleep(after_sec)
            process.kill()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL, point
    finally:
        process.kill()
        process.join(120)
        process.close()


def test_a_controller_that_is_killed_at_any_step_leaves_the_old_set_or_the_new_one(
    tmp_path: Path, fresh_database_url: str, nursery: Any
) -> None:
    seed = int(os.environ.get("AUTOMATA_SEED") or random.randrange(2**32))
    print(f"AUTOMATA_SEED={seed}")
    chance = random.Random(seed)
    rounds = times(len(SYNC_POINTS))
    repository = Repository(tmp_path / "repo")
    witness = Witness(fresh_database_url, repository)
    env = environment(
        fresh_database_url, AUTOMATA_DATA_DIR=str(tmp_path / "data"), AUTOMATA_SYNC_INTERVAL_SEC="1"
    )  # fmt: skip
    options = ("--repo", repository.path.as_uri(), "--branch", "main")
    words = ["controller", *options, "--port", "0"]
    points: list[str | None] = [*SYNC_POINTS]
    if rounds > len(points):
        points.append(None)
    ends: dict[str, int] = {"old": 0, "new": 0}
    with witness.watching():
        for number, point in zip(range(rounds), itertools.cycle(points), strict=False):
            before, new = witness.current(), repository.commit(number)
            killed(nursery, point, env, words, chance.uniform(0, MAX_SEC))
            after = witness.current()
            assert after in (before, new), f"{point}: {after}, after {before} and before {new}"
            ends["new" if after == new else "old"] += 1
        last = repository.commit(rounds)
        with fleet(Member("controller", env, *options)):
            until(lambda: witness.current() == last, "the last commit is synced by the next one")
    print(f"{rounds} kills: {ends}; {witness.looks} looks, {len(witness.mixed)} mixed")
    assert witness.mixed == []
    assert ends["new"] >= rounds // len(points) > 0, "a point behind the commit leaves the new set"
    with psycopg.connect(fresh_database_url) as conn:
        # What became current did so once: a version for each flow of each commit that was synced, and an attempt.
        found = conn.execute(
            "SELECT (SELECT count(*) FROM sync_attempts WHERE status = 'synced'),"
            " (SELECT count(*) FROM flow_versions), (SELECT count(*) FROM sync_sets)"
        ).fetchone()
    synced = ends["new"] + 1
    assert found == (synced, synced * (FLOWS + 1), synced)
