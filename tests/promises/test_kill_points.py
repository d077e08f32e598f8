"""SIGKILL at named points, again and again, while runs are under way: none is lost, no result is accepted twice."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import httpx

from tests.promises.clients import start
from tests.promises.history import chain, check_chain
from tests.promises.ledger import Ledger
from tests.promises.points import POINTS
from tests.promises.processes import automata_up, environment, make_repo, until

RUNS_A_POINT = 40


def test_sigkill_at_every_named_point_loses_nothing(tmp_path: Path, fresh_database_url: str) -> None:
    seed = int(os.environ.get("AUTOMATA_SEED") or random.randrange(2**32))
    print(f"AUTOMATA_SEED={seed}")
    chance = random.Random(seed)
    points = list(POINTS)
    chance.shuffle(points)
    env = environment(fresh_database_url)
    accepted: set[str] = set()
    numbers = iter(range(10**6))
    with Ledger(0.02) as ledger:
        repo = make_repo(tmp_path / "repo", chain(ledger.url))
        for point in points:
            program = ("tests.promises.points", f"{point}:{chance.randint(2, 6)}")
            with automata_up(repo, env, program) as (process, address):
                with httpx.Client(base_url=address or "http://127.0.0.1:1", timeout=120) as client:
                    for number in numbers:
                        try:
                            accepted.add(start(client, "chain", number, 0))
                        except AssertionError:
                            break  # dead by now: this one was perhaps written, and nobody was told
                        if number % RUNS_A_POINT == 0 and process.poll() is not None:
                            break
                assert process.wait(120) == -signal.SIGKILL, point
        with automata_up(repo, env) as (_, address), httpx.Client(base_url=address, timeout=120) as client:
            accepted |= {start(client, "chain", n) for n in range(next(numbers))}
            until(
                lambda: check_chain(fresh_database_url, ledger, accepted).finished >= len(accepted), "all runs finished"
            )
            until(lambda: check_chain(fresh_database_url, ledger, accepted).left == 0, "nothing left that moves")
    check_chain(fresh_database_url, ledger, accepted).check()
