"""What a large flows repository costs: checking a change of it, rehearsing its cases, turning it into versions.

python -m benchmarks.repository [--flows 1000] [--commits 2000] [--changed 5] [-o json]. Commands are run as people run
them, with the start of the interpreter; a case is run in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from automata.git.create import create_repository
from automata.project.source import Source
from automata.sandbox.case_file import read_cases
from automata.sandbox.case_runner import Flows, run_case
from automata.store.database import Database
from automata.store.embedded import start_embedded
from automata.sync.reconcile import sync_once
from benchmarks.__main__ import DATA, _fresh_database

BOUNDS_SEC = {
    "check": 5.0,
    "test": 10.0,
    "case": 0.05,
    "sync, first": 5.0,
    "sync, one changed": 0.3,
}  # what `automata` promises at 1,000 flows
REPEATED = 20
STEP: Mapping[str, Any] = {"id": "get", "type": "http", "config": {"url": "https://crm.example.com/orders"}}
WAIT: Mapping[str, Any] = {"id": "wait", "type": "delay", "config": {"duration_sec": 30 * 86_400}}
MOCK: Mapping[str, Any] = {"id": "crm", "request": {"method": "GET"}, "responses": [{"json": {"total": 5}}]}
RETRY = {"max_attempts": 10, "initial_delay_ms": 60_000, "max_delay_ms": 86_400_000}
SAVE: Mapping[str, Any] = {
    "id": "save",
    "type": "http",
    "depends_on": ["get"],
    "config": {"method": "POST", "url": "https://erp.example.com/import", "body": "{{ steps.get.outputs.body }}"},
}
SAVED: Mapping[str, Any] = {"id": "erp", "request": {"method": "POST"}, "responses": [{"json": {}}]}


def write(folder: Path, number: int, text: str = "") -> None:
    """A flow and its case."""
    name = f"flow-{number:05}"
    flow = {"name": name, "description": text, "steps": [STEP, SAVE]}
    cases = {"flow": name, "cases": [{"name": "it", "mocks": [MOCK, SAVED], "expect": {"status": "SUCCEEDED"}}]}
    (folder / "flows" / f"{name}.json").write_text(json.dumps(flow))
    (folder / "tests" / f"{name}.test.json").write_text(json.dumps(cases))


def timed(folder: Path, *words: str) -> tuple[float, str]:
    """Seconds that a command takes, and what it says. Raises RuntimeError when it fails."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "automata", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"automata {words[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - began, done.stdout


def one_case() -> float:
    """Seconds of a case with a delay of 30 days and nine retries; the median."""
    mock = {**MOCK, "responses": [{"status": 503, "times": 9}, {"json": {}}]}
    case = {"name": "it", "mocks": [mock], "expect": {"steps": {"get": {"attempts": 10}}}}
    text = json.dumps({"flow": "slow", "cases": [case]}).encode()
    (made,) = read_cases(text, "tests/a.test.json", lambda _: None).cases
    spec = {"name": "slow", "steps": [WAIT, {**STEP, "depends_on": ["wait"], "retry": RETRY}]}
    flows = Flows({"slow": (spec, {})})
    took = []
    for _ in range(REPEATED + 1):
        result = run_case(made, flows)
        assert result.passed, result.problems
        assert result.elapsed_sec > 30 * 86_400
        took.append(result.took_ms / 1000)
    return statistics.median(took[1:])  # the first loads the step types


def deepen(folder: Path, flows: int, commits: int) -> None:
    """Put `commits` commits on top, each of one flow: what a repository of some years has behind it."""
    who = "committer Bench <bench@example.com>"
    parts = []
    for number in range(commits):
        name = f"flow-{number % flows:05}"
        text = json.dumps({"name": name, "description": f"change {number}", "steps": [STEP, SAVE]})
        parts.append(f"commit refs/heads/main\n{who} {1_700_000_000 + number * 3600} +0000\ndata 6\nchange\n")
        parts.append("from refs/heads/main^0\n" if not number else "")
        parts.append(f"M 100644 inline flows/{name}.json\ndata {len(text)}\n{text}\n\n")
    subprocess.run(["git", "fast-import", "--quiet"], cwd=folder, input="".join(parts), text=True, check=True)
    subprocess.run(["git", "reset", "-q", "--hard"], cwd=folder, check=True)


async def synced(url: str, folder: Path) -> dict[str, float]:
    """Seconds of the first fetch of all history, of a first sync, of one that finds nothing new, and of one changed."""
    source = Source(f"file://{folder}", mirrors=folder.parent / "mirrors")
    took = {}
    began = time.perf_counter()
    source.open().fetch()
    took["fetch, first"] = time.perf_counter() - began
    async with await Database.open(url, max_size=2) as db:
        for name in ("sync, first", "sync, again", "sync, one changed"):
            if name == "sync, one changed":
                write(folder, 0, "changed")
                commit(folder)
            began = time.perf_counter()
            await sync_once(db, source)
            took[name] = time.perf_counter() - began
    return took


def commit(folder: Path) -> None:
    identity = ["-c", "user.name=Bench", "-c", "user.email=bench@example.com"]
    for words in (["add", "-A"], ["commit", "-q", "-m", "change"]):
        subprocess.run(["git", *identity, *words], cwd=folder, check=True)


def main(flows: int, commits: int, changed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="automata-bench-") as place, start_embedded(DATA) as server:
        folder = Path(place) / "flows"
        for name in ("flows", "tests"):
            (folder / name).mkdir(parents=True)
        for number in range(flows):
            write(folder, number)
        create_repository(folder, "flows")
        deepen(folder, flows, commits)
        took = asyncio.run(synced(_fresh_database(server.url), folder))
        took["test"], said = timed(folder, "test", "-f", "json")
        assert json.loads(said)["summary"]["passed"] == flows
        for number in range(1, changed + 1):
            spec = json.loads((folder / "flows" / f"flow-{number:05}.json").read_text())
            spec["steps"][1]["timeout_sec"] = 20
            (folder / "flows" / f"flow-{number:05}.json").write_text(json.dumps(spec))
        took["check"], said = timed(folder, "check", "-f", "json")
        assert json.loads(said)["stages"][1]["report"]["summary"]["changed"] == changed
        took["case"] = one_case()
    return {"flows": flows, "commits": commits, "changed": changed, "seconds": took, "bounds": BOUNDS_SEC}


def table(report: Mapping[str, Any]) -> Table:
    words = {
        "check": f"automata check, {report['changed']} flows changed",
        "test": f"automata test, {report['flows']:,} cases",
        "case": "a case of 30 days and nine retries",
    }
    made = Table(title=f"{report['flows']:,} flows, {report['commits']:,} commits")
    for column in ("what", "seconds", "bound"):
        made.add_column(column, justify="left" if column == "what" else "right")
    for name, seconds in report["seconds"].items():
        bound = report["bounds"].get(name)
        made.add_row(words.get(name, name), f"{seconds:.3f}", f"{bound:g}" if bound else "")
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repository", description=__doc__)
    parser.add_argument("--flows", type=int, default=1_000, help="flows, with a case each (default 1000)")
    parser.add_argument("--commits", type=int, default=2_000, help="commits behind them (default 2000)")
    parser.add_argument("--changed", type=int, default=5, help="flows that the checked change touches (default 5)")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    given = parser.parse_args()
    outcome = main(given.flows, given.commits, given.changed)
    if given.output == "json":
        print(json.dumps(outcome, indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else 200).print(table(outcome))
