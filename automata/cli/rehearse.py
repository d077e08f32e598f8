"""`automata test`: rehearse flows against mocks, in memory and on virtual time, before anybody merges them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automata.cli.output import colours
from automata.errors import Invalid, Usage
from automata.settings import load

if TYPE_CHECKING:
    from automata.sandbox.case import Case
    from automata.sandbox.cases import Result

FOLDER = "tests"
PROGRESS_FROM = 50
MAX_JOBS = 64
Known = dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]]


def rehearse(
    select: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SELECT]...", help="Flows, test files or cases; * and ? match.", show_default=False),
    ] = None,
    repo: Annotated[
        str | None, typer.Option("--repo", help="Flows repository: a folder.", show_default="the one around")
    ] = None,
    path: Annotated[
        str | None, typer.Option("--path", help="The project's folder inside the repository.", show_default=False)
    ] = None,
    env: Annotated[
        str | None, typer.Option("--env", help="The environment whose variables apply.", show_default="prod")
    ] = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only cases that a change since --base touches.")] = False,
    base: Annotated[
        str | None, typer.Option("--base", help="A branch or a full SHA, for --changed.", show_default=False)
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, max=MAX_JOBS, help="Processes.", show_default="one a core")
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", "-f", metavar="FORMAT[=FILE]", help="human, json, junit or github; repeatable."),
    ] = None,
    allow_empty: Annotated[bool, typer.Option("--allow-empty", help="No cases are not a failure.")] = False,
) -> None:
    """Run the cases of tests/**/*.test.yaml against their mocks. Exit code 1 when one of them fails.

    The files on disk count, committed or not. Nothing leaves the machine: the network is denied, and time is virtual.
    """
    from automata.cli.cases import find_place, gather, selected, touched
    from automata.cli.targets import targets_of, write
    from automata.report.tests import FORMATS, render_tests, tests_report

    if changed != (base is not None):
        raise Usage("--changed and --base belong together.", hint="automata test --changed --base main")
    targets = targets_of(formats or [], FORMATS)
    began = time.monotonic()
    place = find_place(load(repo=repo, repo_path=path, environment=env))
    found = gather(place.now(), place.environment)
    cases = selected(found, select or [])
    if base is not None:
        cases = touched(cases, found, gather(place.at(base), place.environment))
    results = [asdict(one) for one in _run(cases, found.known, jobs or os.cpu_count() or 1)]
    report = tests_report(results, found.diagnostics, found.files, time.monotonic() - began)
    write(targets, lambda form, colour: render_tests(report, form, colour=colour), colours())
    if not cases and not allow_empty and not found.diagnostics:
        raise Invalid("No case was selected." if found.cases else "There are no cases.", code="no_cases", hint=_EMPTY)
    if not report["ok"]:
        raise typer.Exit(Invalid.exit_code)


_EMPTY = "Cases are in tests/**/*.test.yaml; --allow-empty accepts that there are none."


def _run(cases: Sequence[Case], known: Known, jobs: int) -> Iterator[Result]:
    from automata.sandbox.pool import run_cases

    results = run_cases(cases, known, jobs)
    if len(cases) < PROGRESS_FROM or not sys.stderr.isatty():
        return results
    from rich.progress import track

    from automata.cli.output import console

    return iter(track(results, "Rehearsing", total=len(cases), console=console(stderr=True), transient=True))
