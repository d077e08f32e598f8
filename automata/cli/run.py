"""`automata run`: start runs, see what became of them, follow them, cancel, retry and rerun them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from automata.cli.bulk import BulkAction, names_single_items, print_bulk, run_bulk
from automata.cli.client import Api
from automata.cli.logs import logs
from automata.cli.options import (
    All,
    ApiUrl,
    DryRun,
    FlowName,
    FlowVersion,
    IdempotencyKey,
    Limit,
    OfFlow,
    Output,
    RunId,
    Since,
    StartedBy,
    Until,
    Wait,
    Yes,
)
from automata.cli.output import Format, compact, emit, facts, moment, say, say_json, status, table, took
from automata.cli.run_batch import batch
from automata.errors import Usage

Json = Mapping[str, Any]

app = typer.Typer(no_args_is_help=True, help="Start runs and see what became of them.")


CANCEL = BulkAction("Cancel", "Asked for the end of", "run", "finished meanwhile")
RETRY = BulkAction("Retry", "Retried", "run", "retried meanwhile by somebody else")


@app.command(epilog="Example: automata run start sync-orders -i source_id=crm-1 --wait")
def start(
    flow: FlowName,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="NAME=VALUE", help="One input; JSON unless the input is a string."),
    ] = None,
    inputs_file: Annotated[
        str | None, typer.Option("--inputs", metavar="FILE", help="All inputs as a JSON object; - reads stdin.")
    ] = None,
    version: FlowVersion = None,
    idempotency_key: IdempotencyKey = None,
    wait: Wait = False,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """Start a run of a flow."""
    from automata.cli.run_inputs import gather

    with Api(api_url) as api:
        body: dict[str, Any] = {"inputs": gather(inputs or [], inputs_file, lambda: input_types(api, flow, version))}
        if version is not None:
            body["version"] = version
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        run = api.post("flows", flow, "runs", body=body, headers=headers)
        _started(api, run, wait, output, f"Started run {run['id']} of {run['flow']} v{run['version']}.")


@app.command("list", epilog="Example: automata run list --flow sync-orders --status FAILED --limit 20")
def list_(
    flow: Annotated[str | None, typer.Option("--flow", help="Only runs of this flow.")] = None,
    state: Annotated[
        str | None, typer.Option("--status", help="PENDING, RUNNING, SUCCEEDED, FAILED or CANCELLED.")
    ] = None,
    trigger: StartedBy = None,
    limit: Limit = 50,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """List runs, the newest first."""
    with Api(api_url) as api:
        query = {"flow": flow, "status": state and state.upper(), "trigger": trigger}
        runs = list(api.items("runs", limit=limit, **query))
    emit({"items": runs}, output, _runs_table)


@app.command(epilog="Example: automata run show 019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c11")
def show(run_id: RunId, output: Output = Format.TABLE, api_url: ApiUrl = None) -> None:
    """Show a run: its steps as a tree, with timings and what went wrong."""
    with Api(api_url) as api:
        run = api.get("runs", run_id)
        tasks = api.get("runs", run_id, "tasks")["items"]
    _show(run, tasks, output)


@app.command(epilog="Example: automata run watch 019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c11")
def watch(run_id: RunId, output: Output = Format.TABLE, api_url: ApiUrl = None) -> None:
    """Follow a run to its end. Exits 1 unless it succeeded; Ctrl-C leaves it running."""
    with Api(api_url) as api:
        _follow(api, run_id, output)


@app.command(epilog="Example: automata run tasks 019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c11 -o json")
def tasks(run_id: RunId, output: Output = Format.TABLE, api_url: ApiUrl = None) -> None:
    """List a run's tasks: the state of each step."""
    with Api(api_url) as api:
        emit(api.get("runs", run_id, "tasks"), output, _tasks_table)


app.command(epilog="Example: automata run batch --file runs.jsonl --idempotency-key import-7")(batch)


app.command(epilog="Example: automata run logs 019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c11 --step fetch --follow")(logs)


