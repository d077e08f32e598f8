"""`automata check`: everything that can be said about a change before it is merged, in one go and one report."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from automata.cli.options import EnvOfVariables, Head, Jobs, ProjectPath, RepoFolder
from automata.cli.output import colours
from automata.errors import Invalid
from automata.settings import load


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
    from automata.check.change import check_change
    from automata.cli.report_outputs import parse_outputs, write_report
    from automata.project.local import find_local_project
    from automata.report.check import FORMATS, render_check

    outputs = parse_outputs(formats or [], FORMATS)
    project = find_local_project(load(repo=repo, repo_path=path, environment=env))
    report = check_change(project, base, head, jobs or os.cpu_count() or 1, allow_empty=allow_empty)
    write_report(outputs, lambda form, colour: render_check(report, form, colour=colour), colours())
    if not report["ok"]:
        raise typer.Exit(Invalid.exit_code)
