"""Proposals: a page of them. What may be done to one is automata.proposals."""

from __future__ import annotations

from automata.git.branches import Person
from automata.operations.context import AppContext
from automata.proposals.status import ProposalStatus
from automata.store.pagination import decode, encode

MAX_NUMBER = 2**62  # within PostgreSQL's bigint


async def list_proposals(
    context: AppContext, person: Person, *, ended: bool, limit: int, cursor: str | None
) -> tuple[list[ProposalStatus], str | None]:
    """A page of them, the newest first, and the cursor of the next; `cursor` has been checked."""
    before = min(int(decode(cursor, 1)[0]), MAX_NUMBER) if cursor else None
    async with context.proposals.session(person, fresh=False) as session:
        proposals = await session.survey(ended=ended, before=before, limit=limit + 1)
    more = encode([str(proposals[limit - 1].row.number)]) if len(proposals) > limit else None
    return proposals[:limit], more
