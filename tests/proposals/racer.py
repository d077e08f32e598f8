"""A process that applies the proposals whose branches it reads, one a line, and prints how each went."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from automata.errors import AutomataError
from automata.git.branches import Person
from automata.project.source import Source
from automata.proposals.lifecycle import ProposalSession
from automata.store.database import Database


async def passes(*_: Any) -> dict[str, Any]:
    """The race is for the branch: what the check says is another test's."""
    return {"ok": True}


async def main(url: str, repository: str, mirrors: str) -> None:
    source = Source(repository, mirrors=Path(mirrors))
    async with await Database.open(url, max_size=2) as db:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while branch := sys.stdin.readline().strip():
            try:
                session = await ProposalSession.open(db, source, Person("Ada", "ada@example.com"), passes)
                await session.apply(branch)
                said = "applied"
            except AutomataError as error:
                said = error.code
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
