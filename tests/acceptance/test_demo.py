"""`automata demo`, from outside: it shows the product at work, tells the truth about it, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from automata.cli.demo.change import BOB, ChangeOutcome
from automata.cli.demo.change import checks as change_checks
from automata.cli.demo.shop import DECLINED, LABEL_FAILURES, ORDERS, PAGE
from automata.cli.demo.story import checks, print_outcome
from tests.amounts import often
from tests.costs import processor_sec
from tests.rabbitmq import find_server

DEMO = [sys.executable, "-m", "automata", "demo"]
LIMIT_SEC = 90  # of processor time: 8 alone and 15 with a process a part, on a machine that does nothing else


def environment(tmp_path: Path) -> dict[str, str]:
    # A database of the user's own must not be touched: this one would make the demo fail.
    return {**os.environ, "TMPDIR": str(tmp_path), "AUTOMATA_DATABASE_URL": "postgresql://nobody@192.0.2.1/none"}


def of_this_demo(tmp_path: Path) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline", "cwd"]) if str(tmp_path) in " ".join(p.info["cmdline"] or ())]


@pytest.fixture
def reachable(tmp_path: Path) -> Path:
    """A folder of our own that PostgreSQL's user can reach when we are root."""
    with tempfile.TemporaryDirectory(prefix="demo-test-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("how", [[], ["--amqp"]], ids=["together", "apart, over RabbitMQ"])
def test_the_demo_shows_all_and_leaves_nothing_behind(reachable: Path, how: list[str]) -> None:
    find_server()
    began = processor_sec()
    done = subprocess.run(
        [*DEMO, *how], env=environment(reachable), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert processor_sec() - began < LIMIT_SEC
    for headline in ("sync-orders v1  SUCCEEDED", "import-all-orders v1  SUCCEEDED", "ship-order v1  SUCCEEDED"):
        assert headline in done.stdout
    assert "settle-invoice v1  FAILED" in done.stdout
    assert f"{PAGE} orders in one JSON list" in done.stdout
    assert f"{ORDERS} different orders in all" in done.stdout
    assert "MISMATCH" not in done.stdout
    assert re.search(
        r"^The console was at http://127\.0\.0\.1:\d+ meanwhile\. `automata demo --stay`", done.stdout, re.MULTILINE
    )
    refused, _, corrected = done.stdout.partition("6. The corrected change passes")
    assert "The mock `import` was called 2 times, not exactly 1" in refused
    screen = refused.partition("$ automata check")[2].splitlines()
    assert len(screen) < 24, "the reason fits a screen"
    assert re.search(r"^Refused by test: ", refused, re.MULTILINE)
    assert "cannot approve it. [own_proposal]" in done.stderr
    assert "sync-orders v2  SUCCEEDED" in corrected
    chain = corrected.partition("$ automata provenance")[2]
    for words in (
        "commit [0-9a-f]{12}  Send the orders once, and say how many",
        "proposal 1  .*, by Ada <ada@example.com>",
        "check passed, .*test passed",
        "approved by Bob <bob@example.com>.*: as agreed with accounting",
        "merged by Bob <bob@example.com> as [0-9a-f]{12}",
    ):
        assert re.search(words, chain), words
    for part in ("rabbitmq", "api", "orchestrator", "scheduler", "worker"):
        assert bool(re.search(rf"^{part} ", done.stdout, re.MULTILINE)) is bool(how)
    if how:
        sent = re.search(r"^(\d+) wake-ups were sent over RabbitMQ, (\d+) heard$", done.stdout, re.MULTILINE)
        assert sent
        assert min(map(int, sent.groups())) > 0
    assert list(reachable.iterdir()) == []
    assert of_this_demo(reachable) == []


def test_a_demo_that_stays_is_ended_with_its_processes_by_ctrl_c(reachable: Path) -> None:
    process = subprocess.Popen([*DEMO, "--stay"], env=environment(reachable), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any("Still running" in line for line in process.stdout)
    console = process.stdout.readline().strip()
    runs = httpx.get(f"{console}/runs", headers={"accept": "text/html"}, trust_env=False)
    assert runs.status_code == 200
    for flow in ("sync-orders", "import-all-orders", "ship-order", "settle-invoice"):
        assert f'<a href="/flows/{flow}">' in runs.text
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    process.stdout.close()
    assert process.wait(120) == 0
    _, alive = psutil.wait_procs([*children, *of_this_demo(reachable)], timeout=120)
    assert alive == []


@pytest.mark.parametrize("how", [["--amqp"], *often([])], ids=lambda how: "apart, over RabbitMQ" if how else "together")
def test_a_demo_that_is_killed_takes_its_processes_with_it(reachable: Path, how: list[str]) -> None:
    find_server()
    process = subprocess.Popen([*DEMO, *how], env=environment(reachable), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any(line.startswith("1. ") for line in process.stdout), "all parts are up"
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.kill()
    process.stdout.read()
    process.stdout.close()
    assert process.wait(120) == -signal.SIGKILL
    _, alive = psutil.wait_procs([*children, *of_this_demo(reachable)], timeout=120)
    assert alive == []


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "repository "),
        (signal.SIGTERM, "$ automata check"),
        *often((signal.SIGINT, "shop "), (signal.SIGINT, "2. "), (signal.SIGINT, "$ automata check")),
    ],
)
def test_a_demo_that_is_ended_at_any_moment_takes_everything_with_it(
    reachable: Path, number: signal.Signals, moment: str
) -> None:
    process = subprocess.Popen([*DEMO, "--stay"], env=environment(reachable), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any(line.startswith(moment) for line in process.stdout)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    said = process.stdout.read()
    process.stdout.close()
    # A shell sees 130 both times: Python ends itself by SIGINT when the interruption met code that `exec` was running,
    # as it does while dataclasses are made in an import.
    assert process.wait(120) in (130, -signal.SIGINT), said
    assert "As promised" not in said
    _, alive = psutil.wait_procs([*children, *of_this_demo(reachable)], timeout=120)
    assert alive == []
    assert list(reachable.iterdir()) == []


def told() -> ChangeOutcome:
    """What comes of the change when all is well."""
    run = {"id": "r5", "version": 2, "status": "SUCCEEDED", "outputs": {"imported": PAGE}}
    chain = {"origin": "proposal", "approvals": [{"by": BOB}], "check": {"passed": True}}
    return ChangeOutcome(1, 5, run, chain)


CHANGED = {"imports": {"r1:save": PAGE, "r5:save": PAGE}}


def test_the_demo_finds_nothing_to_complain_about_in_the_change_when_all_is_well() -> None:
    assert [one.claim for one in change_checks(told(), CHANGED) if not one.holds] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"checked": 0},
        {"own": 0},
        {"run": {**told().run, "version": 1}},
        {"run": {**told().run, "status": "FAILED"}},
        {"run": {**told().run, "outputs": {"imported": PAGE - 1}}},
        {"run": {**told().run, "id": "r6"}},
        {"chain": {**told().chain, "origin": "push"}},
        {"chain": {**told().chain, "approvals": []}},
        {"chain": {**told().chain, "check": None}},
        {"chain": {**told().chain, "check": {"passed": False}}},
    ],
)
def test_the_demo_fails_when_the_change_came_to_anything_else(wrong: dict[str, Any]) -> None:
    assert [one for one in change_checks(replace(told(), **wrong), CHANGED) if not one.holds]
    doubled = {"imports": {**CHANGED["imports"], "r5:save_again": PAGE}}
    assert [one for one in change_checks(told(), doubled) if not one.holds]


