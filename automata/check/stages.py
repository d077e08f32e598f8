"""The stages of `automata check`: one function a stage, each with a state, a report and a summary.

What a stage finds wrong with the change is its result. Only what is wrong with the question (no such commit, no such
environment) is raised.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from automata.check.cases import touched_cases
from automata.check.contents import ProjectContents, list_contents, read_contents
from automata.check.recordings import changed_flows, replay_policy, trees_recordings
from automata.errors import AutomataError, Diagnostic, Invalid
from automata.project.local import LocalProject
from automata.project.policy_changes import policy_changes
from automata.project.tree import Tree
from automata.report.diagnostics import Report, plural
from automata.report.plan import plan_report, plan_summary
from automata.report.replay import replay_report, replay_summary
from automata.report.tests import tests_report
from automata.sandbox.pool import run_cases
from automata.sandbox.replay import replay_all

MAX_NAMED = 5  # flows without a case that a summary names
StageState = Literal["passed", "failed", "empty", "skipped"]


@dataclass(frozen=True, slots=True)
class StageResult:
    """`empty`: there was nothing to go by. `report` has the stage's own form; None when it did not come so far."""

    state: StageState
    report: dict[str, Any] | None
    summary: str


@dataclass(slots=True)
class Change:
    """A change of a project: `before` and `after` are the commits, `policy` the tip of the base, which has the rules.

    `jobs`: how many processes may run side by side.

    The stage `validate` fills in `base` and `head`, what the commits hold, for the stages behind it.
    """

    project: LocalProject
    before: Tree
    after: Tree
    policy: Tree
    jobs: int
    base: ProjectContents = field(default_factory=ProjectContents)
    head: ProjectContents | None = None

    @property
    def contents(self) -> ProjectContents:
        """What the change makes of the project; there once `validate` passed."""
        assert self.head is not None
        return self.head


def validate(change: Change) -> StageResult:
    """Read the flows and the cases. `empty`: there is no flow. Raises Invalid when a flow is not valid."""
    head = read_contents(change.after, change.project.environment)
    report = Report(len(head.flows), tuple(head.diagnostics))
    change.base = _base_contents(change, head)
    change.head = head
    warnings = report.count("warning")
    if not head.flows:
        return StageResult("empty", report.as_json(), f"there are no flows in {', '.join(head.folders)}")
    summary = plural(len(head.flows), "flow") + (f", {plural(warnings, 'warning')}" if warnings else "")
    return StageResult("passed", report.as_json(), summary)


def _base_contents(change: Change, head: ProjectContents) -> ProjectContents:
    """The flows of the base; none when they are not valid, for then this change is what mends them."""
    try:
        return list_contents(change.before, change.project.environment, like=head)
    except Invalid:
        return ProjectContents()


def plan(change: Change) -> StageResult:
    """Say what the change means. It fails when a flow goes that others still call."""
    head = change.contents
    now, commits = datetime.now(UTC), (change.before.commit, change.after.commit)
    policy = policy_changes(change.before, change.after, change.project.environment)
    changes = [(item.file, item.change) for item in policy]
    report = plan_report(change.base.flows, head.flows, *commits, now, policy=changes)
    for flow in report["flows"]:
        flow["path"] = head.paths.get(flow["flow"])
    still_called = any(item["path"] == "callers" for flow in report["flows"] for item in flow["changes"])
    return StageResult("failed" if still_called else "passed", report, plan_summary(report))


def test(change: Change) -> StageResult:
    """Rehearse the cases that the change touches. `empty`: a flow changed, and no case is of it."""
    head, began = change.contents, time.monotonic()
    cases = touched_cases(head.cases, head, change.base)
    results = [asdict(result) for result in run_cases(cases, head.flows, change.jobs)]
    report = tests_report(results, head.case_diagnostics, head.files, time.monotonic() - began)
    changed = sorted(name for name in head.flows if head.flows[name] != change.base.flows.get(name))
    without_case = _without_case(changed, head)
    summary = f"{report['summary']['passed']} of {plural(len(results), 'case')} passed{without_case}"
    if not report["ok"]:
        return StageResult("failed", report, summary)
    if not results:
        state: StageState = "empty" if changed else "passed"
        return StageResult(state, report, f"no case is touched by this change{without_case}")
    return StageResult("passed", report, summary)


def _without_case(changed: list[str], head: ProjectContents) -> str:
    bare = [name for name in changed if not any(case.flow == name for case in head.cases)]
    more = " and others" if len(bare) > MAX_NAMED else ""
    return f"; no case for {', '.join(bare[:MAX_NAMED])}{more}" if bare else ""


def replay(change: Change) -> StageResult:
    """Do the recorded runs of the changed flows again on both commits, by the policy of the base."""
    head = change.contents
    last, tolerance = replay_policy(change.policy)
    flows = changed_flows(change.base.flows, head.flows)
    recordings = trees_recordings([change.policy, change.before, change.after], flows, last)
    results = [asdict(run) for run in replay_all(recordings, change.base.flows, head.flows, tolerance, change.jobs)]
    report = replay_report(results, change.before.commit, change.after.commit, flows)
    for finding in (*report["differences"], *report["uncovered"]):
        finding["file"] = head.paths.get(finding["flow"], "")
    state: StageState = "passed" if report["ok"] else "failed" if report["summary"]["replayed"] else "empty"
    return StageResult(state, report, replay_summary(report).rstrip("."))


Stage = Callable[[Change], StageResult]
# The names are those of `checks.required` (project/schemas.py), and the order is the one in which they run.
STAGES: Mapping[str, Stage] = {"validate": validate, "plan": plan, "test": test, "replay": replay}


def run_stage(stage: Stage, change: Change) -> StageResult:
    """One stage's result; `failed` with the findings when the files do not let it come to its end."""
    if stage is not validate and change.head is None:
        return StageResult("skipped", None, "the flows are not valid")
    try:
        return stage(change)
    except Invalid as error:
        return _failed(error)


def _failed(error: AutomataError) -> StageResult:
    diagnostics = tuple(error.diagnostics) or (Diagnostic(error.code, error.message),)
    report = Report(0, diagnostics).as_json()
    errors = plural(report["summary"]["errors"], "error") if error.diagnostics else error.message.rstrip(".")
    return StageResult("failed", dict(report), errors)
