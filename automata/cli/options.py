"""Options and arguments that several commands have, each defined once. One that a single command has stays with it."""

from __future__ import annotations

from typing import Annotated

import typer

from automata.cli.output import Format
from automata.engine.states import TRIGGER_WORDS
from automata.settings import MAX_PROCESSES

MAX_JOBS = 64

# -- what every command has ----------------------------------------------------------------------------------------

Output = Annotated[Format, typer.Option("--output", "-o", help="A table for people, JSON for programs.")]
ApiUrl = Annotated[
    str | None,
    typer.Option(
        "--api-url",
        help="Where the API is. [env: AUTOMATA_API_URL; default: http://127.0.0.1:8080]",
        show_default=False,
    ),
]

# -- which flows repository ----------------------------------------------------------------------------------------

RepoFolder = Annotated[
    str | None, typer.Option("--repo", help="Flows repository: a folder.", show_default="the one around")
]
RepoUrl = Annotated[
    str | None,
    typer.Option("--repo", help="Flows repository: a folder, a bare repository or a URL.", show_default=False),
]
ProjectPath = Annotated[
    str | None, typer.Option("--path", help="The project's folder inside the repository.", show_default=False)
]
Branch = Annotated[
    str | None,
    typer.Option(
        "--branch",
        envvar="AUTOMATA_BRANCH",
        show_envvar=False,
        help="The branch to read.",
        show_default="the environment's, else the default branch",
    ),
]
Env = Annotated[str | None, typer.Option("--env", help="The environment.", show_default="prod")]
EnvOfVariables = Annotated[
    str | None, typer.Option("--env", help="The environment whose variables apply.", show_default="prod")
]
Head = Annotated[str | None, typer.Option("--head", help="A branch or a full SHA.", show_default="the files on disk")]
Jobs = Annotated[
    int | None, typer.Option("--jobs", "-j", min=1, max=MAX_JOBS, help="Processes.", show_default="one a core")
]

# -- which flow, run or schedule -----------------------------------------------------------------------------------

FlowName = Annotated[str, typer.Argument(help="The flow's name or id.", show_default=False)]
FlowVersion = Annotated[
    int | None, typer.Option("--version", min=1, help="A version other than the current one.", show_default=False)
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.", show_default=False)]

# -- which of many, and what to do with them -----------------------------------------------------------------------

OfFlow = Annotated[str | None, typer.Option("--flow", help="Only of this flow.")]
Since = Annotated[str | None, typer.Option("--since", help="Not before this moment, like 2026-01-01T00:00:00Z.")]
Until = Annotated[str | None, typer.Option("--until", help="Before this moment.")]
StartedBy = Annotated[str | None, typer.Option("--trigger", help=f"Only those started so: {TRIGGER_WORDS}.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many at most.")]
All = Annotated[bool, typer.Option("--all", help="All of them; excludes the filters.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count them by flow; change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
By = Annotated[str | None, typer.Option("--by", help="Who decides.", show_default="you")]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Follow it to its end; exit 1 unless it succeeded.")]
IdempotencyKey = Annotated[
    str | None, typer.Option("--idempotency-key", help="Starting again with the same key gives the same run.")
]

# -- a service -----------------------------------------------------------------------------------------------------

Host = Annotated[str | None, typer.Option("--host", help="Listen here.", show_default="127.0.0.1")]
Port = Annotated[
    int | None, typer.Option("--port", min=0, max=65535, help="Listen here; 0 is any free one.", show_default=False)
]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes",
        min=1,
        max=MAX_PROCESSES,
        help="As many processes on this machine; one that dies is started again.",
        show_default="1",
    ),
]
