"""`automata plan`: what a change would mean, before it is merged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from automata.cli.client import Api
from automata.cli.options import ApiUrl, EnvOfVariables, Head, ProjectPath, RepoFolder
from automata.cli.output import colours
from automata.errors import Usage
from automata.settings import load

CHANGED = 2  # the exit code for changes, on request


def plan(
    base: Annotated[
        str | None,
        typer.Option("--base", help="A branch or a full SHA: what it is compared with.", show_default=False),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Compare with what runs now, as the API knows it, instead of --base.")
    ] = False,
    head: Head = None,
    repo: RepoFolder = None,
    path: ProjectPath = None,
    env: EnvOfVariables = None,
    formats: Annotated[
        list[str] | None, typer.Option("--format", "-f", metavar="FORMAT[=FILE]", help="human or json; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the JSON report here too.")] = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 2 when anything changes.")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(
            "--source", help="With --live: the source, where several feed the environment.", show_default=False
        ),
    ] = None,
    api_url: ApiUrl = None,
) -> None:
    """Say what a change means: breaking, security, behaviour or neutral; when schedules fire; which flows call it.

    Flows are compared by name and steps by id, so moving a file or writing steps in another order is no change. With
    --live it also says which unfinished runs, open dead letters and schedules a changed flow has.
    """
    from automata.check.plan import plan_against_commit, plan_against_production
    from automata.cli.report_outputs import ReportOutput, parse_outputs, write_report
    from automata.project.local import find_local_project
    from automata.report.plan import FORMATS, changes_anything, render_plan

    if (base is None) is not live:
        raise Usage(
            "Compare with --base or with --live, and with one of them.",
            hint="--base main: another commit; --live: what runs now.",
        )
    if source and not live:
        raise Usage("--source goes with --live.")
    outputs = parse_outputs(formats or [], FORMATS) + ([ReportOutput("json", out)] if out else [])
    project = find_local_project(load(repo=repo, repo_path=path, environment=env))
    if live:
        with Api(api_url) as api:
            report = plan_against_production(project, api, head, source)
    else:
        report = plan_against_commit(project, base or "", head)
    write_report(outputs, lambda form, colour: render_plan(report, form, colour=colour), colours())
    if detailed_exitcode and changes_anything(report):
        raise typer.Exit(CHANGED)
