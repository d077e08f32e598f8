"""The demo's last act: a change that would send every order twice is refused, the corrected one is merged and runs.

Every command is the one that people type, run in this process on the demo's repository and database.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automata import DISTRIBUTION
from automata.cli.client import Api
from automata.cli.demo.shop import PAGE
from automata.cli.demo.story import Check
from automata.cli.exits import INTERRUPTED, guarded
from automata.cli.output import console, say
from automata.cli.run_view import follow, progress, tree
from automata.errors import Unavailable

if TYPE_CHECKING:
    from automata.git.tree import CommitTree

ADA, BOB = "Ada <ada@example.com>", "Bob <bob@example.com>"
BRANCH = "count-orders"
FLOW, CASES = "flows/sync-orders.json", "tests/sync-orders.test.yaml"
EXPECTED_STATUS = "      status: SUCCEEDED\n"
CHECK_FAILED, REFUSED_BY_GUARD = 1, 5  # exit codes: a check failed; a guard said no


@dataclass(frozen=True, slots=True)
class ChangeOutcome:
    """What came of the change: exit codes of what shall be refused, the run of the new version, and its provenance."""

    checked: int
    own: int
    run: Mapping[str, Any]
    chain: Mapping[str, Any]


def change(program: Callable[..., Any], api: Api, repository: Path, place: Path) -> ChangeOutcome:
    """Propose, be refused, correct, approve, apply, run. `program` is the whole command line.

    Raises Unavailable when a command ends as it should not.
    """
    edits = place / "edits"
    edits.mkdir()
    _edit(repository, edits)
    with _settings(repository, place, api.url), chdir(edits):
        say("\n5. sync-orders: a change that sends every order twice is refused")
        _run(
            program,
            "proposal",
            "create",
            BRANCH,
            "-f",
            f"{FLOW}=twice.json",
            "-m",
            "Send the orders once more",
            "--as",
            ADA,
        )
        checked = _run(program, "check", "--base", "main", "--head", BRANCH, "-j", "1", expect=CHECK_FAILED)
        say("\n6. The corrected change passes, somebody else approves it, and the next run uses it")
        files = ("-f", f"{FLOW}=once.json", "-f", f"{CASES}=cases.yaml")
        words = "Send the orders once, and say how many"
        _run(program, "proposal", "update", BRANCH, *files, "-m", words, "--title", words, "--as", ADA)
        _run(program, "proposal", "submit", BRANCH, "--as", ADA)
        own = _run(program, "proposal", "approve", BRANCH, "--as", ADA, expect=REFUSED_BY_GUARD)
        _run(program, "proposal", "approve", BRANCH, "-m", "as agreed with accounting", "--as", BOB)
        _run(program, "proposal", "apply", BRANCH, "--as", BOB)
        started = api.post("flows", "sync-orders", "runs", body={"inputs": {"source_id": "crm-1"}})
        run, tasks = follow(api, started["id"], progress(plain=False))
        console().print(tree(run, tasks))
        _run(program, "provenance", run["id"])
        return ChangeOutcome(checked, own, run, api.get("runs", run["id"], "provenance"))


def checks(outcome: ChangeOutcome, ledger: Mapping[str, Any]) -> Iterator[Check]:
    """What the change should have come to, beside what the shop counted after it."""
    run, chain = outcome.run, outcome.chain
    yield Check("the check refused to send the orders twice", CHECK_FAILED, outcome.checked)
    yield Check("nobody approves a change of their own", REFUSED_BY_GUARD, outcome.own)
    yield Check("the next run used the new version", (2, "SUCCEEDED"), (run["version"], run["status"]))
    yield Check("and says how many it sent", PAGE, (run["outputs"] or {}).get("imported"))
    sent = [count for key, count in ledger["imports"].items() if key.startswith(run["id"])]
    yield Check("the ERP received its import once", [PAGE], sent)
    said = [approval["by"] for approval in chain["approvals"]]
    yield Check("its provenance names who approved it", ("proposal", [BOB]), (chain["origin"], said))
    yield Check("and a check that passed", True, bool(chain["check"] and chain["check"]["passed"]))


def _edit(repository: Path, folder: Path) -> None:
    """Write the flow that sends twice, the flow that counts, and its cases."""
    from automata.git.mirror import Mirror

    mirror = Mirror.open(str(repository), folder)
    files = mirror.tree(mirror.resolve("main"), "")
    flow, cases = (_content(files, path) for path in (FLOW, CASES))
    spec = json.loads(flow)
    again = {**spec["steps"][-1], "id": "save_again", "depends_on": ["save"]}
    count = {**spec, "outputs": {"imported": "{{ steps.save.outputs.body.imported }}"}}
    texts = {
        "twice.json": json.dumps({**spec, "steps": [*spec["steps"], again]}, indent=2),
        "once.json": json.dumps(count, indent=2),
        "cases.yaml": cases.replace(EXPECTED_STATUS, f"{EXPECTED_STATUS}      outputs: {{imported: 2}}\n", 1),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _content(files: CommitTree, path: str) -> str:
    entry, _ = files.find(path)
    if entry is None:
        raise Unavailable(f"The example has no {path}.", hint=f"Install {DISTRIBUTION} again.")
    return files.data(entry).decode()


def _run(program: Callable[..., Any], *words: str, expect: int = 0) -> int:
    """A command as it is typed, and what it says; its exit code. Raises Unavailable when that is not `expect`."""
    say(f"\n$ automata {shlex.join(words)}")
    code = guarded(partial(program, list(words), standalone_mode=False))
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code != expect:
        raise Unavailable(f"automata {words[0]} ended with {code}, not {expect}", code="demo_failed")
    return code


@contextmanager
def _settings(repository: Path, place: Path, api: str) -> Iterator[None]:
    """The environment of somebody who works on the demo's repository, instead of the user's own settings."""
    own = {name: value for name, value in os.environ.items() if name.startswith("AUTOMATA_")}
    for name in own:
        del os.environ[name]
    ours = {"REPO": str(repository), "DATA_DIR": str(place / "data"), "API_URL": api}
    ours = {f"AUTOMATA_{name}": value for name, value in ours.items()}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
        os.environ.update(own)
