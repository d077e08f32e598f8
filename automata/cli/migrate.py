"""`automata migrate`: bring the database to this version's tables."""

from __future__ import annotations

from typing import Annotated

import typer

from automata.cli.options import Output
from automata.cli.output import Format, say, say_json
from automata.cli.service_output import begin_logs, teller


def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be applied.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Bring the database to this version's tables.

    The database is that of AUTOMATA_DATABASE_URL (past a pooler: AUTOMATA_DATABASE_DIRECT_URL), or the embedded
    PostgreSQL. Running it twice, twice at once, or again after it was killed is safe.
    """
    from automata.cli.database import database
    from automata.settings import load
    from automata.store.migrate import current, pending, upgrade

    settings = load()
    begin_logs(settings)
    with database(settings) as url:
        applied = pending(url) if dry_run else upgrade(url, settings.database_direct_url)
        revision = current(url)
    if output is Format.JSON:
        say_json({"revision": revision, "pending" if dry_run else "applied": applied})
        return
    words = f"The database is up to date (revision {revision})."
    if applied:
        words = f"{'Pending' if dry_run else 'Applied'}: {', '.join(applied)}."
    if settings.log_format == "json":  # a job beside services, whose lines go where theirs go
        teller(settings, output)("migrations", words, revision=revision, applied=[] if dry_run else applied)
    else:
        say(words)
