"""Ids: how they are made, and how they are read from text."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import uuid_utils.compat

# A run's id holds the clock of the process that made it, `created_at` the database's. Where a range of times is looked
# for, the id narrows it by so much too little, and the time decides.
CLOCKS_APART = timedelta(hours=1)


def new_id() -> UUID:
    """A UUIDv7: its order is the order of creation, so new rows share index pages."""
    return uuid_utils.compat.uuid7()


def new_fence() -> UUID:
    """Random: one that a database crash forgot can never be handed out again."""
    return uuid_utils.compat.uuid4()


def first_id(moment: datetime) -> UUID:
    """The least UUIDv7 of a moment: its first 48 bits are milliseconds since 1970."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def as_uuid(key: str | UUID) -> UUID | None:
    """None for what is not a UUID in its usual form: a flow may be named like 32 hex digits."""
    if isinstance(key, UUID):
        return key
    try:
        return UUID(key) if len(key) == 36 else None
    except ValueError:
        return None
