"""`automata record` and `automata replay`: what production did, kept, and done again on another commit."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from automata.cli.client import Api
from automata.cli.options import ApiUrl, EnvOfVariables, Head, Jobs, Output, ProjectPath, RepoFolder
from automata.cli.output import Format, colours, say, say_json
from automata.errors import Invalid, Usage
from automata.settings import load

MAX_FILE_BYTES = 1024 * 1024  # what a repository's file may have


def record(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids of ended runs.", show_default=False)],
    to: Annotated[Path, typer.Option("--to", help="The folder.")] = Path("tests/recordings"),
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """Write recorded runs to files that `automata replay` goes by, one FLOW-RUN.json each; masked as they were stored.

    A run is recorded when its flow or its environment says `recording: on`.
    """
    with Api(api_url) as api:
        documents = [api.get("runs", run, "recording") for run in runs]
    written = [_write(document, to) for document in documents]
    if output is Format.JSON:
        say_json({"files": [str(path) for path in written]})
        return
    for path in written:
        say(f"Wrote {path}")


def _write(document: dict[str, Any], folder: Path) -> Path:
    path = folder / f"{document['flow']}-{document['run']['id']}.json"
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    if len(text.encode()) > MAX_FILE_BYTES:
        raise Invalid(
            f"The recording of the run {document['run']['id']} has more than {MAX_FILE_BYTES:,} bytes.",
            code="too_large",
            hint="Replay it from the database: automata replay --online",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Usage(f"{path} cannot be written: {error.strerror}.", code="unwritable") from error
    return path


def replay(
    flows: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FLOW]...", help="Flows.", show_default="those that changed"),
    ] = None,
    base: Annotated[str, typer.Option("--base", help="A branch or a full SHA: what runs today.")] = "main",
    head: Head = None,
    last: Annotated[
        int | None,
        typer.Option("--last", min=1, max=1_000, help="Runs of each flow.", show_default="the project's, else 20"),
    ] = None,
    online: Annotated[bool, typer.Option("--online", help="Runs of the database, not of the repository.")] = False,
    repo: RepoFolder = None,
    path: ProjectPath = None,
    env: EnvOfVariables = None,
    jobs: Jobs = None,
    formats: Annotated[
        list[str] | None, typer.Option("--format", "-f", metavar="FORMAT[=FILE]", help="human or json; repeatable.")
    ] = None,
    allow_empty: Annotated[bool, typer.Option("--allow-empty", help="No recorded runs are not a failure.")] = False,
    api_url: ApiUrl = None,
) -> None:
    """Do recorded runs again on the base and on the branch, answered as production was, and compare.

    Nothing is sent. Exit code 1 when status, outputs or a request that writes differ, when a write was never
    recorded, or when there is no evidence. Compared are flows that changed, unless some are named.
    """
    from automata.check.replay import replay_change
    from automata.cli.report_outputs import parse_outputs, write_report
    from automata.project.local import find_local_project
    from automata.report.replay import FORMATS, render_replay

    outputs = parse_outputs(formats or [], FORMATS)
    project = find_local_project(load(repo=repo, repo_path=path, environment=env))
    with Api(api_url) if online else nullcontext() as api:
        report = replay_change(project, base, head, jobs or os.cpu_count() or 1, flows=flows or (), last=last, api=api)
    write_report(outputs, lambda form, colour: render_replay(report, form, colour=colour), colours())
    if not report["ok"] and not (allow_empty and not report["summary"]["recorded"]):
        raise typer.Exit(Invalid.exit_code)
