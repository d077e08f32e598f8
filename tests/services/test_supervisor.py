"""`--processes`: several processes behind one command, killed and ended with real signals."""

from __future__ import annotations

import re
import signal
from contextlib import suppress

import httpx
import psutil
import psycopg

from tests.promises.fleet import Member, fleet
from tests.promises.ledger import Ledger
from tests.promises.processes import environment, until
from tests.services.test_processes import flow, run_of, start


def family(member: Member) -> list[psutil.Process]:
    assert member.process is not None
    return psutil.Process(member.process.pid).children()


def is_whole(member: Member, processes: int) -> bool:
    return member.ready()[0] == 200 and samples(member).count("automata_build_info") == processes


def samples(member: Member) -> list[str]:
    """The names of the metrics, once for each process that has them."""
    text = httpx.get(f"{member.address}/metrics", timeout=120).text
    described = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(described) == len(set(described)), "a metric is described twice"
    return re.findall(r"^(\w+)", text, re.MULTILINE)


def test_a_helper_that_is_killed_is_started_again_and_all_end_together(fresh_database_url: str) -> None:
    with fleet(Member("worker", environment(fresh_database_url), "--processes", "2")) as (worker,):
        until(lambda: is_whole(worker, 2), "two processes are ready")
        (helper,) = family(worker)
        helper.kill()
        until(lambda: worker.ready()[0] == 503, "its end is seen")
        assert "process 2: process 2 ended with -9" in worker.ready()[1]
        until(lambda: is_whole(worker, 2), "two processes are ready again")
        (again,) = family(worker)
        assert again != helper
        for process in (again, psutil.Process(worker.process.pid)):  # type: ignore[union-attr]
            process.send_signal(signal.SIGTERM)  # as a service manager does: to all of them
        assert worker.ended(120) == 0
        assert not again.is_running()


def test_helpers_do_not_outlive_the_first(fresh_database_url: str) -> None:
    with fleet(Member("orchestrator", environment(fresh_database_url), "--processes", "2")) as (orchestrator,):
        until(lambda: is_whole(orchestrator, 2), "two processes are ready")
        (helper,) = family(orchestrator)
        orchestrator.kill()
        until(lambda: not helper.is_running(), "the helper has drained", 120)


def test_up_and_its_helper_share_the_work_and_a_second_signal_ends_both(fresh_database_url: str) -> None:
    env = environment(fresh_database_url, AUTOMATA_PROCESSES="2", AUTOMATA_CONCURRENCY="2")
    with Ledger(0.2) as quick, Ledger(300.0) as slow, fleet(Member("up", env, "--allow-loopback")) as (up,):
        until(lambda: is_whole(up, 2), "two processes are ready")
        (helper,) = family(up)
        runs = [start(up, flow(quick.url)) for _ in range(12)]
        assert {run_of(up, run)["status"] for run in runs} == {"SUCCEEDED"}
        assert set(quick.by_key().values()) == {1}
        for _ in range(4):
            start(up, flow(slow.url))
        until(lambda: len(slow.calls) == 4, "all slots are taken")
        with psycopg.connect(fresh_database_url) as conn:
            assert conn.execute("SELECT count(DISTINCT worker) FROM task_queue").fetchone() == (2,)
        up.signal(signal.SIGTERM)
        until(lambda: not answers(up), "it drains")
        assert helper.is_running()
        up.signal(signal.SIGTERM)
        assert up.ended(120) == 128 + signal.SIGTERM
        until(lambda: not helper.is_running(), "the helper is gone", 120)


def answers(member: Member) -> bool:
    with suppress(httpx.TransportError):
        return member.ready()[0] == 200
    return False
