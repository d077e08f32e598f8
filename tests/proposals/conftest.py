"""A bare repository with three flows, and sessions on a fresh database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from automata.store.database import Database
from tests.proposals.repo import Repo
from tests.proposals.site import Checked, Site


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo.made(tmp_path)


@pytest.fixture
def use(fresh_database_url: str, repo: Repo) -> Callable[..., None]:
    def on(scenario: Callable[[Site], Awaitable[None]], checker: Any = None) -> None:
        async def main() -> None:
            async with await Database.open(fresh_database_url, max_size=3) as db:
                await scenario(Site(db, repo, checker or Checked()))

        asyncio.run(main())

    return on
