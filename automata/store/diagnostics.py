"""What `automata doctor` asks the database about itself and about what it is used for."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from automata.store.database import Connection
from automata.store.scalars import fetch_column


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """Settings as PostgreSQL writes them (`on`, `off`, ...); ages in seconds and transactions, sizes in bytes."""

    version: str
    standby: bool
    encoding: str
    fsync: str
    full_page_writes: str
    synchronous_commit: str
    autovacuum: str
    max_connections: int
    connections: int
    oldest_transaction_sec: float
    frozen_age: int
    size: int
    sees_others: bool  # what other roles' sessions do; else the oldest transaction is unknown


async def read_server(conn: Connection) -> ServerStatus:
    """The state of the server and of this database, now."""
    async with conn.cursor(row_factory=class_row(ServerStatus)) as cursor:
        await cursor.execute(
            "SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby,"
            " current_setting('server_encoding') AS encoding, current_setting('fsync') AS fsync,"
            " current_setting('full_page_writes') AS full_page_writes,"
            " current_setting('synchronous_commit') AS synchronous_commit,"
            " current_setting('autovacuum') AS autovacuum,"
            " current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
            "   AS max_connections,"
            # Of a session that one may not see the type is unknown: then it counts.
            " (SELECT count(*) FROM pg_stat_activity WHERE coalesce(backend_type, 'client backend') = 'client backend')"
            "   AS connections,"
            " (SELECT coalesce(max(extract(epoch FROM now() - xact_start)), 0)::float8 FROM pg_stat_activity"
            "   WHERE backend_type = 'client backend' AND datname = current_database()) AS oldest_transaction_sec,"
            " (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()) AS frozen_age,"
            " pg_database_size(current_database()) AS size,"
            " pg_has_role('pg_read_all_stats', 'USAGE') AS sees_others"
        )
        row = await cursor.fetchone()
    assert row is not None
    return row


async def named_secrets(conn: Connection) -> list[str]:
    """Names of secrets that current flows, their webhooks and the notifications' rules mention, sorted.

    Found in the text of the specs: a name that only a description mentions is among them.
    """
    return await fetch_column(
        conn,
        "SELECT DISTINCT name FROM ("
        " SELECT (regexp_matches(version.spec::text, '\\msecrets\\.([A-Za-z_][A-Za-z0-9_]{0,127})', 'g'))[1] AS name"
        " FROM flows JOIN flow_versions AS version ON version.id = flows.current_version_id"
        " WHERE flows.archived_at IS NULL"
        " UNION ALL SELECT hook ->> 'secret' FROM flows"
        " JOIN flow_versions AS version ON version.id = flows.current_version_id,"
        " jsonb_array_elements(version.spec -> 'webhooks') AS hook"
        " WHERE flows.archived_at IS NULL AND jsonb_typeof(version.spec -> 'webhooks') = 'array'"
        " UNION ALL SELECT spec ->> 'secret' FROM notification_rules"
        " UNION ALL SELECT (regexp_matches(spec ->> 'url', '\\msecrets\\.([A-Za-z_][A-Za-z0-9_]{0,127})'))[1]"
        " FROM notification_rules) AS mentioned WHERE name IS NOT NULL ORDER BY name",
    )
