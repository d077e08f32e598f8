"""Real processes of the product, and a flows repository for them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import warm

# Short enough that a test sees a lease end, long enough that a busy machine does not end it.
QUICK = {"AUTOMATA_LEASE_SEC": "6", "AUTOMATA_HEARTBEAT_SEC": "2", "AUTOMATA_ALLOW_LOOPBACK": "true"}
PRODUCT = ("automata",)


def environment(database_url: str, **more: str) -> dict[str, str]:
    return {**os.environ, **QUICK, "AUTOMATA_DATABASE_URL": database_url, **more}


@contextmanager
def automata_up(
    repo: Path, env: Mapping[str, str], program: tuple[str, ...] = PRODUCT
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`automata up` and its address, which is "" when it ended before it had one; killed at the end of the block."""
    process = warm.Process(
        [*program, "up", "--repo", str(repo), "--port", "0", "-o", "json"],
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = _address(process)
        assert address or program != PRODUCT, f"automata up ended with {process.wait(120)} before it was ready"
        yield process, address
    finally:
        process.kill()
        process.wait(120)
        assert process.stdout is not None
        process.stdout.close()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event.get("event") == "ready":
            return str(event["url"])
    return ""


def make_repo(place: Path, *flows: Mapping[str, Any]) -> Path:
    """A Git repository with these flows on `main`."""
    (place / "flows").mkdir(parents=True)
    for flow in flows:
        (place / "flows" / f"{flow['name']}.json").write_text(json.dumps(flow))
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "flows"]):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        subprocess.run(["git", *identity, *command], cwd=place, check=True)
    return place


def until(true: Callable[[], bool], what: str, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
