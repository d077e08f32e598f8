"""`automata check`: everything that can be said about a change before it is merged, as one report."""

from __future__ import annotations

import time
from typing import Any

from automata.check.stages import STAGES, Change, run_stage
from automata.errors import Usage
from automata.git.names import short_sha
from automata.project.local import LocalProject
from automata.project.manifest import read_project
from automata.report.check import check_report, stage_entry

DIRTY = "-dirty"


def check_change(
    project: LocalProject, base: str, head: str | None, jobs: int, *, allow_empty: bool = False
) -> dict[str, Any]:
    """The report of all stages, against the commit at which `head` left `base`.

    `base` and `head` are branches or full SHAs; `head` None is what is on disk. `allow_empty`: a stage without flows,
    cases or recordings passes. Raises Missing, Usage; what is wrong with the change itself is in the report.
    """
    began = time.monotonic()
    after = project.at(head) if head else project.now()
    tip = project.at(base)
    before = project.at(_fork(project, tip.commit, after.commit))
    # The rules are those of the base as it is now. Where the change left it is for its author to choose, and by an old
    # commit they would choose old rules.
    required = read_project(tip)[0].required_stages
    change = Change(project, before, after, tip, jobs)
    stages = [_stage_report(name, change, name in required, allow_empty) for name in STAGES]
    took_sec = time.monotonic() - began
    return check_report(stages, before.commit, after.commit, project.environment, required, took_sec)


def _stage_report(name: str, change: Change, required: bool, allow_empty: bool) -> dict[str, Any]:
    began = time.monotonic()
    result = run_stage(STAGES[name], change)
    state = "passed" if result.state == "empty" and allow_empty else result.state
    return stage_entry(name, state, required, result.report, time.monotonic() - began, result.summary)


def _fork(project: LocalProject, base: str, head: str) -> str:
    """Where the branch left the base: what others merged since is not this change's doing. Raises Usage."""
    head = head.removesuffix(DIRTY)
    if fork := project.mirror.merge_base(base, head):
        return fork
    raise Usage(
        f"{short_sha(head)} and {short_sha(base)} have no commit in common, so nobody can tell what is changed.",
        code="no_merge_base",
        hint="A shallow clone lacks it: fetch the whole history (fetch-depth: 0, GIT_DEPTH: 0, git fetch --unshallow).",
    )
