"""`automata run logs`: what the attempts of a run said, in the order in which they said it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automata.cli.client import Api
from automata.cli.options import ApiUrl, Output
from automata.cli.output import Format, colours, console, moment, printable, say, say_json

if TYPE_CHECKING:
    from rich.text import Text

Json = Mapping[str, Any]

FINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})
MOST = 100_000  # attempts; more is for programs, page by page
POLL_SEC = 1.0
STYLES = {"warning": "yellow", "error": "bold red"}


def logs(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.", show_default=False)],
    step: Annotated[str | None, typer.Option("--step", help="Only of this step; its full id.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """Show what steps said: requests, retries and their reasons, and the lines of step types.

    An attempt tells when it has ended. With -o json every line is one JSON object, as it comes.
    """
    with Api(api_url) as api:
        seen: dict[tuple[str, int], int] = {}
        while True:
            # The state is asked for first: what was said before the end is then all there.
            run = api.get("runs", run_id, wait_sec=POLL_SEC if follow and seen else 0)
            for line in _fresh(api, run_id, step, seen):
                _show(line, output)
            if not follow or run["status"] in FINAL:
                break
            seen.setdefault(("", 0), 0)
        if len(seen) <= 1 and output is Format.TABLE and not any(seen.values()):
            say("Nothing was said." if run["status"] in FINAL else "Nothing was said yet.", stderr=True)


def _fresh(api: Api, run_id: str, step: str | None, seen: dict[tuple[str, int], int]) -> Iterator[dict[str, Any]]:
    """Lines that were not shown yet, by their time."""
    path = ("runs", run_id, "logs") if step is None else ("runs", run_id, "tasks", step, "logs")
    lines = []
    for item in api.items(*path, limit=MOST):
        key = (item["step"], item["attempt"])
        fresh = item["lines"][seen.get(key, 0) :]
        seen[key] = len(item["lines"])
        lines += [{"step": item["step"], "attempt": item["attempt"], **line} for line in fresh]
    yield from sorted(lines, key=lambda line: str(line["at"]))


def _show(line: dict[str, Any], output: Format) -> None:
    if output is Format.JSON:
        say_json(line, indent=None)
    elif colours():
        console().print(_coloured(line), soft_wrap=True)
    else:
        say(f"{moment(line['at'])} {_place(line)} {line['level']:7} {_flat(line['message'])}")


def _coloured(line: Json) -> Text:
    from rich.text import Text

    style = STYLES.get(line["level"], "")
    return Text.assemble(
        (f"{moment(line['at'])} ", "dim"), (f"{_place(line)} ", "cyan"), (printable(_flat(line["message"])), style)
    )


def _place(line: Json) -> str:
    return line["step"] if line["attempt"] == 1 else f"{line['step']}#{line['attempt']}"


def _flat(text: str) -> str:
    """On one line: what a step says must not look like a line of another one."""
    return text.replace("\r", "\\r").replace("\n", "\\n")
