"""Which commit a version is said to come from, above all while somebody saves files that are not committed yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from automata.git import history
from automata.project.source import Source
from automata.store.database import Database
from automata.sync.reconcile import sync_once

RATE = "environments/prod.yaml"


def reading(name: str, value: object = 1) -> str:
    """A flow that reads a variable."""
    mappings = {"rate": "{{ vars.rate }}", "value": value}
    return json.dumps({"name": name, "steps": [{"id": "s", "type": "transform", "config": {"mappings": mappings}}]})


class Place:
    def __init__(self, url: str, repo: Any, mirrors: Path) -> None:
        self.url = url
        self.repo = repo
        self.mirrors = mirrors

    async def save(self, files: dict[str, str | bytes]) -> None:
        """What `--watch` does when somebody saves files."""
        self.repo.write(files)
        await self.sync(working_tree=True)

    async def sync(self, **options: Any) -> None:
        source = Source(str(self.repo.path), **options, mirrors=self.mirrors)
        async with await Database.open(self.url, max_size=3) as db:
            await sync_once(db, source)

    def origins(self, name: str) -> list[tuple[str, str]]:
        """(commit, author) of each version of a flow."""
        with psycopg.connect(self.url) as conn:
            return conn.execute(
                "SELECT commit_sha, author FROM flow_versions JOIN flows ON flows.id = flow_id"
                " WHERE name = %s ORDER BY number",
                [name],
            ).fetchall()


ADA = "Ada <ada@example.com>"
BOB = "Bob <ada@example.com>"


@pytest.fixture
def place(fresh_database_url: str, repo: Any, tmp_path: Path) -> Place:
    return Place(fresh_database_url, repo, tmp_path / "mirrors")


async def test_every_uncommitted_edit_is_nobodys(place: Place, flow: Callable[..., str]) -> None:
    head = place.repo.commit({"flows/a.yaml": flow("a"), "flows/b.yaml": reading("b"), RATE: "vars: {rate: 1}\n"})
    await place.sync(working_tree=True)
    for value in range(2, 5):
        await place.save({"flows/a.yaml": flow("a", value), "flows/b.yaml": reading("b", value)})
    await place.save({RATE: "vars: {rate: 2}\n"})
    await place.save({RATE: "vars: {rate: 3}\n"})
    assert place.origins("a") == [(head, ADA), *[(f"{head}-dirty", "")] * 3]
    assert place.origins("b") == [(head, ADA), *[(f"{head}-dirty", "")] * 5]


async def test_before_the_first_commit_every_version_is_nobodys(place: Place, flow: Callable[..., str]) -> None:
    await place.save({"flows/a.yaml": flow("a")})
    await place.save({"flows/a.yaml": flow("a", 2)})
    assert place.origins("a") == [("working-tree", "")] * 2


async def test_a_committed_flow_that_reads_an_uncommitted_variable_is_of_no_commit(place: Place) -> None:
    head = place.repo.commit({"flows/b.yaml": reading("b"), RATE: "vars: {rate: 1}\n"})
    await place.sync(working_tree=True)
    moved = place.repo.commit({"flows/b.yaml": reading("b", 2)}, author="Bob")
    await place.save({RATE: "vars: {rate: 2}\n"})
    assert place.origins("b") == [(head, ADA), (f"{moved}-dirty", "")]


async def test_what_is_committed_after_it_was_tried_out_is_of_its_commit(
    place: Place, flow: Callable[..., str]
) -> None:
    place.repo.commit({"flows/a.yaml": flow("a"), "flows/b.yaml": reading("b"), RATE: "vars: {rate: 1}\n"})
    await place.save({"flows/a.yaml": flow("a", 2)})
    moved = place.repo.commit({"flows/a.yaml": flow("a", 3), RATE: "vars: {rate: 2}\n"}, author="Bob")
    await place.sync()
    assert place.origins("a")[-1] == (moved, BOB)
    assert place.origins("b")[-1] == (moved, BOB), (
        "its variable is of that commit, and its file older than the last sync"
    )


async def test_a_flow_is_not_credited_to_a_change_of_variables_that_it_does_not_read(
    place: Place, flow: Callable[..., str]
) -> None:
    head = place.repo.commit({"flows/a.yaml": flow("a"), RATE: "vars: {rate: 1}\n"})
    await place.save({"flows/a.yaml": flow("a", 2)})
    place.repo.write({"flows/a.yaml": flow("a")})
    place.repo.commit({RATE: "vars: {rate: 2}\n"}, author="Bob")
    await place.sync()
    assert place.origins("a") == [(f"{head}-dirty", ""), (head, ADA)]


async def test_what_the_environment_takes_away_is_of_the_commit_that_took_it_or_of_none(
    place: Place, flow: Callable[..., str]
) -> None:
    first = place.repo.commit(
        {"flows/a.yaml": flow("a"), RATE: "egress: {allow: [crm.example.com]}\nvars: {rate: 1}\n"}
    )
    await place.sync()
    moved = place.repo.commit({RATE: "egress: {deny: [crm.example.com]}\n"}, author="Bob")
    await place.sync(working_tree=True)
    freed = place.repo.commit({RATE: "vars: {rate: 2}\n"}, author="Bob")
    await place.sync(working_tree=True)
    assert place.origins("a") == [(first, ADA), (moved, BOB), (freed, BOB)]
    await place.save({RATE: "egress: {allow: [erp.example.com]}\n"})
    await place.save({RATE: "recording: on\n"})
    assert place.origins("a")[3:] == [(f"{freed}-dirty", "")] * 2


async def test_a_flow_that_its_folders_name_brought_in_is_of_that_commit(
    place: Place, flow: Callable[..., str]
) -> None:
    place.repo.commit({"flows/a.yaml": flow("a"), "more/b.yaml": flow("b"), "automata.yaml": "flows: [flows]\n"})
    await place.sync()
    named = place.repo.commit({"automata.yaml": "flows: [flows, more]\n"}, author="Bob")
    await place.sync()
    assert place.origins("b") == [(named, BOB)]


async def test_what_the_history_does_not_reach_is_of_nobody_until_something_of_it_moves(
    place: Place, flow: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.repo.commit({"flows/a.yaml": flow("a"), "flows/b.yaml": reading("b"), RATE: "vars: {rate: 1}\n"})
    head = place.repo.commit({"README.md": "1"}, author="Bob")
    monkeypatch.setattr(history, "MAX_COMMITS", 1)
    await place.sync()
    assert place.origins("a") == place.origins("b") == [(f"{head}-or-earlier", "")]
    moved = place.repo.commit({RATE: "vars: {rate: 2}\n"}, author="Bob")
    await place.sync()
    assert place.origins("b")[1:] == [(moved, BOB)]


@pytest.mark.parametrize("remote", ["file://", ""])
@pytest.mark.parametrize("name", ["trunk", "release/2", "dev"])
async def test_a_remote_says_which_branch_is_its_own(
    fresh_database_url: str, make_repo: Any, flow: Callable[..., str], tmp_path: Path, remote: str, name: str
) -> None:
    """`main` and `master` are there as well, and are not what the remote names."""
    repo = make_repo()
    repo.commit({"flows/old.yaml": flow("old")})
    repo.git("branch", "master")
    repo.git("checkout", "-q", "-b", name)
    repo.commit({"flows/a.yaml": flow("a")})
    repo.git("clone", "-q", "--bare", ".", str(tmp_path / "bare.git"))
    source = Source(f"{remote}{tmp_path}/bare.git", branch=None, mirrors=tmp_path / "mirrors")
    async with await Database.open(fresh_database_url, max_size=3) as db:
        report = await sync_once(db, source)
    assert (report.branch, report.counts["create"]) == (name, 2)


@pytest.mark.parametrize("works_on", ["trunk", "feature", "main"])
async def test_a_clone_that_somebody_works_in_is_followed_at_the_default_branch_of_its_origin(
    place: Place, flow: Callable[..., str], works_on: str
) -> None:
    """Whatever is checked out: a feature is not deployed because somebody works on it."""
    place.repo.commit({"flows/a.yaml": flow("a")})
    place.repo.git("checkout", "-q", "-b", "trunk")
    clone = place.repo.path.parent / "clone"
    place.repo.git("clone", "-q", ".", str(clone))
    if works_on != "trunk":
        place.repo.git("-C", str(clone), "checkout", "-q", "-b", works_on)
    async with await Database.open(place.url, max_size=3) as db:
        report = await sync_once(db, Source(str(clone), branch=None, mirrors=place.mirrors))
    assert report.branch == "trunk"


async def test_a_source_whose_default_branch_becomes_another_says_so(
    place: Place, flow: Callable[..., str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place.repo.commit({"flows/a.yaml": flow("a")})
    place.repo.git("branch", "trunk")
    bare = str(tmp_path / "bare.git")
    place.repo.git("clone", "-q", "--bare", ".", bare)
    source = Source(f"file://{bare}", branch=None, mirrors=place.mirrors)
    async with await Database.open(place.url, max_size=3) as db:
        await sync_once(db, source)
        assert (await sync_once(db, source)).branch == "main"
        assert "is followed at" not in caplog.text
        place.repo.git("--git-dir", bare, "symbolic-ref", "HEAD", "refs/heads/trunk")
        assert (await sync_once(db, source)).branch == "trunk"
    assert f"{source.name} is followed at trunk now, no longer at main" in caplog.text
