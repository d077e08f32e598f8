"""`automata notify`: who is told when something needs a person, what was sent, and whether it arrives."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from automata.cli.client import Api
from automata.cli.options import ApiUrl, Limit, Output
from automata.cli.output import Format, emit, moment, say, table

app = typer.Typer(no_args_is_help=True, help="See who is told when something needs a person, and test it.")

Id = Annotated[str, typer.Argument(metavar="ID", help="The notification's id.", show_default=False)]
POLL_SEC = 0.5


@app.command("list", epilog="Example: automata notify list --state failed")
def list_(
    state: Annotated[str | None, typer.Option("--state", help="pending, delivered or failed.")] = None,
    limit: Limit = 50,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """List what was sent or is to be, the newest first."""
    with Api(api_url) as api:
        items = list(api.items("notifications", limit=limit, state=state))
    emit({"items": items}, output, _table)


@app.command(epilog="Example: automata notify rules")
def rules(output: Output = Format.TABLE, api_url: ApiUrl = None) -> None:
    """List who is told what, as the environments' files say."""
    with Api(api_url) as api:
        emit(api.get("notifications", "rules"), output, _rules)


@app.command("test", epilog="Example: automata notify test on-call")
def prove(
    rule: Annotated[str | None, typer.Argument(help="Its name.", show_default="all")] = None,
    timeout_sec: Annotated[float, typer.Option("--timeout-sec", min=0, help="How long to wait for it.")] = 30,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """Send a test message and wait for the receiver's answer. Exits 1 unless all were delivered."""
    with Api(api_url) as api:
        items = api.post("notifications", "test", body={"rule": rule} if rule else {})["items"]
        until = time.monotonic() + timeout_sec
        # One attempt tells enough: what failed once is tried again for days.
        while time.monotonic() < until and any(not item["attempts"] or _is_open(item) for item in items):
            time.sleep(POLL_SEC)
            items = [api.get("notifications", item["id"]) for item in items]
    emit({"items": items}, output, _table)
    if any(item["state"] != "delivered" for item in items):
        raise typer.Exit(1)


@app.command(epilog="Example: automata notify retry 4f8f5ab2-6d8f-4d0a-9b57-0e8f6c1f2a10")
def retry(id: Id, output: Output = Format.TABLE, api_url: ApiUrl = None) -> None:
    """Have a message that failed for good be sent again, under the same id."""
    with Api(api_url) as api:
        item = api.post("notifications", id, "retry")
    if output is Format.TABLE:
        say(f"The notification {id} is sent again.")
    else:
        emit(item, output, lambda _: "")


def _is_open(item: dict[str, Any]) -> bool:
    """Whether its first attempt is under way."""
    return item["state"] == "pending" and item["error"] is None


def _table(data: dict[str, Any]) -> Any:
    rows = (
        (
            item["id"],
            item["rule"],
            item["kind"],
            item["to"],
            item["state"],
            item["attempts"],
            item["error"] or item["status"],
            moment(item["created_at"]),
        )
        for item in data["items"]
    )
    return table("ID", "RULE", "ABOUT", "TO", "STATE", "ATTEMPTS", "ANSWER", "CREATED", rows=rows)


def _rules(data: dict[str, Any]) -> Any:
    rows = (
        (
            item["name"],
            item["environment"],
            ", ".join(item["on"]),
            item["to"],
            item["template"],
            ", ".join([*item["flows"], *(f"{name}={value}" for name, value in item["labels"].items())]) or None,
        )
        for item in data["items"]
    )
    return table("NAME", "ENVIRONMENT", "ON", "TO", "TEMPLATE", "ONLY", rows=rows)
