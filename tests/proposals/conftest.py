"""A bare repository with three flows, and sessions on a fresh database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from automata.store.database import Database
from tests.proposals.repo import Repo
from tests.proposals.site import Checked, OpenSite, Site


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo.made(tmp_path)


@pytest.fixture
async def open_site(fresh_database_url: str, repo: Repo) -> AsyncIterator[OpenSite]:
    """Call it for the desk of `repo`, with the checker that it asks; it stays open until the test ends."""
    async with AsyncExitStack() as stack:

        async def opened(checker: Any = None) -> Site:
            db = await stack.enter_async_context(await Database.open(fresh_database_url, max_size=3))
            return Site(db, repo, checker or Checked())

        yield opened


@pytest.fixture
async def site(open_site: OpenSite) -> Site:
    """The desk of `repo`, whose checks pass."""
    return await open_site()
