"""The check of a proposal, in a process of its own: limited, fenced, without a secret in its environment, with an end.

Failure argument. The child reads Git objects and writes one report to its standard output. Whatever it does, it is
killed with all that it started when its time is over. What it says counts only when it is a whole report, of the
commits that were asked about, and when its verdict follows from the stages that the base requires, read here once more.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from automata.check.fence import hide_process
from automata.check.limits import CPU_SEC, MEMORY_BYTES, OUT_OF_MEMORY
from automata.check.stages import STAGES
from automata.errors import AutomataError, Conflict, Invalid, Refused, Unavailable, Usage
from automata.flow.exact_json import loads
from automata.git.mirror import Mirror
from automata.interpreter import python_command
from automata.project.manifest import read_project

CHECK_SECONDS = 600.0
MAX_REPORT_BYTES = 64 * 1024 * 1024
_COMMAND = tuple(python_command("-m", "automata.check"))
PLAN_SECONDS = 60.0
# How the child ends with an error of its own (check/__main__.py), by exit code; what is Unavailable is not among them.
_KINDS: Mapping[int, type[AutomataError]] = {1: Invalid, 3: Usage, 5: Refused, 6: Conflict}
_ERROR = re.compile(r"error: (?P<message>.*) \[(?P<code>[A-Za-z0-9_]+)\](?:\n  .*)*(?:\nhint: (?P<hint>.*))?")
# (repository, folder, environment, base, head) -> the report of `automata check`
Checker = Callable[..., Awaitable[dict[str, Any]]]
# All that a check needs to know of the world. No AUTOMATA_*, no credential, no agent's socket.
_PASSED_ON = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "TZ")


async def run_check(
    repository: Path, folder: str, environment: str, base: str, head: str, *, seconds: float = CHECK_SECONDS
) -> dict[str, Any]:
    """The report of `automata check` on `head` (a full SHA) against `base`, policy being the base's.

    Raises Unavailable (`check_broken`), Refused (`check_too_long`, `check_limits`) when there is none.
    """
    report = await _child("check", repository, folder, environment, base, head, seconds)
    required = await asyncio.to_thread(_required, repository, folder, base)
    if not _believable(report, base, head, required):
        raise Unavailable("What the check says is not about this merge, or not about all of it.", code="check_broken")
    return report


async def run_plan(repository: Path, folder: str, environment: str, base: str, head: str) -> dict[str, Any]:
    """The report of `automata plan`: what `head` means to `base`. Raises Invalid for what is not valid, Unavailable."""
    return await _child("plan", repository, folder, environment, base, head, PLAN_SECONDS)


async def _child(
    command: str, repository: Path, folder: str, environment: str, base: str, head: str, seconds: float
) -> dict[str, Any]:
    words = ["--repo", str(repository), "--env", environment, "--base", base, "--head", head]
    if folder:
        words += ["--path", folder]
    hide_process()  # before there is a child that could look
    with tempfile.TemporaryDirectory(prefix="automata-check-") as home:
        code, out, err = await run((*_COMMAND, command, *words), home, seconds)
    return _report(code, out, err)


def _required(repository: Path, folder: str, base: str) -> set[str]:
    """The stages that the base requires: what the child says of that is only believed when it says the same."""
    tree = Mirror.open(str(repository), repository).tree(base, folder)
    return set(read_project(tree)[0].required_stages)


def _believable(report: dict[str, Any], base: str, head: str, required: set[str]) -> bool:
    """Whether the report is of these commits, and its verdict follows from stages that are all there."""
    try:
        states = {stage["name"]: stage["state"] for stage in report["stages"]}
        stated = {stage["name"] for stage in report["stages"] if stage["required"]}
        failed = {name for name in required if states.get(name) != "passed"}
        statement = (report["base"], report["head"], stated, set(report["failed"]), report["ok"])
    except (KeyError, TypeError):
        return False
    return set(states) == set(STAGES) and statement == (base, head, required, failed, not failed)


async def run(command: tuple[str, ...], home: str, seconds: float) -> tuple[int, bytes, bytes]:
    """Exit code and output of a command in a session of its own. Raises Refused when its time is over."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=home,
        env={**{name: os.environ[name] for name in _PASSED_ON if name in os.environ}, "HOME": home, "NO_COLOR": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            out, err = await asyncio.gather(*(_read(pipe) for pipe in (process.stdout, process.stderr)))
            await process.wait()
    except TimeoutError:
        raise Refused(
            f"The check did not come to an end within {seconds:g} s.",
            code="check_too_long",
            hint="Have its cases and recordings do less: it is the same with every try.",
        ) from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return process.returncode or 0, out, err


async def _read(pipe: asyncio.StreamReader | None) -> bytes:
    """Up to one byte more than a report may have; what a child says beyond that is read and dropped."""
    assert pipe is not None
    data = bytearray()
    while chunk := await pipe.read(1 << 16):
        data += chunk[: MAX_REPORT_BYTES + 1 - len(data)]
    return bytes(data)


def _report(code: int, out: bytes, err: bytes) -> dict[str, Any]:
    words = err.decode(errors="replace").strip()[-2_000:]
    try:
        report = loads(out) if 0 < len(out) <= MAX_REPORT_BYTES else None
    except ValueError:
        report = None
    if isinstance(report, dict) and code == (0 if report.get("ok", True) else 1):
        return report
    raise _ended_badly(code, words)


def _ended_badly(code: int, words: str) -> AutomataError:
    """What the child says is wrong with the change, by its exit code; else that it was ended, or broke off."""
    if (match := _ERROR.match(words)) and (kind := _KINDS.get(code)):
        return kind(match["message"], code=match["code"], hint=match["hint"])
    if code in (-signal.SIGXCPU, -signal.SIGKILL, -signal.SIGXFSZ) or words.endswith(OUT_OF_MEMORY):
        return Refused(
            "The check took more of the machine than it may.",
            code="check_limits",
            hint=f"It may have {CPU_SEC} s of CPU and {MEMORY_BYTES >> 30} GiB of memory, in a container a share of"
            " what that has. It is the same with every try.",
        )
    last = words.splitlines()[-1] if words else ""
    return Unavailable(f"The check broke off (exit code {code})" + (f": {last}" if last else "."), code="check_broken")
