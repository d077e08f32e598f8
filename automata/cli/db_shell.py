"""psql on the database, for `make db-shell`. The embedded server runs for as long as the shell does."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

from automata.cli.database import database
from automata.cli.exits import guarded
from automata.errors import Unavailable
from automata.settings import load


def main() -> int:
    """Run psql with the arguments of the command line; returns its exit code. Raises Unavailable."""
    with database(load()) as url:
        # Ctrl-C ends a query in psql; it must not take the server away from under it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return subprocess.run([_psql(), url, *sys.argv[1:]], check=False).returncode  # noqa: S603 - psql, no shell


def _psql() -> str:
    if installed := shutil.which("psql"):
        return installed
    from automata.store.embedded_permissions import find_host

    program = find_host().programs / "psql"
    if not program.exists():
        raise Unavailable("there is no psql here", hint="Install the PostgreSQL client tools.")
    return str(program)


if __name__ == "__main__":
    sys.exit(guarded(main))
