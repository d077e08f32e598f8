"""`automata run batch`: runs from a file of JSON lines, a thousand a request."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from automata.cli.client import Api
from automata.cli.options import ApiUrl, Output
from automata.cli.output import Format, console, say, say_json, table
from automata.errors import Usage

MAX_RUNS = 1000  # of one request
MAX_BYTES = 1024 * 1024  # of one request's runs; the server takes 2 MiB unless it was told otherwise
MAX_LINES = 1_000_000

Row = tuple[int, dict[str, Any], int]  # number of the line, the run, its bytes


def batch(
    file: Annotated[str, typer.Option("--file", "-f", metavar="FILE", help="One run a line, as JSON; - reads stdin.")],
    flow: Annotated[
        str | None, typer.Option("--flow", help="The flow of lines that name none.", show_default=False)
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key",
            help="Lines without a key get KEY:LINE, so that the same file can be given again after a failure.",
            show_default=False,
        ),
    ] = None,
    atomic: Annotated[bool, typer.Option("--atomic", help="All or none; for up to 1,000 runs.")] = False,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """Start many runs: lines like {"flow": "import", "inputs": {"id": 7}, "idempotency_key": "7"}.

    What cannot be started is listed by its line, and holds up no other. Exits 1 then.
    """
    rows = list(_read(file, flow, key))
    if atomic and (len(rows) > MAX_RUNS or sum(size for _, _, size in rows) > MAX_BYTES):
        raise Usage(f"--atomic is for up to {MAX_RUNS:,} runs and 1 MiB; the file has {len(rows):,} runs.")
    report: dict[str, Any] = {"created": 0, "existing": 0, "refused": 0, "items": []}
    with Api(api_url) as api:
        for part in _parts(rows):
            answer = api.post("runs", "batch", body={"runs": [run for _, run, _ in part], "atomic": atomic})
            for name in ("created", "existing", "refused"):
                report[name] += answer[name]
            report["items"] += [
                {"line": part[item["index"]][0], **item["error"]} for item in answer["items"] if item["error"]
            ]
    _tell(report, output)
    if report["refused"]:
        raise typer.Exit(1)


def _read(file: str, flow: str | None, key: str | None) -> Iterator[Row]:
    """Raises Usage for a line that is no run, before anything was sent."""
    name = "standard input" if file == "-" else file
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"{name} cannot be read: {error}") from error
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        raise Usage(f"{name} has more than {MAX_LINES:,} lines.", hint="Give it in parts.")
    any_run = False
    for number, line in enumerate(lines, 1):
        if line.strip():
            any_run = True
            yield number, _run(name, number, line, flow, key), len(line)
    if not any_run:
        raise Usage(f"{name} has no runs.", hint='One a line: {"flow": "import", "inputs": {"id": 7}}')


def _run(name: str, number: int, line: str, flow: str | None, key: str | None) -> dict[str, Any]:
    from automata.flow.inputs import strict_json

    try:
        run = strict_json(line)
    except ValueError as error:
        raise Usage(f"{name}, line {number} is not JSON: {error}") from error
    if not isinstance(run, dict):
        raise Usage(f"{name}, line {number} must be a JSON object with `flow` and `inputs`.")
    if flow is not None:
        run.setdefault("flow", flow)
    if "flow" not in run:
        raise Usage(f"{name}, line {number} names no flow.", hint="Add `flow` to it, or give --flow.")
    if key is not None:
        run.setdefault("idempotency_key", f"{key}:{number}")
    return run


def _parts(rows: Sequence[Row]) -> Iterator[list[Row]]:
    part: list[Row] = []
    size = 0
    for row in rows:
        if part and (len(part) == MAX_RUNS or size + row[2] > MAX_BYTES):
            yield part
            part, size = [], 0
        part.append(row)
        size += row[2]
    yield part


def _tell(report: dict[str, Any], output: Format) -> None:
    if output is Format.JSON:
        say_json(report)
        return
    if report["items"]:
        rows = [(str(item["line"]), item["code"], _words(item)) for item in report["items"]]
        console().print(table("LINE", "CODE", "PROBLEM", rows=rows))
    say("Started {created:,} runs; {existing:,} were there already, {refused:,} refused.".format(**report))


def _words(refusal: dict[str, Any]) -> str:
    if refusal["errors"]:
        return "; ".join(f"{item['pointer']} {item['detail']}" for item in refusal["errors"])
    return str(refusal["detail"]) + (f" {refusal['hint']}" if refusal["hint"] else "")
