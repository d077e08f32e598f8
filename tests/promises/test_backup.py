"""A dump is enough: restored into an empty database, runs go on where it was taken, and what was done stays done.

The commands are those of docs/operations.md, word for word, taken while runs are under way.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from automata.engine.states import RunStatus
from automata.store.embedded_permissions import find_host
from tests.drive import BROKEN, drive, step

PAGE = Path(__file__).parents[2] / "docs/operations.md"
DELAY = {"id": "rest", "type": "delay", "config": {"duration_sec": "{{ inputs.rest }}"}}
STEPS = (step("first"), {**DELAY, "depends_on": ["first"]}, step("held", "rest"), step("last", "held"))


def commands(title: str) -> str:
    """The shell block under a heading of the page."""
    found = re.search(rf"^### {title}\n.*?```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f"there is no {title!r} in {PAGE.name}"
    return found[1]


def run(script: str, folder: Path, url: str) -> None:
    programs = f"{Path(sys.executable).parent}:{find_host().programs}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": programs, "AUTOMATA_DATABASE_URL": url}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"


async def test_runs_go_on_from_a_restored_dump_and_what_was_done_is_not_done_again(
    make_database: Callable[[], str], make_empty_database: Callable[[], str], tmp_path: Path
) -> None:
    before, after = make_database(), make_empty_database()

    # A short lease, since what is restored waits for the one that it had.
    async with drive(before, lease_sec=2.0, heartbeat_sec=0.5) as site:
        flow = await site.put("pay", *STEPS, inputs={"rest": {"type": "number"}})
        done = await site.start(flow, rest=0)
        assert (await site.ended(done)).status is RunStatus.SUCCEEDED
        site.play.script["first"] = [BROKEN]
        broken = await site.start(flow, rest=0)
        assert (await site.ended(broken)).status is RunStatus.FAILED
        gate = asyncio.Event()
        site.play.script["held"] = [gate]
        in_a_call = await site.start(flow, rest=0)
        await site.called("held", 2)
        waiting = await site.start(flow, rest=3)
        await site.called("first", 4)
        await asyncio.to_thread(run, commands("Back up"), tmp_path, before)
        gate.set()

    run(commands("Restore"), tmp_path, after)

    async with drive(after) as site:
        for id, status in (
            (done, RunStatus.SUCCEEDED),
            (broken, RunStatus.FAILED),
            (in_a_call, RunStatus.SUCCEEDED),
            (waiting, RunStatus.SUCCEEDED),
        ):
            assert (await site.ended(id)).status is status
        assert site.play.made("first") == [], "what had succeeded is not called again"
        keys = [call.key for call in site.play.calls if call.run == str(in_a_call)]
        assert keys == [f"{in_a_call}:held", f"{in_a_call}:last"], "a call under way is made again"
        fresh = await site.start(await site.put("more", step("only")))
        assert (await site.ended(fresh)).status is RunStatus.SUCCEEDED
