"""`automata plan`: what a change would mean, before it is merged."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from automata.cli.output import colours
from automata.settings import load

CHANGED = 2  # the exit code for changes, on request


def plan(
    base: Annotated[str, typer.Option("--base", help="A branch or a full SHA: what it is compared with.")],
    head: Annotated[
        str | None, typer.Option("--head", help="A branch or a full SHA.", show_default="the files on disk")
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
    formats: Annotated[
        list[str] | None, typer.Option("--format", "-f", metavar="FORMAT[=FILE]", help="human or json; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the JSON report here too.")] = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 2 when anything changes.")
    ] = False,
) -> None:
    """Say what a change means: breaking, security, behaviour or neutral; when schedules fire; which flows call it.

    Flows are compared by name and steps by id, so moving a file or writing steps in another order is no change.
    """
    from automata.cli.cases import find_place, flows_of
    from automata.cli.targets import Target, targets_of, write
    from automata.report.plan import FORMATS, plan_report, render_plan

    targets = targets_of(formats or [], FORMATS) + ([Target("json", out)] if out else [])
    place = find_place(load(repo=repo, repo_path=path, environment=env))
    before, after = place.at(base), place.at(head) if head else place.now()
    flows = [flows_of(tree, place.environment) for tree in (before, after)]
    report = plan_report(flows[0], flows[1], before.commit, after.commit, datetime.now(UTC))
    write(targets, lambda form, colour: render_plan(report, form, colour=colour), colours())
    if detailed_exitcode and report["flows"]:
        raise typer.Exit(CHANGED)
