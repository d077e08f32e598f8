"""`automata check`: everything that can be said about a change before it is merged, in one go and one report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automata.cli.options import EnvOfVariables, Head, Jobs, ProjectPath, RepoFolder
from automata.cli.output import colours
from automata.errors import AutomataError, Diagnostic, Invalid
from automata.settings import load

if TYPE_CHECKING:
    from automata.cli.cases import Found, Known, Place
    from automata.sync.source import Tree

DIRTY = "-dirty"


def check(
    base: Annotated[str, typer.Option("--base", help="A branch or a full SHA: where it shall be merged.")] = "main",
    head: Head = None,
    repo: RepoFolder = None,
    path: ProjectPath = None,
    env: EnvOfVariables = None,
    jobs: Jobs = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", "-f", metavar="FORMAT[=FILE]", help="human, json, junit, sarif, github, markdown; repeatable."
        ),
    ] = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="A required stage without cases or recordings is no failure.")
    ] = False,
) -> None:
    """Validate, plan, test and replay a change against the commit that it branched off from.

    Exit code 1 when a stage fails that the project requires (`checks.required` of automata.yaml on the base; validate
    and test when it says nothing). Nothing is sent, and no secret is needed.
    """
    from automata.cli.cases import find_place
    from automata.cli.targets import targets_of, write
    from automata.report.check import FORMATS, render_check

    targets = targets_of(formats or [], FORMATS)
    place = find_place(load(repo=repo, repo_path=path, environment=env))
    report = check_of(place, base, head, jobs or os.cpu_count() or 1, allow_empty=allow_empty)
    write(targets, lambda form, colour: render_check(report, form, colour=colour), colours())
    if not report["ok"]:
        raise typer.Exit(Invalid.exit_code)


def check_of(place: Place, base: str, head: str | None, jobs: int, *, allow_empty: bool = False) -> dict[str, Any]:
    """The report. Raises Missing, Usage; what is wrong with the change itself is in the report."""
    from automata.report.check import REQUIRED, check_report
    from automata.sync.project import read_project

    began = time.monotonic()
    after = place.at(head) if head else place.now()
    before = place.at(_fork(place, place.at(base).commit, after.commit))
    project = read_project(before)[0]
    required = tuple(project.checks.get("required", REQUIRED))
    run = _Check(place, before, after, jobs, required, allow_empty)
    run.all()
    took = time.monotonic() - began
    return check_report(run.stages, before.commit, after.commit, place.environment, required, took)


def _fork(place: Place, base: str, head: str) -> str:
    """Where the branch left the base: what others merged since is not this change's doing."""
    return place.mirror.merge_base(base, head.removesuffix(DIRTY)) or base


Made = tuple[str, dict[str, Any] | None, str]  # state, report, summary


@dataclass(slots=True)
class _Check:
    place: Place
    before: Tree
    after: Tree
    jobs: int
    required: Sequence[str]
    allow_empty: bool
    stages: list[dict[str, Any]] = field(default_factory=list)
    found: Found | None = None
    then: Found | None = None
    base: Known = field(default_factory=dict)

    def all(self) -> None:
        for name, part in (
            ("validate", self._validate),
            ("plan", self._plan),
            ("test", self._test),
            ("replay", self._replay),
        ):
            self._run(name, part)

    def _run(self, name: str, part: Callable[[], Made]) -> None:
        from automata.report.check import stage

        began = time.monotonic()
        if name != "validate" and self.found is None:
            state, report, summary = "skipped", None, "the flows are not valid"
        else:
            try:
                state, report, summary = part()
            except Invalid as error:
                state, report, summary = _failed(error)
        if state == "empty" and self.allow_empty:
            state = "passed"
        took = time.monotonic() - began
        self.stages.append(stage(name, state, name in self.required, report, took, summary))

    def _validate(self) -> Made:
        from automata.cli.cases import gather
        from automata.report.diagnostics import Report, plural

        found = gather(self.after, self.place.environment)
        report = Report(len(found.known), tuple(one for one in found.diagnostics if one.file in found.paths.values()))
        self.found, self.then = found, self._base(found)
        self.base = self.then.known
        warnings = report.count("warning")
        summary = plural(len(found.known), "flow") + (f", {plural(warnings, 'warning')}" if warnings else "")
        return "passed", report.as_json(), summary

    def _base(self, found: Found) -> Found:
        """The flows of the base; none when they are not valid, for then this change is what mends them."""
        from automata.cli.cases import Found, listed

        try:
            return listed(self.before, self.place.environment, like=found)
        except Invalid:
            return Found()

    def _plan(self) -> Made:
        from automata.report.plan import plan_report, plan_summary

        assert self.found is not None
        report = plan_report(self.base, self.found.known, self.before.commit, self.after.commit, datetime.now(UTC))
        for one in report["flows"]:
            one["path"] = self.found.paths.get(one["flow"])
        orphans = [one for one in report["flows"] for item in one["changes"] if item["path"] == "callers"]
        return "failed" if orphans else "passed", report, plan_summary(report)

    def _test(self) -> Made:
        from automata.cli.cases import touched
        from automata.report.diagnostics import plural
        from automata.report.tests import tests_report
        from automata.sandbox.pool import run_cases

        assert self.found is not None
        assert self.then is not None
        began = time.monotonic()
        now = self.found
        cases = touched(now.cases, now, self.then)
        results = [asdict(one) for one in run_cases(cases, now.known, self.jobs)]
        wrong = [one for one in now.diagnostics if one.file not in now.paths.values()]
        report = tests_report(results, wrong, now.files, time.monotonic() - began)
        changed = sorted(name for name in now.known if now.known[name] != self.base.get(name))
        bare = [name for name in changed if not any(case.flow == name for case in now.cases)]
        told = f"; no case for {', '.join(bare[:5])}{' and others' if len(bare) > 5 else ''}" if bare else ""
        summary = f"{report['summary']['passed']} of {plural(len(results), 'case')} passed{told}"
        if not report["ok"]:
            return "failed", report, summary
        if not results:
            return ("empty" if changed else "passed"), report, f"no case is touched by this change{told}"
        return "passed", report, summary

    def _replay(self) -> Made:
        from automata.cli.evidence import changed_flows, from_trees, policy_of
        from automata.report.replay import replay_report, replay_summary
        from automata.sandbox.replay import replay_all

        assert self.found is not None
        last, tolerance = policy_of(self.before)
        flows = changed_flows(self.base, self.found.known)
        recorded = from_trees([self.before, self.after], flows, last)
        results = [asdict(one) for one in replay_all(recorded, self.base, self.found.known, tolerance, self.jobs)]
        report = replay_report(results, self.before.commit, self.after.commit, flows)
        for one in (*report["differences"], *report["uncovered"]):
            one["file"] = self.found.paths.get(one["flow"], "")
        state = "passed" if report["ok"] else "failed" if report["summary"]["replayed"] else "empty"
        return state, report, replay_summary(report).rstrip(".")


def _failed(error: AutomataError) -> Made:
    """A stage that the files themselves do not let come to an end."""
    from automata.report.diagnostics import Report, plural

    told = tuple(error.diagnostics) or (Diagnostic(error.code, error.message),)
    report: Mapping[str, Any] = Report(0, told).as_json()
    wrong = report["summary"]["errors"]
    return "failed", dict(report), plural(wrong, "error") if error.diagnostics else error.message.rstrip(".")
