"""`automata init`: a repository to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from automata.cli.options import Output
from automata.cli.output import Format, say, say_json


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.", show_default=False)],
    output: Output = Format.TABLE,
) -> None:
    """Make a flows repository with two example flows, their tests, two environments and a workflow for CI."""
    from automata.sync.init import create

    created = create(folder)
    if output is Format.JSON:
        say_json({"path": str(created.path), "commit": created.commit, "files": list(created.files)})
        return
    say(f"Made {created.path} on branch main with {len(created.files)} files.")
    place = shlex.quote(str(folder))
    say(f"Next: automata validate {place}")
    say(f"      automata up --repo {place} --watch")
