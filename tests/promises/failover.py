"""What Automata stands on fails node by node, under load: python -m tests.promises.failover [--rounds N].

Three nodes of RabbitMQ, a PostgreSQL primary whose COMMIT waits for its standby, and two processes a part. In each
round the node that leads the queue of ready tasks is killed, then the primary; its standby is promoted, and both dead
ones come back, the database as the new standby. At the end the history checker joins what clients were told, what the
database holds and what the ledger saw: nothing that was confirmed may be gone.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psycopg

from tests.promises.chaos import finished
from tests.promises.cluster import PostgresPair, RabbitCluster
from tests.promises.fleet import Member, fleet
from tests.promises.history import Figures, chain, check_chain
from tests.promises.ledger import Ledger
from tests.promises.processes import environment, until
from tests.promises.soak import Load

PARTS = ("api", "api", "orchestrator", "orchestrator", "worker", "worker", "scheduler")
QUEUE = "tasks.ready"
RATE = 40


class Site:
    """What `Load` needs to know: where to ask next."""

    def __init__(self, members: tuple[Member, ...]) -> None:
        self._apis = [member for member in members if member.part == "api"]
        self._next = 0

    @property
    def address(self) -> str:
        self._next += 1
        return self._apis[self._next % len(self._apis)].address


def play(rounds: int) -> Figures:
    place = Path(tempfile.mkdtemp(prefix="automata-failover-", dir="/tmp"))
    place.chmod(0o755)
    try:
        with PostgresPair(place / "pg") as pair, RabbitCluster(place / "mq") as cluster, Ledger(0.01) as ledger:
            env = environment(pair.url, AUTOMATA_AMQP_URL=cluster.url)
            members = [Member(part, env, log=place / f"{part}{n}.log") for n, part in enumerate(PARTS)]
            with fleet(*members) as running:
                return _rounds(rounds, pair, cluster, ledger, running)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _rounds(
    rounds: int, pair: PostgresPair, cluster: RabbitCluster, ledger: Ledger, running: tuple[Member, ...]
) -> Figures:
    site = Site(running)
    with httpx.Client(base_url=site.address, timeout=30) as client:
        client.put("/api/v1/flows/chain", json=chain(ledger.url)).raise_for_status()
    with Load(site, rate=RATE) as load:
        time.sleep(3)
        for number in range(rounds):
            leader = cluster.leader_of(QUEUE)
            cluster.kill(leader)
            time.sleep(3)
            took = pair.fail_over()
            print(
                f"round {number + 1}: node {leader} led {QUEUE} and was killed; standby wrote after {took:.1f} s",
                flush=True,
            )
            time.sleep(3)
            cluster.start(leader)
            pair.rebuild()
            time.sleep(3)
    print(
        f"{len(load.accepted):,} runs accepted, p95 {load.p95_ms():.0f} ms; waiting for the last to finish", flush=True
    )
    until(lambda: finished(pair.url) >= len(load.accepted), "all runs finished", 180)
    until(lambda: check_chain(pair.url, ledger, load.accepted).left == 0, "nothing left that moves", 60)
    with psycopg.connect(pair.url) as conn:
        assert conn.execute("SHOW synchronous_commit").fetchone() == ("on",)
    return check_chain(pair.url, ledger, load.accepted)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.promises.failover",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3)
    play(parser.parse_args().rounds).check()
    sys.exit(0)
