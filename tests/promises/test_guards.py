"""Take away one guard at a time: a named test must notice. A guard that nobody misses is not tested, or not needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MIGRATION = "migrations/versions/0001_first_tables.py"


@dataclass(frozen=True, slots=True)
class Guard:
    """`text` in `file` becomes `without`; then `test` must fail, and pytest must show one of the words of `failure`.

    `also` guards the same a second time, and goes as well.
    """

    name: str
    file: str
    text: str
    without: str
    test: str
    failure: tuple[str, ...] = ("AssertionError", "assert ")
    also: str = ""


GUARDS = [
    Guard(
        "fence of a result",
        "automata/store/sql/complete_tasks.sql",
        " AND queue.fence = input.fence",
        " AND queue.lane <> ${ADVANCE}",
        "tests/store/test_orchestrator_queue.py::test_a_late_result_is_refused_and_the_second_worker_s_is_accepted",
    ),
    Guard(
        "fence of a result that moves its run",
        "automata/store/sql/complete_tasks_under_lock.sql",
        " AND queue.fence = input.fence",
        "",
        "tests/store/test_orchestrator_queue.py::test_a_result_that_moves_its_run_needs_its_fence",
        also=" AND queue.fence = held.fence",
    ),
    Guard(
        "a result moves no run that somebody has in hand",
        "automata/store/sql/complete_tasks_under_lock.sql",
        "WHERE pg_try_advisory_xact_lock(hashtextextended(input.run_id::text, 0))",
        "",
        "tests/store/test_orchestrator_queue.py::test_a_result_moves_no_run_that_an_orchestrator_has_in_hand",
    ),
    Guard(
        "handed over work has a lease",
        "automata/store/sql/enqueue_claimed.sql",
        "now() + make_interval(secs => %(lease)s)",
        "now() + make_interval(secs => 0 * %(lease)s)",
        "tests/store/test_orchestrator_queue.py::test_work_that_is_handed_over_is_claimed_from_the_start_and_found_when_its_lease_ends",
    ),
    Guard(
        "only accepted outputs are read by other steps",
        "automata/services/run_advancer.py",
        "for item in accepted if item.status == TaskStatus.SUCCEEDED",
        "for item in results if item.status == TaskStatus.SUCCEEDED",
        "tests/services/test_direct_dispatch.py",
    ),
    Guard(
        "fence of a renewal",
        "automata/store/sql/renew_leases.sql",
        "queue.fence = input.fence",
        "true",
        "tests/store/test_orchestrator_queue.py::test_a_renewed_lease_holds_and_a_lost_one_is_told",
    ),
    Guard(
        "claimed rows are locked and leased",
        "automata/store/sql/claim_tasks.sql",
        "ready_at = now() + make_interval(secs => %(lease)s)",
        "ready_at = now() + make_interval(secs => 0 * %(lease)s)",
        "tests/store/test_orchestrator_queue.py::test_a_task_is_claimed_by_one_worker",
    ),
    Guard(
        "one orchestrator a run",
        "automata/store/sql/take_wakeups.sql",
        "pg_try_advisory_xact_lock(hashtextextended(run_id::text, 0))",
        "true",
        "tests/store/test_orchestrator_queue.py::test_two_orchestrators_never_hold_one_run",
    ),
    Guard(
        "a finished run stays as it is",
        "automata/store/sql/load_snapshots.sql",
        " AND NOT EXISTS (SELECT FROM run_results WHERE run_id = runs.id OFFSET 0)",
        "",
        "tests/store/test_orchestrator_queue.py::test_a_finished_run_leaves_nothing_that_moves_and_comes_back_no_more",
    ),
    Guard(
        "one run a key",
        MIGRATION,
        "CREATE UNIQUE INDEX runs_idempotency",
        "CREATE INDEX runs_idempotency",
        "tests/store/test_orchestrator_queue.py::test_fifty_concurrent_requests_with_one_key_make_one_run",
    ),
    Guard(
        "one run a fire time",
        MIGRATION,
        "CREATE UNIQUE INDEX runs_fire",
        "CREATE INDEX runs_fire",
        "tests/store/test_orchestrator_queue.py::test_a_fire_time_has_one_run_however_often_it_is_asked_for",
    ),
    Guard(
        "the term of a leader",
        "automata/store/leadership.py",
        "running is not None and running == epoch",
        "running is not None",
        "tests/services/test_scheduler.py::test_a_leader_of_an_older_term_starts_nothing",
        ("DID NOT RAISE",),
    ),
    Guard(
        "a due schedule is locked",
        "automata/store/due_schedules.py",
        "    FOR UPDATE OF schedules SKIP LOCKED\n",
        "",
        "tests/services/test_scheduler.py::test_two_schedulers_that_both_believe_they_lead_start_each_fire_once",
        ("assert ", "Unavailable", "Conflict"),  # the schedulers wait for each other, or one is refused
    ),
    Guard(
        "only what has failed is retried",
        "automata/store/sql/reopen_runs.sql",
        "AND status = ANY(%(statuses)s::text[])",
        "AND (true OR status = ANY(%(statuses)s::text[]))",
        "tests/services/test_retries.py::test_what_did_not_fail_is_not_retried",
        ("DID NOT RAISE", "run_attempts_status_check"),  # the table refuses it too
    ),
    Guard(
        "retention takes no run that somebody is to decide about",
        "automata/store/sql/take_old_runs.sql",
        "result.status = 'SUCCEEDED' OR NOT EXISTS",
        "true OR NOT EXISTS",
        "tests/store/test_retention.py::test_a_run_stays_until_somebody_decided_about_its_dead_letters",
    ),
    Guard(
        "a retry of a child waits for whoever decides about its parent",
        "automata/store/run_retries.py",
        "await _lock(conn, await runs_above(conn, visible))",
        "pass",
        "tests/services/test_child_retries_races.py::"
        "test_a_retry_of_the_child_waits_for_whoever_decides_about_its_parent",
        ("TimeoutError", "AssertionError", "assert "),
    ),
    Guard(
        "a step that begins again goes on with the child that it has",
        "automata/services/step_waits.py",
        "retried = [ask for ask in asks if ask.run.attempt > 1]",
        "retried: list[Ask] = []",
        "tests/services/test_child_retries.py::test_whichever_is_retried_both_go_on_and_no_call_is_made_twice",
    ),
    Guard(
        "a parent that moves looks at its children before it fails",
        "automata/services/run_advancer.py",
        "if plan.calls_flows and run_advance.is_about_to_fail()",
        "if False and run_advance.is_about_to_fail()",
        "tests/services/test_child_retries.py::"
        "test_letters_retried_one_by_one_all_wake_the_parent_though_it_moves_already",
    ),
    Guard(
        "the same idempotency key for every attempt",
        "automata/services/executor.py",
        'idempotency_key=f"{run_id}:{claim.step}"',
        'idempotency_key=f"{run_id}:{claim.step}:{claim.fence}"',
        "tests/promises/test_kill_everything.py",
    ),
]


@dataclass(frozen=True, slots=True)
class Product:
    """A copy of the product and its tests, to be broken, and the process that tests it."""

    folder: Path
    pytest: subprocess.Popen[str]

    def run(self, *tests: str) -> tuple[int, str]:
        """pytest's exit code, and what it printed."""
        assert self.pytest.stdin is not None
        assert self.pytest.stdout is not None
        # anyio is imported already, so its asserts stay as they are: they are not ours.
        imported = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        words = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", *imported, *tests]
        print(json.dumps(words), file=self.pytest.stdin, flush=True)
        code, output = json.loads(self.pytest.stdout.readline())
        return code, output


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("broken")
    leave = shutil.ignore_patterns("__pycache__")
    for name in ("automata", "migrations", "schemas", "flows-example", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=leave)
    shutil.copy(ROOT / "pyproject.toml", folder)
    data = os.environ.get("AUTOMATA_TEST_DATA_DIR") or str(ROOT / "build" / "test-postgres")
    env = {**os.environ, "PYTHONPATH": str(folder), "AUTOMATA_TEST_DATA_DIR": data, "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "tests.promises.warm_pytest"]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, env=env, text=True, **streams) as process:
        yield Product(folder, process)
        process.stdin.close()


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_without_a_guard_a_named_test_fails(guard: Guard, product: Product) -> None:
    file = product.folder / guard.file
    whole = file.read_text()
    for text in filter(None, (guard.text, guard.also)):
        assert whole.count(text) == 1, f"{text!r} is not what guards any more: mend this list"
    broken = whole.replace(guard.text, guard.without)
    file.write_text(broken.replace(guard.also, "") if guard.also else broken)
    try:
        code, output = product.run(guard.test)
    finally:
        file.write_text(whole)
    assert code == 1, f"{guard.test} did not miss it:\n{output[-2000:]}"
    assert any(words in output for words in guard.failure), output[-2000:]


def test_with_all_guards_these_tests_pass(product: Product) -> None:
    """Else the failures above would prove nothing."""
    code, output = product.run(*{guard.test for guard in GUARDS})
    assert code == 0, output[-2000:]
