"""Syncing flows into the database."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

from automata.errors import Conflict, Missing, Unavailable
from automata.flow.model import Flow
from automata.store.database import Database
from automata.store.flows import archive_api_flow, find_flow, get_version, list_versions, put_api_flow
from automata.store.schedules import list_schedules
from automata.store.sync import (
    MAX_ATTEMPTS,
    apply,
    ensure_source,
    get_source,
    list_attempts,
    list_sources,
    load_state,
    lock_source,
    record_attempt,
)

NOW = datetime(2026, 1, 5, tzinfo=UTC)


async def sync(conn, source, *flows, archive=(), sha="b" * 40):
    await lock_source(conn, source.id)
    return await apply(conn, source, flows, sha=sha, tree_sha="c" * 40, started_at=NOW, archive=archive)


async def test_first_sync_creates_flows_with_version_one_and_moves_the_head(conn, make):
    source = await make.source(conn)
    done = await sync(conn, source, make.wanted("b"), make.wanted("a"))
    assert done.flows.created == {"a", "b"}
    assert not done.flows.updated
    assert done.attempt.status == "synced"
    row = await find_flow(conn, "a")
    assert (row.source, row.current_number) == (source.url, 1)
    version = await get_version(conn, row.id)
    assert (version.commit_sha, version.path, version.author) == ("a" * 40, "flows/a.yaml", "Ada")
    assert version.spec == make.spec("a")
    source = await get_source(conn, source.id)
    assert (source.head_sha, source.tree_sha) == ("b" * 40, "c" * 40)
    assert source.synced_at is not None


async def test_the_same_content_again_changes_nothing(conn, make):
    source = await make.source(conn)
    await sync(conn, source, make.wanted("a"))
    before = await (await conn.execute("SELECT xmin, * FROM flows")).fetchall()
    done = await sync(conn, source, make.wanted("a"))
    assert not done.flows.changed
    assert done.attempt.status == "unchanged"
    assert len((await list_versions(conn, done.flows.ids["a"])).items) == 1
    assert await (await conn.execute("SELECT xmin, * FROM flows")).fetchall() == before


async def test_new_content_makes_the_next_version_and_old_content_comes_back_as_the_old_one(conn, make):
    source = await make.source(conn)
    await sync(conn, source, make.wanted("a"))
    done = await sync(conn, source, make.wanted("a", description="new"))
    assert done.flows.updated == {"a"}
    assert (await find_flow(conn, "a")).current_number == 2
    assert (await find_flow(conn, "a")).description == "new"
    await sync(conn, source, make.wanted("a"))
    assert (await find_flow(conn, "a")).current_number == 1
    assert len((await list_versions(conn, done.flows.ids["a"])).items) == 2


async def test_a_rename_keeps_the_id_and_the_history(conn, make):
    source = await make.source(conn)
    old = await sync(conn, source, make.wanted("a"))
    done = await sync(conn, source, make.wanted("b", renamed_from="a"))
    assert done.flows.renamed == {"b": "a"}
    assert done.flows.ids["b"] == old.flows.ids["a"]
    assert (await find_flow(conn, "b")).current_number == 2
    with pytest.raises(Missing):
        await find_flow(conn, "a")
    again = await sync(conn, source, make.wanted("b", renamed_from="a"))
    assert not again.flows.changed


@pytest.mark.parametrize("other", ["b", "a"])
async def test_a_rename_to_a_known_name_or_from_one_that_stays_is_none(conn, make, other):
    source = await make.source(conn)
    old = await sync(conn, source, make.wanted("a"), make.wanted("b"))
    flows = [make.wanted("b" if other == "b" else "c", renamed_from="a"), make.wanted("a")]
    done = await sync(conn, source, *flows)
    assert not done.flows.renamed
    assert done.flows.ids["a"] == old.flows.ids["a"]


async def test_archived_flows_keep_their_history_and_come_back_with_it(conn, make):
    source = await make.source(conn)
    first = await sync(conn, source, make.wanted("a"), make.wanted("b"))
    done = await sync(conn, source, make.wanted("b"), archive=["a", "nothing"])
    assert done.archived == ["a"]
    assert done.attempt.status == "synced"
    assert (await find_flow(conn, "a")).archived_at is not None
    back = await sync(conn, source, make.wanted("a"))
    assert back.flows.unarchived == {"a"}
    assert back.flows.ids["a"] == first.flows.ids["a"]
    assert (await find_flow(conn, "a")).archived_at is None


async def test_a_source_archives_only_its_own_flows(conn, make):
    mine, other = await make.source(conn), await make.source(conn, "https://example.com/other.git")
    await sync(conn, other, make.wanted("theirs"))
    assert (await sync(conn, mine, archive=["theirs"])).archived == []


async def test_a_flow_of_the_api_or_of_another_source_is_a_conflict_that_names_it(conn, make):
    mine, other = await make.source(conn), await make.source(conn, "https://example.com/other.git")
    await put_api_flow(conn, Flow.from_spec(make.spec("by-api")))
    await sync(conn, other, make.wanted("by-git"))
    for name, owner in (("by-api", "the API"), ("by-git", other.url)):
        with pytest.raises(Conflict, match=f"{name} is managed by {owner}") as caught:
            async with conn.transaction():
                await sync(conn, mine, make.wanted("fine"), make.wanted(name))
        assert caught.value.code == "name_taken"
        assert caught.value.details == {"flows": [name]}
    with pytest.raises(Missing):
        await find_flow(conn, "fine")


async def test_an_archived_flow_of_another_owner_is_taken_over_with_its_history(conn, make):
    put = await put_api_flow(conn, Flow.from_spec(make.spec("a", description="by the API")))
    await archive_api_flow(conn, "a")
    source = await make.source(conn)
    done = await sync(conn, source, make.wanted("a"))
    assert done.flows.ids["a"] == put.flow.id
    row = await find_flow(conn, "a")
    assert (row.source_id, row.current_number) == (source.id, 2)


async def test_state_shows_own_flows_and_who_has_the_other_names(conn, make):
    mine, other = await make.source(conn), await make.source(conn, "https://example.com/other.git")
    await put_api_flow(conn, Flow.from_spec(make.spec("by-api")))
    await put_api_flow(conn, Flow.from_spec(make.spec("not-asked")))
    await sync(conn, other, make.wanted("by-git"))
    await sync(conn, mine, make.wanted("a"), make.wanted("gone"))
    await sync(conn, mine, archive=["gone"])
    state = {row.name: row for row in await load_state(conn, mine.id, ["by-api", "by-git", "new"])}
    owners = {name: (row.owner, row.archived) for name, row in state.items()}
    assert owners == {
        "a": ("", False),
        "gone": ("", True),
        "by-api": ("the API", False),
        "by-git": (other.label, False),
    }
    assert state["a"].content_hash == make.wanted("a").content_hash
    assert (state["a"].number, state["a"].path) == (1, "flows/a.yaml")


async def test_schedules_follow_the_files(conn, make):
    source = await make.source(conn)
    daily = {"name": "daily", "cron": "0 6 * * *"}
    await sync(conn, source, make.wanted("a", [daily, {"name": "hourly", "cron": "0 * * * *"}]))
    names = {row.name: row for row in (await list_schedules(conn)).items}
    assert set(names) == {"daily", "hourly"}
    assert all(row.origin == "git" and row.next_fire_at > row.now for row in names.values())
    await sync(conn, source, make.wanted("a", [daily]))
    (left,) = (await list_schedules(conn)).items
    assert left.id == names["daily"].id
    await sync(conn, source, archive=["a"])
    (halted,) = (await list_schedules(conn)).items
    assert halted.next_fire_at is None
    await sync(conn, source, make.wanted("a", [daily]))
    (back,) = (await list_schedules(conn)).items
    assert back.next_fire_at == left.next_fire_at


async def test_a_thousand_flows_take_as_many_statements_as_one(conn, make):
    source = await make.source(conn)
    counts = []
    real = conn.execute

    async def counted(*args, **options):
        counts[-1] += 1
        return await real(*args, **options)

    conn.execute = counted
    daily = [{"name": "daily", "cron": "0 6 * * *"}]
    for number in (1, 1000):
        counts.append(0)
        await sync(conn, source, *(make.wanted(f"flow-{number}-{n}", daily) for n in range(number)))
    assert counts[0] == counts[1]


async def test_two_syncs_of_one_source_never_overlap(database_url, make):
    async with await Database.open(database_url, settings={"lock_timeout": "200ms"}) as db:
        async with db.transaction() as conn:
            source = await ensure_source(conn, "https://example.com/busy.git", branch="main", environment="prod")
        async with db.transaction() as first:
            await lock_source(first, source.id)
            with pytest.raises(Unavailable) as caught:
                async with db.transaction() as second:
                    await lock_source(second, source.id)
            assert caught.value.code == "sync_running"
        async with db.transaction() as third:
            await lock_source(third, source.id)


async def test_a_commit_that_fails_writes_nothing_at_all(database_url, make):
    async with await Database.open(database_url) as db:
        async with db.transaction() as conn:
            source = await make.source(conn, "https://example.com/atomic.git")
        with pytest.raises(psycopg.errors.CheckViolation):  # noqa: PT012 - the commit is what must not happen
            async with db.transaction() as conn:
                await sync(conn, source, make.wanted("atomic"))
                await conn.execute("UPDATE flow_versions SET number = 0")
        async with db.connection() as conn:
            assert await load_state(conn, source.id) == []
            assert await list_attempts(conn, source.id) == []


async def test_the_source_is_found_again_and_follows_its_branch(conn, make):
    first = await make.source(conn)
    again = await ensure_source(conn, first.url, branch="trunk", environment="prod")
    assert (again.id, again.branch) == (first.id, "trunk")
    other = await ensure_source(conn, first.url, branch="main", environment="dev", path="flows-example")
    assert [row.id for row in await list_sources(conn)] == [other.id, first.id]


async def test_attempts_are_listed_newest_first_and_repeated_ones_share_a_row(conn, make):
    source = await make.source(conn)
    error = {"message": "no route to host"}
    first = await record_attempt(conn, source.id, "failed", sha=None, started_at=NOW, error=error)
    again = await record_attempt(conn, source.id, "failed", sha=None, started_at=NOW, error=error)
    assert again.id == first.id
    other = await record_attempt(conn, source.id, "refused", sha="d" * 40, started_at=NOW, plan={"n": 1})
    rows = await list_attempts(conn, source.id)
    assert [row.id for row in rows] == [other.id, first.id]
    assert (rows[0].plan, rows[1].error) == ({"n": 1}, error)


async def test_old_attempts_are_forgotten(conn, make):
    source = await make.source(conn)
    await conn.execute(
        "INSERT INTO sync_attempts (source_id, status, started_at)"
        " SELECT %s, 'failed', now() FROM generate_series(1, %s)",
        [source.id, MAX_ATTEMPTS + 30],
    )
    newest = await record_attempt(conn, source.id, "refused", sha=None, started_at=NOW)
    rows = await list_attempts(conn, source.id, limit=10_000)
    assert len(rows) == MAX_ATTEMPTS
    assert rows[0].id == newest.id
