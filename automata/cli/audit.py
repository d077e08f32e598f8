"""`automata audit`: who changed what."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from automata.cli.client import Api
from automata.cli.options import ApiUrl, Limit, Output
from automata.cli.output import Format, compact, emit, moment, table

app = typer.Typer(no_args_is_help=True, help="See who changed what, and when.")


@app.command("list", epilog="Example: automata audit list --action token. --since 2026-01-01T00:00:00Z")
def list_(
    actor: Annotated[str | None, typer.Option("--actor", help="Only what this one did.")] = None,
    action: Annotated[
        str | None, typer.Option("--action", help="Only this, like token.revoke; `token.` is all of a kind.")
    ] = None,
    object: Annotated[str | None, typer.Option("--object", help="Only of this thing, like flow/orders.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="From this time on.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Before this time.")] = None,
    limit: Limit = 50,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """List changes, the newest first. Takes an admin's token where the server asks for one."""
    filters = {"actor": actor, "action": action, "object": object, "since": since, "until": until}
    with Api(api_url) as api:
        items = list(api.items("audit", limit=limit, **filters))
    emit({"items": items}, output, _table)


def _table(data: dict[str, Any]) -> Any:
    rows = (
        (
            moment(item["at"]),
            item["actor"],
            item["role"],
            item["address"],
            item["action"],
            item["object"],
            compact(item["after"] if item["after"] is not None else item["before"])[:80],
        )
        for item in data["items"]
    )
    return table("AT", "ACTOR", "ROLE", "FROM", "ACTION", "OBJECT", "WHAT", rows=rows)
