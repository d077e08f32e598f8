"""How the child that checks a proposal ends, and what is said of that."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from automata.check.limits import OUT_OF_MEMORY
from automata.errors import AutomataError, Conflict, Invalid, Refused, Unavailable, Usage
from automata.proposals import check_process
from automata.proposals.check_process import run_plan
from tests.proposals.repo import Repo

ENDS = {
    "invalid": (1, "error: 2 errors in a. [invalid_flows]\n  a:1: AF020 x\nhint: mend it", Invalid, "invalid_flows"),
    "usage": (3, "error: No such environment. [environment_unknown]", Usage, "environment_unknown"),
    "refused": (5, "error: Too large. [too_large]", Refused, "too_large"),
    "conflict": (6, "error: It moved. [head_moved]", Conflict, "head_moved"),
    "unavailable": (4, "error: Not now. [git_read]", Unavailable, "check_broken"),
    "memory": (4, OUT_OF_MEMORY, Refused, "check_limits"),
    "time": (-signal.SIGXCPU, "", Refused, "check_limits"),
    "killed": (-signal.SIGKILL, "", Refused, "check_limits"),
    "crashed": (4, "KeyError in the check", Unavailable, "check_broken"),
    "odd": (1, "Traceback (most recent call last):\n  File x\nKeyError: 'x'", Unavailable, "check_broken"),
}


@pytest.mark.parametrize("way", ENDS)
async def test_what_is_the_same_with_every_try_is_not_told_as_passing(
    way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, words, kind, expected = ENDS[way]
    end = f"os.kill(os.getpid(), {-code})" if code < 0 else f"sys.exit({code})"
    program = f"import os, sys; sys.stderr.write({words!r}); {end}"
    monkeypatch.setattr(check_process, "_COMMAND", (sys.executable, "-c", program))
    with pytest.raises(AutomataError) as told:
        await run_plan(tmp_path, "", "prod", "a" * 40, "b" * 40)
    assert (type(told.value), told.value.code) == (kind, expected)
    assert "Traceback" not in str(told.value)


async def test_the_plan_of_what_is_not_valid_says_so(tmp_path: Path) -> None:
    repo = Repo.made(tmp_path)
    base = repo.git("rev-parse", "main")
    head = repo.push("fix", {"flows/orders.yaml": "name: orders\nsteps: 1\n"}, "main")
    with pytest.raises(Invalid) as told:
        await run_plan(repo.bare, "", "prod", base, head)
    assert told.value.code == "invalid_flows"
