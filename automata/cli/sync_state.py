"""What a running Automata says of its sources: status, drift, and the way back in an emergency."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automata.cli.client import Api
from automata.cli.options import ApiUrl, Output
from automata.cli.output import Format, emit, facts, moment, say, say_json, table
from automata.errors import Missing, Usage

if TYPE_CHECKING:
    from rich.console import Group

CHANGED = 2
_ACTOR = typer.Option(
    "--as", envvar="AUTOMATA_ACTOR", show_envvar=False, help="Who you are.", show_default="AUTOMATA_ACTOR, else you"
)
_SHOWN_FLOWS = 20
_SHORT = 12

Json = Mapping[str, Any]
Which = Annotated[
    str | None,
    typer.Option("--source", help="Its id, environment or address; needed when there are several.", show_default=False),
]


def status(which: Which = None, output: Output = Format.TABLE, api_url: ApiUrl = None) -> None:
    """Show each source: its commit, its conditions, its last attempts."""
    with Api(api_url) as api:
        sources = api.get("sync")["items"]
    shown = [_pick(sources, which)] if which else sources
    emit({"items": shown}, output, lambda _: _statuses(shown))


def drift(
    which: Which = None,
    detailed_exitcode: Annotated[bool, typer.Option("--detailed-exitcode", help="Exit 2 when there is any.")] = False,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """Show what was changed in the database beside Git since the last sync."""
    with Api(api_url) as api:
        sources = api.get("sync")["items"]
        meant = [_pick(sources, which)] if which else sources
        found = [
            {"source": _name(one), **item} for one in meant for item in api.get("sync", one["id"], "drift")["items"]
        ]
    if output is Format.JSON:
        say_json({"items": found})
    elif found:
        rows = [(one["flow"], one["kind"], one["message"], one["source"]) for one in found]
        emit({}, output, lambda _: table("FLOW", "DRIFT", "WHAT", "SOURCE", rows=rows))
    else:
        say("The database is as the commits say.")
    if found and detailed_exitcode:
        raise typer.Exit(CHANGED)


def rollback(
    to: Annotated[
        str, typer.Option("--to", metavar="SHA", help="A commit that was synced before, or 7 of its digits.")
    ],
    reason: Annotated[
        str, typer.Option("--reason", "-m", help="Shown for as long as the environment is pinned.")
    ] = "emergency",
    which: Which = None,
    actor: Annotated[str | None, _ACTOR] = None,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """In an emergency: go back to an earlier synced commit, without Git, and stay there until it is released.

    All flows of the source get the versions that they had then; runs that are under way keep theirs. The usual way
    back is a revert in Git.
    """
    with Api(api_url) as api:
        source = _pick(api.get("sync")["items"], which)
        body = {"to": to, "reason": reason, "by": actor or _me()}
        done = api.post("sync", source["id"], "rollback", body=body)
    if output is Format.JSON:
        say_json(done)
        return
    changed = done["changed"]
    say(f"{_name(source)} is pinned to {_short(done['source']['head_sha'])}; {len(changed)} flows changed.")
    for name in changed[:_SHOWN_FLOWS]:
        say(f"  {name}")
    if len(changed) > _SHOWN_FLOWS:
        say(f"  and {len(changed) - _SHOWN_FLOWS} more")
    say("No sync moves it until: automata sync release")


def release(which: Which = None, output: Output = Format.TABLE, api_url: ApiUrl = None) -> None:
    """Let a source that was rolled back follow its branch again."""
    with Api(api_url) as api:
        source = _pick(api.get("sync")["items"], which)
        done = api.post("sync", source["id"], "release")
    if output is Format.JSON:
        say_json(done)
    elif source["pinned"]:
        say(f"{_name(source)} follows {source['branch']} again, from its next sync on.")
    else:
        say(f"{_name(source)} was not pinned.")


def _pick(sources: list[Json], which: str | None) -> Json:
    """The one that is meant. Raises Missing, Usage."""
    found = [
        one for one in sources if which is None or which in (one["id"], one["environment"], one["url"], _name(one))
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise Missing(
            f"There is no source {which!r}." if which else "Nothing was synced yet.",
            code="no_source",
            hint="`automata sync status` lists them." if sources else "automata sync --repo URL",
        )
    listed = ", ".join(f"{one['id']} is {_name(one)}" for one in found[:5])
    raise Usage("Which source? There are several.", code="ambiguous_source", hint=f"--source ID; {listed}")


def _name(source: Json) -> str:
    folder = f"//{source['path']}" if source["path"] else ""
    return f"{source['url']}{folder} ({source['environment']})"


def _statuses(sources: list[Json]) -> Group | str:
    from rich.console import Group

    if not sources:
        return "Nothing was synced yet."
    parts: list[Any] = []
    for source in sources:
        parts += ["", *_status(source)] if parts else _status(source)
    return Group(*parts)


def _status(source: Json) -> list[Any]:
    pinned = source["pinned"]
    behind = source["branch_sha"] if source["branch_sha"] != source["head_sha"] else None
    head = facts(
        [
            ("source", _name(source)),
            ("id", source["id"]),
            ("branch", source["branch"]),
            (
                "commit",
                f"{_short(source['head_sha'])}, synced {moment(source['synced_at'])}" if source["head_sha"] else None,
            ),
            ("branch is at", f"{_short(behind)} since {moment(source['branch_since'])}" if behind else None),
            ("pinned", pinned and f"since {moment(pinned['at'])} by {pinned['by']}: {pinned['reason']}"),
            ("last webhook", moment(source["hinted_at"])),
        ]
    )
    conditions = [
        (one["type"], one["status"], one["reason"], one["message"] or None, moment(one["time"]))
        for one in source["conditions"]
    ]
    attempts = [
        (moment(one["finished_at"]), one["status"], _short(one["sha"]), _what(one)) for one in source["attempts"]
    ]
    return [
        head,
        "",
        table("CONDITION", "IS", "REASON", "MESSAGE", "AT", rows=conditions),
        "",
        table("ATTEMPT", "RESULT", "COMMIT", "WHAT", rows=attempts),
    ]


def _what(attempt: Json) -> str | None:
    from automata.sync.report import outcome

    return outcome(attempt) or None


def _short(sha: str | None) -> str | None:
    return sha[:_SHORT] if sha else None


def _me() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
