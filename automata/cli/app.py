"""The command line: which commands there are.

What a command needs is imported inside it: `automata --help` must not wait for a database driver.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated

import typer

from automata import __version__, build
from automata.cli import (
    approval,
    audit,
    client,
    deadletters,
    flow,
    notify,
    proposal,
    run,
    schedule,
    sync,
    token,
    webhook,
)
from automata.cli.arguments import check_arguments
from automata.cli.check import check
from automata.cli.demo.command import demo
from automata.cli.doctor import doctor
from automata.cli.exits import guarded
from automata.cli.init import init
from automata.cli.migrate import migrate
from automata.cli.options import Output
from automata.cli.output import Format, say, say_json
from automata.cli.plan import plan
from automata.cli.provenance import provenance
from automata.cli.rehearse import rehearse
from automata.cli.replay import record, replay
from automata.cli.service_output import begin_early
from automata.cli.services import api, controller, orchestrator, scheduler, worker
from automata.cli.up import up
from automata.cli.validate import schema, validate
from automata.interpreter import shield_children

app = typer.Typer(
    name="automata",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="Flows live in Git, are proven before they are merged, and run durably on PostgreSQL.",
    epilog="Exit codes: 0 ok, 1 failed, 2 changes, 3 usage, 4 infrastructure, 5 refused by a guard, 6 stale revision.",
)


@app.callback()
def options(
    token: Annotated[
        str,
        typer.Option(
            "--token",
            metavar="TOKEN",
            help="Comes in at the API; better in AUTOMATA_TOKEN, where no list of processes shows it.",
            show_default=False,
        ),
    ] = "",
) -> None:
    client.given_token.set(token)


START, WRITE, RUN, KEEP = "Start here", "Flows in Git", "Runs", "Operate"

app.command(rich_help_panel=START, epilog="Example: automata up --repo ./my-flows --watch")(up)
app.command(rich_help_panel=START, epilog="Example: automata demo --stay")(demo)
app.command(rich_help_panel=START, epilog="Example: automata init my-flows")(init)
app.command(rich_help_panel=WRITE, epilog="Example: automata validate flows --format github")(validate)
app.command(rich_help_panel=WRITE, epilog="Example: automata check --base main --format markdown=check.md")(check)
app.command(rich_help_panel=WRITE, epilog="Example: automata plan --base main, or automata plan --live --env prod")(
    plan
)
app.command("test", rich_help_panel=WRITE, epilog="Example: automata test sync-orders -j 2")(rehearse)
app.command(
    rich_help_panel=WRITE, epilog="Example: automata record 019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c11 --to tests/recordings"
)(record)
app.command(rich_help_panel=WRITE, epilog="Example: automata replay --base main --last 20")(replay)
app.command(rich_help_panel=WRITE, epilog="Example: automata schema > flow.schema.json")(schema)
app.add_typer(sync.app, name="sync", rich_help_panel=WRITE)
app.add_typer(proposal.app, name="proposal", rich_help_panel=WRITE)
app.add_typer(flow.app, name="flow", rich_help_panel=RUN)
app.add_typer(run.app, name="run", rich_help_panel=RUN)
app.command(rich_help_panel=RUN, epilog="Example: automata provenance 019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c11")(provenance)
app.command(
    rich_help_panel=RUN,
    epilog="Example: automata backfill daily-report --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z",
)(schedule.backfill)
app.add_typer(approval.app, name="approval", rich_help_panel=RUN)
app.add_typer(deadletters.app, name="dlq", rich_help_panel=RUN)
app.add_typer(schedule.app, name="schedule", rich_help_panel=RUN)
app.add_typer(webhook.app, name="webhook", rich_help_panel=RUN)
app.command(rich_help_panel=KEEP, epilog="Example: automata doctor -o json")(doctor)
app.add_typer(notify.app, name="notify", rich_help_panel=KEEP)
app.add_typer(token.app, name="token", rich_help_panel=KEEP)
app.add_typer(audit.app, name="audit", rich_help_panel=KEEP)
app.command(rich_help_panel=KEEP, epilog="Example: automata migrate --dry-run")(migrate)
app.command(rich_help_panel=KEEP, epilog="Example: automata api --host 0.0.0.0")(api)
app.command(rich_help_panel=KEEP, epilog="Example: automata scheduler --port 0")(scheduler)
app.command(rich_help_panel=KEEP, epilog="Example: automata orchestrator --port 0")(orchestrator)
app.command(rich_help_panel=KEEP, epilog="Example: automata controller --repo https://git.example.com/flows.git")(
    controller
)
app.command(rich_help_panel=KEEP, epilog="Example: automata worker --concurrency 200 --queues default,slow")(worker)


@app.command(rich_help_panel=KEEP, epilog="Example: automata version -o json")
def version(output: Output = Format.TABLE) -> None:
    """Say which version this is. What follows the `+` is a digest of its code: equal builds run the same."""
    if output is Format.JSON:
        say_json({"version": __version__, "build": build()})
    else:
        say(f"automata {build()}")


def main() -> None:
    """What the `automata` program calls."""
    shield_children()
    with suppress(AttributeError, ValueError):  # not a real stream: a test, an embedder
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    begin_early(sys.argv[1:])
    sys.exit(guarded(_run))


def _run() -> int | None:
    check_arguments(sys.argv[1:])
    code: int | None = app(standalone_mode=False)
    return code
