"""`automata record` and `automata replay`: what production did, kept, and done again on another commit."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automata.cli.client import Api
from automata.cli.options import ApiUrl, EnvOfVariables, Head, Jobs, Output, ProjectPath, RepoFolder
from automata.cli.output import Format, colours, say, say_json
from automata.errors import Invalid, Usage
from automata.settings import load

if TYPE_CHECKING:
    from automata.cli.cases import Place
    from automata.sandbox.recorded import Recorded

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
    from automata.cli.cases import find_place
    from automata.cli.targets import targets_of, write
    from automata.report.replay import FORMATS, render_replay

    targets = targets_of(formats or [], FORMATS)
    place = find_place(load(repo=repo, repo_path=path, environment=env))
    report = replay_of(place, base, head, flows, last, jobs, Api(api_url) if online else None)
    write(targets, lambda form, colour: render_replay(report, form, colour=colour), colours())
    if not report["ok"] and not (allow_empty and not report["summary"]["recorded"]):
        raise typer.Exit(Invalid.exit_code)


def replay_of(
    place: Place,
    base: str,
    head: str | None,
    flows: list[str] | None = None,
    last: int | None = None,
    jobs: int | None = None,
    api: Api | None = None,
) -> dict[str, Any]:
    """The report. `api`: where runs come from instead of the repository; it is closed here."""
    from automata.cli.cases import flows_of
    from automata.cli.evidence import changed_flows, from_api, from_trees, policy_of
    from automata.report.replay import replay_report
    from automata.sandbox.replay import replay_all

    before, after = place.at(base), place.at(head) if head else place.now()
    known = [flows_of(tree, place.environment) for tree in (before, after)]
    chosen = changed_flows(*known) if not flows else _known(flows, known[0])
    most, tolerance = policy_of(before)
    recorded: list[Recorded]
    if api:
        with api:
            recorded = from_api(api, chosen, last or most)
    else:
        recorded = from_trees([before, after], chosen, last or most)
    results = replay_all(recorded, known[0], known[1], tolerance, jobs or os.cpu_count() or 1)
    return replay_report([asdict(one) for one in results], before.commit, after.commit, chosen)


def _known(flows: list[str], known: Any) -> list[str]:
    from automata.flow.findings import Nearest

    for flow in flows:
        if flow not in known:
            hint = Nearest().hint(flow, list(known)) or "Flows that are new have no recorded runs."
            raise Usage(f"The base has no flow {flow!r}.", code="no_flow", hint=hint)
    return flows