def test_a_folder_that_holds_something_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    done = subprocess.run([*DEMO, "--dir", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def story() -> tuple[dict[str, Any], dict[str, Any]]:
    """The runs and the shop's ledger as they are when all is well."""
    succeeded = {"status": "SUCCEEDED", "tasks": {}}
    runs = {
        "sync-orders": {**succeeded, "id": "r1", "outputs": None},
        "import-all-orders": {**succeeded, "id": "r2", "outputs": {"imported": ORDERS}},
        "ship-order": {
            **succeeded,
            "id": "r3",
            "tasks": {"label": {"attempt": LABEL_FAILURES + 1}},
            "outputs": {"label": "label-o-1001"},
        },
        "settle-invoice": {"status": "FAILED", "id": "r4", "tasks": {}, "outputs": None},
    }
    ledger = {
        "imports": {"r1:save": PAGE, "r2:save": ORDERS},
        "orders": ORDERS,
        "label_calls": {"o-1001": LABEL_FAILURES + 1},
        "payments": [],
        "alerts": [f"Invoice {DECLINED}: step pay failed"],
    }
    return runs, ledger


def test_the_demo_finds_nothing_to_complain_about_when_all_is_well() -> None:
    runs, ledger = story()
    assert print_outcome(checks(runs, ledger), ledger)


@pytest.mark.parametrize(
    "wrong",
    [
        {"imports": {"r1:save": PAGE - 1, "r2:save": ORDERS}},
        {"imports": {"r2:save": ORDERS}},
        {"imports": {"r1:save": PAGE, "r2:save": ORDERS, "r1:save:again": PAGE}},
        {"orders": ORDERS - 1},
        {"label_calls": {"o-1001": LABEL_FAILURES + 2}},
        {"payments": [DECLINED]},
        {"alerts": []},
        {"alerts": [f"Invoice {DECLINED}: step pay failed"] * 2},
    ],
)
def test_the_demo_fails_when_the_shop_counted_anything_else(
    wrong: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    runs, ledger = story()
    assert not print_outcome(checks(runs, ledger | wrong), ledger | wrong)
    assert "MISMATCH" in capsys.readouterr().out