@app.command(epilog="Example: automata run cancel --flow sync-orders --status PENDING --dry-run")
def cancel(
    run_ids: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs.", show_default=False)] = None,
    flow: OfFlow = None,
    state: Annotated[str | None, typer.Option("--status", help="Only PENDING or only RUNNING ones.")] = None,
    trigger: StartedBy = None,
    since: Since = None,
    until: Until = None,
    all_: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """Cancel runs, single ones or all that a filter means: nothing further starts, what runs is dropped."""
    moments = {"since": since, "until": until}
    filters = {"flow": flow, "status": state and state.upper(), "trigger": trigger, **moments, "all": all_}
    single = names_single_items(run_ids or [], filters)
    with Api(api_url) as api:
        if not single:
            print_bulk(run_bulk(api, ("runs", "cancel"), filters, CANCEL, dry_run=dry_run, yes=yes), CANCEL, output)
            return
        if dry_run:
            raise Usage("--dry-run is for a filter.", hint="See one run with automata run show.")
        runs = [api.post("runs", run_id, "cancel") for run_id in run_ids or []]
    if output is Format.JSON:
        say_json(runs[0] if len(runs) == 1 else {"items": runs})
        return
    for run in runs:
        say(f"Cancellation of run {run['id']} was accepted.")


@app.command(epilog="Example: automata run retry --flow sync-orders --since 2026-01-01T00:00:00Z --dry-run")
def retry(
    run_id: Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run's id.", show_default=False)] = None,
    flow: OfFlow = None,
    state: Annotated[str | None, typer.Option("--status", help="CANCELLED ones instead of FAILED ones.")] = None,
    trigger: StartedBy = None,
    since: Since = None,
    until: Until = None,
    all_: All = False,
    version: Annotated[
        str, typer.Option("--version", help="same, latest, or a number: the mended version that the run goes on by.")
    ] = "same",
    dry_run: DryRun = False,
    yes: Yes = False,
    wait: Wait = False,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """Have a run, or all that a filter means, go on where it failed: what succeeded is not done again."""
    moments = {"since": since, "until": until}
    filters = {"flow": flow, "status": state and state.upper(), "trigger": trigger, **moments, "all": all_}
    single = names_single_items([run_id] if run_id else [], filters)
    if (dry_run and single) or (wait and not single):
        raise Usage("--dry-run is for a filter, --wait for one run.", hint="See one run with automata run show.")
    body = {"version": _version(version)}
    if version != "same" and not single:
        raise Usage("--version is for one run.", hint="Name it by its id.")
    with Api(api_url) as api:
        if not single:
            print_bulk(run_bulk(api, ("runs", "retry"), filters, RETRY, dry_run=dry_run, yes=yes), RETRY, output)
            return
        run = api.post("runs", str(run_id), "retry", body=body)
        _started(api, run, wait, output, f"Run {run_id} goes on, attempt {run['attempt']}.")


@app.command(epilog="Example: automata run rerun 019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c11 --version latest")
def rerun(
    run_id: RunId,
    version: Annotated[str, typer.Option("--version", help="same, latest, or a number.")] = "same",
    idempotency_key: IdempotencyKey = None,
    wait: Wait = False,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """Start a new run with the inputs of an earlier one, from the first step."""
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    body = {"version": _version(version)}
    with Api(api_url) as api:
        run = api.post("runs", run_id, "rerun", body=body, headers=headers)
        _started(api, run, wait, output, f"Started run {run['id']} of {run['flow']} v{run['version']}.")


def _version(text: str) -> str | int:
    """As the API takes it. Raises Usage."""
    if text in ("same", "latest"):
        return text
    if not (text.isascii() and text.isdigit()):
        raise Usage(f"{text!r} is not a version.", hint="--version takes same, latest, or a number.")
    return int(text)


def _started(api: Api, run: Json, wait: bool, output: Format, words: str) -> None:
    if wait:
        _follow(api, run["id"], output)
    elif output is Format.JSON:
        say_json(run)
    else:
        say(words)
        say(f"Follow it: automata run watch {run['id']}")


def _follow(api: Api, run_id: str, output: Format) -> None:
    from automata.cli.run_view import follow, progress

    try:
        run, states = follow(api, run_id, progress(plain=output is Format.TABLE))
    except KeyboardInterrupt:
        say(f"The run goes on. Follow it again: automata run watch {run_id}", stderr=True)
        raise
    _show(run, states, output)
    if run["status"] != "SUCCEEDED":
        raise typer.Exit(1)


def _show(run: Json, states: Sequence[Json], output: Format) -> None:
    emit({**run, "tasks": states}, output, lambda _: _sheet(run, states))


def _sheet(run: Json, states: Sequence[Json]) -> Any:
    from rich.console import Group

    from automata.cli.run_view import tree
    from automata.git.names import short_sha

    details = facts(
        (
            ("trigger", run["trigger"]),
            ("attempt", run["attempt"] if run["attempt"] > 1 else None),
            ("created by", run["created_by"]),
            ("rerun of", run["rerun_of"]),
            ("parent", run["parent_run_id"] and f"{run['parent_step']} of run {run['parent_run_id']}"),
            ("created", moment(run["created_at"])),
            ("commit", short_sha(run["commit_sha"] or "")),
            ("inputs", run["inputs"] and compact(run["inputs"])),
            ("outputs", run["outputs"] and compact(run["outputs"])),
        )
    )
    return Group(tree(run, states), details)


def input_types(api: Api, flow: str, version: int | None = None) -> dict[str, str]:
    """The declared type of each input of a flow's version (the current one unless named)."""
    number = version if version is not None else api.get("flows", flow)["version"]
    spec = api.get("flows", flow, "versions", str(number))["spec"]
    return {name: item.get("type", "string") for name, item in spec.get("inputs", {}).items()}


def _runs_table(data: dict[str, Any]) -> Any:
    rows = (
        (
            run["id"],
            run["flow"],
            run["version"],
            status(run["status"]),
            run["trigger"],
            moment(run["created_at"]),
            took(run["started_at"] or run["created_at"], run["finished_at"]),
        )
        for run in data["items"]
    )
    return table("RUN", "FLOW", "VERSION", "STATUS", "TRIGGER", "CREATED", "TOOK", rows=rows)


def _tasks_table(data: dict[str, Any]) -> Any:
    from automata.cli.run_view import message

    rows = (
        (
            task["step"],
            status(task["status"]),
            task["attempt"],
            moment(task["started_at"]),
            took(task["started_at"], task["finished_at"]),
            message(task["error"]),
        )
        for task in data["items"]
    )
    return table("STEP", "STATUS", "ATTEMPT", "STARTED", "TOOK", "ERROR", rows=rows)
