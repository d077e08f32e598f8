"""The kinds of columns that the tables are made of, and what holds the tables together."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Column, DateTime, MetaData, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB, UUID

# PostgreSQL's own names, so that a constraint is called the same whoever made it.
metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


def uuid_column(name: str, *extra: Any, **options: Any) -> Column[Any]:
    """A UUID, which may be NULL unless `options` say otherwise."""
    return Column(name, UUID, *extra, **options)


def key_column() -> Column[Any]:
    """The primary key `id`, which the database makes."""
    return Column("id", UUID, primary_key=True, server_default=func.gen_random_uuid())


def text_column(name: str, *extra: Any, nullable: bool = False, **options: Any) -> Column[Any]:
    """Text that is there, unless `nullable`."""
    return Column(name, Text, *extra, nullable=nullable, **options)


def time_column(name: str, *, nullable: bool = True) -> Column[Any]:
    """A moment, with its time zone."""
    return Column(name, DateTime(timezone=True), nullable=nullable)


def stamp_column(name: str) -> Column[Any]:
    """The moment at which the transaction that wrote the row began."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def object_column(name: str, **options: Any) -> tuple[Column[Any], CheckConstraint]:
    """A JSON object, and the check that it is one."""
    return (
        Column(name, JSONB, nullable=False, **options),
        CheckConstraint(f"jsonb_typeof({name}) = 'object'", name=name),
    )


def one_of(name: str, *words: str) -> CheckConstraint:
    """The check that a column has one of these words."""
    return CheckConstraint(f"{name} IN ({', '.join(repr(word) for word in words)})", name=name)


EMPTY = text("'{}'")
