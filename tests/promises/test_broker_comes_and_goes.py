"""RabbitMQ killed, absent, and ringing nonsense, duplicates and old news: every run finishes, none twice."""

from __future__ import annotations

import asyncio
import random
from uuid import uuid4

import httpx

from automata.broker.contract import RUNS_FINISHED, RUNS_PENDING, TASKS_COMPLETED, TASKS_READY
from automata.broker.rabbitmq import RabbitBroker
from tests.promises.clients import start
from tests.promises.fleet import Member, fleet
from tests.promises.history import chain, check_chain
from tests.promises.ledger import Ledger
from tests.promises.processes import environment, until
from tests.rabbitmq import Node

RUNS = 120


def begin(api: Member, ledger: Ledger, first: int, count: int) -> set[str]:
    with httpx.Client(base_url=api.address, timeout=120) as client:
        client.put("/api/v1/flows/chain", json=chain(ledger.url)).raise_for_status()
        return {start(client, "chain", first + n) for n in range(count)}


def all_finished(url: str, ledger: Ledger, accepted: set[str]) -> None:
    until(lambda: check_chain(url, ledger, accepted).finished >= len(accepted), "all runs finished")
    until(lambda: check_chain(url, ledger, accepted).left == 0, "nothing left that moves")
    check_chain(url, ledger, accepted).check()


def test_rabbitmq_may_be_killed_be_away_and_come_back(fresh_database_url: str, rabbit_node: Node) -> None:
    env = environment(fresh_database_url, AUTOMATA_AMQP_URL=rabbit_node.url())
    parts = ("api", "orchestrator", "orchestrator", "worker", "worker")
    with Ledger(0.02) as ledger, fleet(*(Member(part, env) for part in parts)) as (api, *_):
        accepted = begin(api, ledger, 0, RUNS // 3)
        rabbit_node.kill()
        try:
            accepted |= begin(api, ledger, RUNS // 3, RUNS // 3)  # nobody carries a bell
            all_finished(fresh_database_url, ledger, accepted)
        finally:
            rabbit_node.start()
        accepted |= begin(api, ledger, 2 * RUNS // 3, RUNS // 3)
        all_finished(fresh_database_url, ledger, accepted)


def test_processes_start_without_rabbitmq_and_work(fresh_database_url: str) -> None:
    env = environment(fresh_database_url, AUTOMATA_AMQP_URL="amqp://nobody:nothing@127.0.0.1:1/none")
    parts = ("api", "orchestrator", "worker")
    with Ledger() as ledger, fleet(*(Member(part, env) for part in parts)) as (api, *_):
        all_finished(fresh_database_url, ledger, begin(api, ledger, 0, 20))


async def ring_nonsense(amqp_url: str, accepted: set[str]) -> None:
    broker = RabbitBroker(amqp_url)
    ids = [*accepted, *(str(uuid4()) for _ in range(50))] * 3
    for _ in range(20):
        random.shuffle(ids)
        for topic in (RUNS_PENDING, TASKS_READY, TASKS_COMPLETED, RUNS_FINISHED):
            broker.notify(topic, ids)
        await asyncio.sleep(0.05)
    await broker.close()


async def test_duplicate_shuffled_and_false_wake_ups_change_nothing(fresh_database_url: str, amqp_url: str) -> None:
    env = environment(fresh_database_url, AUTOMATA_AMQP_URL=amqp_url)
    parts = ("api", "orchestrator", "orchestrator", "worker", "worker")
    with Ledger(0.02) as ledger, fleet(*(Member(part, env) for part in parts)) as (api, *_):
        accepted = begin(api, ledger, 0, RUNS // 2)
        await ring_nonsense(amqp_url, accepted)
        accepted |= begin(api, ledger, RUNS // 2, RUNS // 2)
        all_finished(fresh_database_url, ledger, accepted)
