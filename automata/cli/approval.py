"""`automata approval`: steps that wait for a person."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer

from automata.cli.client import Api
from automata.cli.options import ApiUrl, By, Output
from automata.cli.output import Format, emit, moment, say, say_json, table

app = typer.Typer(no_args_is_help=True, help="See what waits for a decision, and decide.")

Run = Annotated[str, typer.Argument(help="The run's id.", show_default=False)]
Step = Annotated[str, typer.Argument(help="The step's id.", show_default=False)]
Comment = Annotated[str, typer.Option("--comment", "-m", help="Why; kept with the decision.")]


@app.command("list", epilog="Example: automata approval list -o json")
def list_(output: Output = Format.TABLE, api_url: ApiUrl = None) -> None:
    """List the steps that wait, the oldest first."""
    with Api(api_url) as api:
        emit(api.get("approvals"), output, _table)


@app.command(epilog="Example: automata approval approve 019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c11 review -m 'looks right'")
def approve(
    run: Run, step: Step, comment: Comment = "", by: By = None, output: Output = Format.TABLE, api_url: ApiUrl = None
) -> None:
    """Let a step go on with `approved: true`."""
    _decide(run, step, True, comment, by, output, api_url)


@app.command(epilog="Example: automata approval reject 019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c11 review -m 'wrong amount'")
def reject(
    run: Run, step: Step, comment: Comment = "", by: By = None, output: Output = Format.TABLE, api_url: ApiUrl = None
) -> None:
    """Let a step go on with `approved: false`; what follows is for the flow's conditions to say."""
    _decide(run, step, False, comment, by, output, api_url)


def _decide(
    run: str, step: str, approved: bool, comment: str, by: str | None, output: Format, api_url: str | None
) -> None:
    body = {"approved": approved, "comment": comment, "by": by or getpass.getuser()}
    with Api(api_url) as api:
        api.post("runs", run, "approvals", step, body=body)
    if output is Format.JSON:
        say_json({"run_id": run, "step": step, **body})
    else:
        say(f"{'Approved' if approved else 'Rejected'} {step} of run {run}.")


def _table(data: dict[str, Any]) -> Any:
    rows = (
        (
            item["run_id"],
            item["step"],
            item["flow"],
            item["prompt"],
            moment(item["asked_at"]),
            moment(item["expires_at"]),
        )
        for item in data["items"]
    )
    return table("RUN", "STEP", "FLOW", "PROMPT", "ASKED", "EXPIRES", rows=rows)
