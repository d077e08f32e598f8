"""The database that commands work on: the one that the settings name, or the embedded PostgreSQL while they run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from automata.settings import Settings


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The URL of a database that answers; an embedded server that nobody else uses is stopped on the way out.

    Raises Unavailable.
    """
    if settings.database_url:
        yield settings.database_url
        return
    from automata.store.embedded import start_embedded

    with start_embedded(settings.data_dir or None) as server:
        yield server.url
