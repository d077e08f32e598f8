"""What PostgreSQL and psycopg say when something fails, in our words: SQLSTATE -> errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from automata.errors import AutomataError, Conflict, Invalid, Unavailable

START_HINT = "Start PostgreSQL, or correct AUTOMATA_DATABASE_URL."
MIGRATE_HINT = "Run `automata migrate`."
GRANT_HINT = "Give the role its rights, as docs/operations.md has them (A role with few rights)."
POOLER_HINT = (
    "Name the database itself in AUTOMATA_DATABASE_DIRECT_URL, besides the pooler in AUTOMATA_DATABASE_URL"
    " (docs/operations.md, PgBouncer)."
)


def describe(url: str) -> str:
    """`database@host`, without user and password: what messages may show."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return "the database"
    host = parts.get("host") or parts.get("hostaddr") or "the local socket"
    port = f":{parts['port']}" if parts.get("port") and not str(host).startswith("/") else ""
    return f"{parts.get('dbname') or 'the database'} on {host}{port}"


@contextmanager
def mapped_errors(label: str = "the database") -> Iterator[None]:
    """Turn psycopg's errors into ours; what only a bug of ours can cause passes through unchanged."""
    try:
        yield
    except (PoolTimeout, TooManyRequests) as error:
        raise Unavailable(f"No free connection to {label}: it is down, or busy.", code="pool_exhausted") from error
    except PoolClosed as error:
        raise Unavailable(f"The connections to {label} are closed.", code="closed") from error
    except psycopg.Error as error:
        if (known := translate(error, label)) is None:
            raise
        raise known from error


def translate(error: psycopg.Error, label: str = "the database") -> AutomataError | None:
    """Ours for theirs, None when there is no better reading than a bug."""
    for kinds, make in _READINGS:
        if isinstance(error, kinds):
            return make(error, label)
    return None


def _conflict(error: psycopg.Error, label: str) -> AutomataError:
    return Conflict(
        "This already exists, or is still in use.",
        details={"constraint": error.diag.constraint_name, "table": error.diag.table_name},
    )


def _retry(error: psycopg.Error, label: str) -> AutomataError:
    return Unavailable("Two transactions met; this one was rolled back.", code="retry", hint="Try again.")


def _timeout(error: psycopg.Error, label: str) -> AutomataError:
    return Unavailable(f"{label} took too long: {_text(error)}.", code="timeout", hint="Try again later.")


def _full(error: psycopg.Error, label: str) -> AutomataError:
    return Unavailable(f"{label} is at a limit: {_text(error)}.", code="resources")


def _unmigrated(error: psycopg.Error, label: str) -> AutomataError:
    return Unavailable(
        f"{label} lacks what this version needs: {_text(error)}.", code="not_migrated", hint=MIGRATE_HINT
    )


def _no_rights(error: psycopg.Error, label: str) -> AutomataError:
    return Unavailable(f"{label} refuses its role something: {_text(error)}.", code="no_rights", hint=GRANT_HINT)


def _readonly(error: psycopg.Error, label: str) -> AutomataError:
    return Unavailable(f"{label} is read-only (a standby?).", code="read_only", hint=START_HINT)


def _unfit(error: psycopg.Error, label: str) -> AutomataError:
    return Invalid(f"The database cannot keep this value: {_text(error)}.", code="unfit_value")


def pooler_error(label: str) -> Unavailable:
    """A connection leads through a pooler that nobody announced."""
    return Unavailable(f"{label} is reached through a connection pooler.", code="pooler", hint=POOLER_HINT)


def _wrong_password(label: str) -> AutomataError:
    hint = (
        "Correct the user or the password in AUTOMATA_DATABASE_URL; in a password `@`, `/` and `:` are written %40, %2F"
        " and %3A."
    )
    return Unavailable(f"{label} does not take this password.", code="wrong_password", hint=hint)


def _no_database(label: str, name: str) -> AutomataError:
    hint = f"Make it (`createdb {name}`) and run `automata migrate`, or correct AUTOMATA_DATABASE_URL."
    return Unavailable(f"{label}: the database {name} does not exist.", code="no_database", hint=hint)


def _no_role(label: str, name: str | None) -> AutomataError:
    hint = "Make it (docs/operations.md, A role with few rights), or correct the user in AUTOMATA_DATABASE_URL."
    return Unavailable(f"{label}: the role {name or 'of this address'} does not exist.", code="no_role", hint=hint)


def _not_let_in(label: str) -> AutomataError:
    hint = "Let this machine in by its pg_hba.conf, with TLS where that asks for it (`?sslmode=require`)."
    return Unavailable(f"{label} lets nobody in from here with this user.", code="not_let_in", hint=hint)


def _lost(error: psycopg.Error, label: str) -> AutomataError:
    for pattern, make in _REFUSED:
        if match := re.search(pattern, str(error)):
            return make(label, *match.groups())
    return Unavailable(f"{label} is not reachable: {_text(error)}.", code="connection_lost", hint=START_HINT)


# First match wins: special SQLSTATEs before the classes that psycopg derives them from.
_READINGS = (
    ((pg.UniqueViolation, pg.ForeignKeyViolation, pg.ExclusionViolation), _conflict),
    ((pg.SerializationFailure, pg.DeadlockDetected), _retry),
    ((pg.LockNotAvailable, pg.QueryCanceled, pg.IdleInTransactionSessionTimeout), _timeout),
    (
        (pg.TooManyConnections, pg.DiskFull, pg.OutOfMemory, pg.InsufficientResources, pg.ProgramLimitExceeded),
        _full,
    ),
    ((pg.UndefinedTable, pg.UndefinedColumn), _unmigrated),
    (pg.InsufficientPrivilege, _no_rights),
    (pg.ReadOnlySqlTransaction, _readonly),
    (psycopg.DataError, _unfit),
    ((psycopg.OperationalError, psycopg.InterfaceError), _lost),
)


# A connection that is refused has no SQLSTATE, only what the server says of it.
_REFUSED: tuple[tuple[str, Callable[..., AutomataError]], ...] = (
    # PgBouncer's, of the settings that connections begin with.
    (r"unsupported startup parameter", pooler_error),
    (r"password authentication failed|no password supplied|SASL authentication failed", _wrong_password),
    (r'database "([^"]*)" does not exist', _no_database),
    (r'role "([^"]*)" does not exist|no such user', _no_role),
    (r"no pg_hba.conf entry", _not_let_in),
)


def _text(error: psycopg.Error) -> str:
    """The first line that says something, without libpq's preamble and the full stop."""
    message = error.diag.message_primary or str(error) or type(error).__name__
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[0].removeprefix("connection failed: ").rstrip(".:") if lines else type(error).__name__
