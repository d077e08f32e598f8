"""The database that commands work on: the one that the settings name, or the embedded PostgreSQL while they run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from automata.cli.interruption import held, term_as_interrupt
from automata.settings import Settings


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The URL of a database that answers; an embedded server that nobody else uses is stopped on the way out.

    Also after a SIGTERM, which alone would leave the server, or the initdb of a first start, running without an owner.
    Raises Unavailable.
    """
    if settings.database_url:
        yield settings.database_url
        return
    from automata.store.embedded import start_embedded

    with term_as_interrupt(), ExitStack() as running:
        with held():
            server = running.enter_context(start_embedded(settings.data_dir or None))
        yield server.url
