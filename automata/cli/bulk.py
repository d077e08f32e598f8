"""What commands that act on many things at once share: what is meant, how many that is, a question, and a count.

The API takes a bounded number a request; these go on until all are done. One that is cut off in the middle is simply
given again: what was done is no longer meant.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import typer

from automata.cli.client import Api
from automata.cli.output import Format, console, emit, say, say_json, table
from automata.errors import Usage

BATCH = 200  # one request, so one transaction


@dataclass(frozen=True, slots=True)
class BulkAction:
    """What is done, in words: `Retry`, `Retried`, `dead letter`, and why one may have been left as it was."""

    now: str
    past: str
    noun: str
    skipped: str


def names_single_items(ids: list[str], filters: dict[str, Any]) -> bool:
    """Whether single ones are meant and not a filter. Raises Usage when both are given, or nothing is."""
    chosen = any(value for value in filters.values())
    if ids and chosen:
        raise Usage("An id and a filter exclude each other.")
    if not ids and not chosen:
        raise Usage("Nothing says which are meant.", hint="Name one by its id, give a filter such as --flow, or --all.")
    return bool(ids)


def run_bulk(
    api: Api, path: tuple[str, ...], body: dict[str, Any], action: BulkAction, *, dry_run: bool, yes: bool
) -> Any:
    """Ask, then do it batch by batch. Returns the sum of the answers, or None when the person said no."""
    body = {name: value for name, value in body.items() if value not in (None, False)}
    if dry_run:
        return api.post(*path, body={**body, "dry_run": True})
    if not yes and sys.stdin.isatty() and not _agreed(api, path, body, action):
        return None
    total: dict[str, Any] = {"dry_run": False, "matched": 0, "done": 0, "skipped": 0, "runs": []}
    cursor: str | None = ""
    while cursor is not None:
        answer = api.post(*path, body={**body, "limit": BATCH} | ({"cursor": cursor} if cursor else {}))
        for name in ("matched", "done", "skipped", "runs"):
            total[name] += answer[name]
        cursor = answer["next_cursor"]
        if cursor:
            say(f"{action.past} {total['done']:,} so far", stderr=True)
    return total


def print_bulk(answer: Any, action: BulkAction, output: Format) -> None:
    """Print what run_bulk returned."""
    if answer is None:
        say("Nothing was changed.", stderr=True)
        raise typer.Exit(1)
    if answer["dry_run"]:
        emit(answer, output, lambda preview: _groups(preview["groups"]))
        if output is Format.TABLE:
            say(f"{action.now} would reach {_count(answer['matched'], action.noun)}.")
        return
    if output is Format.JSON:
        say_json(answer)
        return
    say(f"{action.past} {_count(answer['done'], action.noun)}.")
    if answer["skipped"]:
        say(f"Left {_count(answer['skipped'], action.noun)} as it was: {action.skipped}.", stderr=True)


def _agreed(api: Api, path: tuple[str, ...], body: dict[str, Any], action: BulkAction) -> bool:
    preview = api.post(*path, body={**body, "dry_run": True})
    if not preview["matched"]:
        return True
    console(stderr=True).print(_groups(preview["groups"]))
    return typer.confirm(f"{action.now} {_count(preview['matched'], action.noun)}?", err=True)


def _groups(groups: list[dict[str, Any]]) -> Any:
    return table(
        "FLOW", "CODE", "COUNT", rows=((group["flow"], group["code"], f"{group['count']:,}") for group in groups)
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
