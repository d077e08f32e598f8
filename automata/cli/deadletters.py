"""`automata dlq`: steps that failed for good, and what is to become of them."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer

from automata.cli.bulk import BulkAction, names_single_items, print_bulk, run_bulk
from automata.cli.client import Api
from automata.cli.options import All, ApiUrl, By, DryRun, Limit, OfFlow, Output, Since, Until, Yes
from automata.cli.output import Format, compact, emit, facts, moment, say, say_json, table

app = typer.Typer(no_args_is_help=True, help="See which steps failed for good; retry or discard them.")

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Dead letters.", show_default=False)]
Code = Annotated[str | None, typer.Option("--code", help="Only with this error code, like http_status.")]
Run = Annotated[str | None, typer.Option("--run", help="Only of this run.")]

RETRY = BulkAction("Retry", "Retried", "dead letter", "closed meanwhile, or its run did not end FAILED")
DISCARD = BulkAction("Discard", "Discarded", "dead letter", "closed meanwhile")


@app.command("list", epilog="Example: automata dlq list --flow sync-orders --code http_status")
def list_(
    flow: OfFlow = None,
    code: Code = None,
    run: Run = None,
    since: Since = None,
    until: Until = None,
    state: Annotated[str, typer.Option("--state", help="open, retried, discarded or all.")] = "open",
    limit: Limit = 50,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """List dead letters, the newest first."""
    query = {"flow": flow, "code": code, "run_id": run, "since": since, "until": until, "state": state}
    with Api(api_url) as api:
        letters = list(api.items("dlq", limit=limit, **query))
    emit({"items": letters}, output, _table)


@app.command(epilog="Example: automata dlq show 42")
def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="The dead letter's id.", show_default=False)],
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """Show a dead letter: the last error, and the request that was sent."""
    with Api(api_url) as api:
        emit(api.get("dlq", letter), output, _sheet)


@app.command(epilog="Example: automata dlq retry --flow sync-orders --code http_status --since 2026-01-01T00:00:00Z")
def retry(
    ids: Ids = None,
    flow: OfFlow = None,
    code: Code = None,
    run: Run = None,
    since: Since = None,
    until: Until = None,
    all_: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    by: By = None,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """Have runs go on at the steps that failed: single ones, or all that a filter means."""
    filters = {"flow": flow, "code": code, "run_id": run, "since": since, "until": until, "all": all_}
    _do("retry", RETRY, ids or [], filters, by, dry_run, yes, output, api_url)


@app.command(epilog="Example: automata dlq discard 42 43")
def discard(
    ids: Ids = None,
    flow: OfFlow = None,
    code: Code = None,
    run: Run = None,
    since: Since = None,
    until: Until = None,
    all_: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    by: By = None,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """Close dead letters without another attempt: single ones, or all that a filter means."""
    filters = {"flow": flow, "code": code, "run_id": run, "since": since, "until": until, "all": all_}
    _do("discard", DISCARD, ids or [], filters, by, dry_run, yes, output, api_url)


def _do(
    verb: str,
    action: BulkAction,
    ids: list[str],
    filters: dict[str, Any],
    by: str | None,
    dry_run: bool,
    yes: bool,
    output: Format,
    api_url: str | None,
) -> None:
    by = by or getpass.getuser()
    single = names_single_items(ids, filters)
    with Api(api_url) as api:
        if not single:
            print_bulk(
                run_bulk(api, ("dlq", verb), {**filters, "by": by}, action, dry_run=dry_run, yes=yes), action, output
            )
            return
        letters = [api.get("dlq", id) if dry_run else api.post("dlq", id, verb, body={"by": by}) for id in ids]
    if output is Format.JSON:
        say_json({"items": letters})
        return
    for letter in letters:
        word = f"{action.now} would reach" if dry_run else action.past
        say(f"{word} {letter['step'] or 'the end'} of run {letter['run_id']} ({letter['flow']}).")


def _table(data: dict[str, Any]) -> Any:
    rows = (
        (
            item["id"],
            item["flow"],
            item["step"] or "",
            item["code"],
            item["attempts"],
            item["run_id"],
            ", ".join(parent["flow"] for parent in item["parents"]),
            moment(item["created_at"]),
            item["state"],
        )
        for item in data["items"]
    )
    return table("ID", "FLOW", "STEP", "CODE", "ATTEMPTS", "RUN", "PARENTS", "SINCE", "STATE", rows=rows)


def _sheet(item: dict[str, Any]) -> Any:
    error = item["error"] or {}
    return facts(
        (
            ("dead letter", item["id"]),
            ("state", item["state"]),
            ("flow", f"{item['flow']} v{item['version']}"),
            ("run", f"{item['run_id']} ({item['run_status'] or 'on its way'})"),
            ("step", item["step"] or "none: the run as a whole"),
            *(
                ("parent", f"{parent['step']} of run {parent['run_id']} ({parent['flow']})")
                for parent in item["parents"]
            ),
            ("attempts", item["attempts"]),
            ("code", item["code"]),
            ("error", error.get("message")),
            ("details", compact(rest) if (rest := {k: v for k, v in error.items() if k not in SHOWN}) else None),
            ("request", item["request"] and compact(item["request"])),
            ("since", moment(item["created_at"])),
            ("closed", moment(item["resolved_at"])),
            ("by", item["resolved_by"]),
        )
    )


SHOWN = frozenset({"code", "message"})
