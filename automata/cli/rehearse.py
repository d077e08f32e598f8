"""`automata test`: rehearse flows against mocks, in memory and on virtual time, before anybody merges them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automata.cli.options import EnvOfVariables, Jobs, ProjectPath, RepoFolder
from automata.cli.output import colours, report, say
from automata.errors import AutomataError, Invalid, Usage
from automata.settings import Settings, load

if TYPE_CHECKING:
    from automata.cli.report_outputs import ReportOutput
    from automata.sandbox.case_runner import CaseResult

PROGRESS_FROM = 50


def rehearse(
    select: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SELECT]...", help="Flows, test files or cases; * and ? match.", show_default=False),
    ] = None,
    repo: RepoFolder = None,
    path: ProjectPath = None,
    env: EnvOfVariables = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only cases that a change since --base touches.")] = False,
    base: Annotated[
        str | None, typer.Option("--base", help="A branch or a full SHA, for --changed.", show_default=False)
    ] = None,
    jobs: Jobs = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", "-f", metavar="FORMAT[=FILE]", help="human, json, junit or github; repeatable."),
    ] = None,
    allow_empty: Annotated[bool, typer.Option("--allow-empty", help="No cases are not a failure.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Run again whenever a file changes.")] = False,
    record_mocks: Annotated[
        Path | None,
        typer.Option("--record-mocks", metavar="FILE", help="Write mocks to begin with, for requests without one."),
    ] = None,
) -> None:
    """Run the cases of tests/**/*.test.yaml against their mocks. Exit code 1 when one of them fails.

    The files on disk count, committed or not. Nothing leaves the machine: the network is denied, and time is virtual.
    """
    from automata.cli.report_outputs import parse_outputs
    from automata.report.tests import FORMATS

    if changed != (base is not None):
        raise Usage("--changed and --base belong together.", hint="automata test --changed --base main")
    if record_mocks and record_mocks.exists():
        raise Usage(f"{record_mocks} is there already.", hint="Name a new file: what is in it is not touched.")
    options = _Options(
        settings=load(repo=repo, repo_path=path, environment=env),
        select=tuple(select or ()),
        base=base,
        jobs=jobs or os.cpu_count() or 1,
        outputs=parse_outputs(formats or [], FORMATS),
        allow_empty=allow_empty,
    )
    if watch:
        _watch(options)
        return
    test_report = _test(options)
    if record_mocks:
        _record(test_report, record_mocks)
    if not test_report["ok"]:
        raise typer.Exit(Invalid.exit_code)


@dataclass(frozen=True, slots=True)
class _Options:
    settings: Settings
    select: Sequence[str]
    base: str | None
    jobs: int
    outputs: Sequence[ReportOutput]
    allow_empty: bool


def _test(options: _Options) -> dict[str, Any]:
    """Run the cases and write the report. Raises Invalid when there was nothing to run."""
    from automata.check.tests import run_tests
    from automata.cli.report_outputs import write_report
    from automata.project.local import find_local_project
    from automata.report.tests import render_tests

    project = find_local_project(options.settings)
    run = run_tests(project, options.select, options.base, options.jobs, _with_progress)
    write_report(options.outputs, lambda form, colour: render_tests(run.report, form, colour=colour), colours())
    if run.nothing_to_run and not options.allow_empty:
        raise Invalid("No case was selected." if run.known else "There are no cases.", code="no_cases", hint=_EMPTY)
    return run.report


def _watch(options: _Options) -> None:
    """Again whenever a file changes, until Ctrl-C; what is wrong is told and waited for."""
    from automata.project.local import find_local_project
    from automata.project.source import watch

    project = find_local_project(options.settings)

    async def follow() -> None:
        changes = watch(project.source)
        while True:
            # Watching begins before the run: what changes meanwhile is a reason for another one.
            change = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0)
            try:
                await asyncio.to_thread(_test, options)
            except AutomataError as error:
                report(error)
            say("Waiting for a change; Ctrl-C ends it.", stderr=True)
            await change

    asyncio.run(follow())


def _record(test_report: Mapping[str, Any], file: Path) -> None:
    """Write mocks for the requests that none answered, or say that there were none."""
    from automata.flow.yamldump import to_yaml
    from automata.sandbox.skeleton import skeletons

    mocks = skeletons(request for case in test_report["cases"] for request in case["unmatched"])
    if not mocks:
        say("Every request was matched; no mocks were written.", stderr=True)
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(to_yaml({"mocks": mocks}), encoding="utf-8")
    except OSError as error:
        raise Usage(f"{file} cannot be written: {error.strerror}.", code="unwritable") from error
    say(f"Wrote {len(mocks)} mocks to {file}: fill in their answers, and name the file in `mocks_from`.", stderr=True)


_EMPTY = "Cases are in tests/**/*.test.yaml; --allow-empty accepts that there are none."


def _with_progress(results: Iterator[CaseResult], cases: int) -> Iterator[CaseResult]:
    """The results, with a progress bar for a person who waits for many."""
    if cases < PROGRESS_FROM or not sys.stderr.isatty():
        return results
    from rich.progress import track

    from automata.cli.output import console

    return iter(track(results, "Rehearsing", total=cases, console=console(stderr=True), transient=True))
