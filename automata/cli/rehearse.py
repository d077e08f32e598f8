"""`automata test`: rehearse flows against mocks, in memory and on virtual time, before anybody merges them."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automata.cli.options import EnvOfVariables, Jobs, ProjectPath, RepoFolder
from automata.cli.output import colours, report, say
from automata.errors import AutomataError, Invalid, Usage
from automata.settings import Settings, load

if TYPE_CHECKING:
    from automata.cli.targets import Target
    from automata.sandbox.case import Case
    from automata.sandbox.cases import Result

FOLDER = "tests"
PROGRESS_FROM = 50
Known = dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]]


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
    from automata.cli.targets import targets_of
    from automata.report.tests import FORMATS

    if changed != (base is not None):
        raise Usage("--changed and --base belong together.", hint="automata test --changed --base main")
    if record_mocks and record_mocks.exists():
        raise Usage(f"{record_mocks} is there already.", hint="Name a new file: what is in it is not touched.")
    asked = _Asked(
        settings=load(repo=repo, repo_path=path, environment=env),
        select=tuple(select or ()),
        base=base,
        jobs=jobs or os.cpu_count() or 1,
        targets=targets_of(formats or [], FORMATS),
        allow_empty=allow_empty,
    )
    if watch:
        _watch(asked)
        return
    made = _once(asked)
    if record_mocks:
        _record(made, record_mocks)
    if not made["ok"]:
        raise typer.Exit(Invalid.exit_code)


@dataclass(frozen=True, slots=True)
class _Asked:
    settings: Settings
    select: Sequence[str]
    base: str | None
    jobs: int
    targets: Sequence[Target]
    allow_empty: bool


def _once(asked: _Asked) -> dict[str, Any]:
    """Run and tell. Raises Invalid when there was nothing to run."""
    from automata.cli.cases import find_place, gather, listed, selected, touched
    from automata.cli.targets import write
    from automata.report.tests import render_tests, tests_report

    began = time.monotonic()
    place = find_place(asked.settings)
    found = gather(place.now(), place.environment)
    cases = selected(found, asked.select)
    if asked.base is not None:
        cases = touched(cases, found, listed(place.at(asked.base), place.environment, like=found))
    results = [asdict(one) for one in _run(cases, found.known, asked.jobs)]
    made = tests_report(results, found.diagnostics, found.files, time.monotonic() - began)
    write(asked.targets, lambda form, colour: render_tests(made, form, colour=colour), colours())
    if not cases and not asked.allow_empty and not found.diagnostics:
        raise Invalid("No case was selected." if found.cases else "There are no cases.", code="no_cases", hint=_EMPTY)
    return made


def _watch(asked: _Asked) -> None:
    """Again whenever a file changes, until Ctrl-C; what is wrong is told and waited for."""
    from automata.cli.cases import find_place
    from automata.sync.source import watch

    place = find_place(asked.settings)

    async def follow() -> None:
        changes = watch(place.source)
        while True:
            # Watching begins before the run: what changes meanwhile is a reason for another one.
            change = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0)
            try:
                await asyncio.to_thread(_once, asked)
            except AutomataError as error:
                report(error)
            say("Waiting for a change; Ctrl-C ends it.", stderr=True)
            await change

    asyncio.run(follow())


def _record(made: Mapping[str, Any], file: Path) -> None:
    """Write mocks for the requests that none answered, or say that there were none."""
    from automata.flow.yaml12 import to_yaml
    from automata.sandbox.skeleton import skeletons

    mocks = skeletons(one for case in made["cases"] for one in case["unmatched"])
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


def _run(cases: Sequence[Case], known: Known, jobs: int) -> Iterator[Result]:
    from automata.sandbox.pool import run_cases

    results = run_cases(cases, known, jobs)
    if len(cases) < PROGRESS_FROM or not sys.stderr.isatty():
        return results
    from rich.progress import track

    from automata.cli.output import console

    return iter(track(results, "Rehearsing", total=len(cases), console=console(stderr=True), transient=True))
