"""A repository of proposals, sessions with them, and the people who open these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from automata.git.branches import Person
from automata.project.source import Source
from automata.proposals.lifecycle import ProposalSession
from automata.store.database import Database
from automata.store.provenance import VersionOrigin, version_origins
from tests.proposals.repo import Repo

ADA = Person("Ada", "ada@example.com")
BOB = Person("Bob", "bob@example.com")
EVE = Person("Eve", "eve@example.com")


class Checked:
    """A check that says what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.ok = True
        self.asked: list[tuple[str, str]] = []

    async def __call__(self, repository: Path, folder: str, environment: str, base: str, head: str) -> dict[str, Any]:
        self.asked.append((base, head))
        return {"ok": self.ok, "failed": [] if self.ok else ["test"], "stages": []}


class Site:
    def __init__(self, db: Database, repo: Repo, checker: Any) -> None:
        self.db, self.repo, self.checker = db, repo, checker
        self.source = Source(str(repo.bare), mirrors=repo.bare.parent / "mirrors")

    async def session(self, actor: Person = BOB) -> ProposalSession:
        return await ProposalSession.open(self.db, self.source, actor, self.checker)

    async def approved(self, branch: str) -> ProposalSession:
        session = await self.session()
        await session.submit(branch)
        await session.check(branch)
        assert (await session.review(branch, approve=True, comment="")).state == "APPROVED"
        return session

    async def value(self, query: str, *values: Any) -> Any:
        async with self.db.connection() as conn:
            row = await (await conn.execute(query.encode(), values)).fetchone()
        return row and row[0]

    async def origin(self, commit: str) -> VersionOrigin:
        id = await self.value("SELECT id FROM flow_versions WHERE commit_sha = %s", commit)
        async with self.db.connection() as conn:
            return (await version_origins(conn, [id]))[id]


OpenSite = Callable[..., Awaitable[Site]]
