"""`automata check`: everything that can be said about a change before it is merged, as one report."""

from __future__ import annotations

import time
from typing import Any

from automata.check.stages import STAGES, Change, run_stage
from automata.project.local import LocalProject
from automata.project.manifest import read_project
from automata.report.check import check_report, stage_entry

DIRTY = "-dirty"


def check_change(
    project: LocalProject, base: str, head: str | None, jobs: int, *, allow_empty: bool = False
) -> dict[str, Any]:
    """The report of all stages, against the commit at which `head` left `base`.

    `base` and `head` are branches or full SHAs; `head` None is what is on disk. `allow_empty`: a stage without cases or
    recordings passes. Raises Missing, Usage; what is wrong with the change itself is in the report.
    """
    began = time.monotonic()
    after = project.at(head) if head else project.now()
    before = project.at(_fork(project, project.at(base).commit, after.commit))
    # The rules are the base's: a change does not decide what it has to pass.
    required = read_project(before)[0].required_stages
    change = Change(project, before, after, jobs)
    stages = [_stage_report(name, change, name in required, allow_empty) for name in STAGES]
    took_sec = time.monotonic() - began
    return check_report(stages, before.commit, after.commit, project.environment, required, took_sec)


def _stage_report(name: str, change: Change, required: bool, allow_empty: bool) -> dict[str, Any]:
    began = time.monotonic()
    result = run_stage(STAGES[name], change)
    state = "passed" if result.state == "empty" and allow_empty else result.state
    return stage_entry(name, state, required, result.report, time.monotonic() - began, result.summary)


def _fork(project: LocalProject, base: str, head: str) -> str:
    """Where the branch left the base: what others merged since is not this change's doing."""
    return project.mirror.merge_base(base, head.removesuffix(DIRTY)) or base
