"""The reply to a COMMIT is lost: whoever asked cannot know, and nothing is lost or done twice."""

from __future__ import annotations

import itertools
from pathlib import Path

import httpx

from tests.promises.clients import start
from tests.promises.history import chain, check_chain
from tests.promises.ledger import Ledger
from tests.promises.processes import automata_up, environment, make_repo, until
from tests.promises.proxy import Proxy, postgres_target

RUNS = 150
EVERY = 9  # commits
PATIENCE_SEC = 120  # a lost reply costs a lease, and a busy machine may make one of the next ones run out


def test_a_lost_reply_after_commit_neither_loses_nor_repeats_anything(tmp_path: Path, fresh_database_url: str) -> None:
    commits = itertools.count(1)

    def every_ninth_commit(chunk: bytes) -> bool:
        return b"COMMIT" in chunk and next(commits) % EVERY == 0

    with Ledger() as ledger, Proxy(postgres_target(fresh_database_url)) as proxy:
        repo = make_repo(tmp_path / "repo", chain(ledger.url))
        with automata_up(repo, environment(proxy.url(fresh_database_url))) as (_, address):
            proxy.lose_reply = every_ninth_commit
            with httpx.Client(base_url=address, timeout=120) as client:
                accepted = {start(client, "chain", n) for n in range(RUNS)}
            until(
                lambda: check_chain(fresh_database_url, ledger, accepted).finished >= RUNS,
                "all runs finished",
                PATIENCE_SEC,
            )
            until(lambda: check_chain(fresh_database_url, ledger, accepted).left == 0, "nothing left that moves")
        print(f"replies lost {proxy.lost}")
        assert proxy.lost >= 10
    assert len(accepted) == RUNS
    check_chain(fresh_database_url, ledger, accepted).check()


def test_connections_that_are_cut_or_go_silent_lose_nothing(tmp_path: Path, fresh_database_url: str) -> None:
    with Ledger(0.05) as ledger, Proxy(postgres_target(fresh_database_url)) as proxy:
        repo = make_repo(tmp_path / "repo", chain(ledger.url))
        with automata_up(repo, environment(proxy.url(fresh_database_url))) as (_, address):
            accepted = set()
            with httpx.Client(base_url=address, timeout=120) as client:
                for n in range(RUNS):
                    accepted.add(start(client, "chain", n))
                    if n % 30 == 10:
                        proxy.cut()
                    proxy.refuse = n % 30 in range(11, 14)
            proxy.refuse = False
            until(
                lambda: check_chain(fresh_database_url, ledger, accepted).finished >= RUNS,
                "all runs finished",
                PATIENCE_SEC,
            )
            until(lambda: check_chain(fresh_database_url, ledger, accepted).left == 0, "nothing left that moves")
    check_chain(fresh_database_url, ledger, accepted).check()
