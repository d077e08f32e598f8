"""What each commit made current is remembered, compared with the database, and restored."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from automata.errors import Conflict, Missing, Usage
from automata.flow.model import Flow
from automata.store import sync_history
from automata.store.flows import put_api_flow
from automata.store.sync import apply, get_source, list_attempts, lock_source
from automata.store.sync_history import find_drift, find_set, restore
from automata.store.sync_rollbacks import release, roll_back

NOW = datetime(2026, 1, 5, tzinfo=UTC)
A, B, C = "a" * 40, "b" * 40, "c" * 40


async def sync(conn, source, sha, *flows, archive=(), **more):
    row = await lock_source(conn, source.id)
    return await apply(conn, row, flows, sha=sha, tree_sha=sha, started_at=NOW, archive=archive, **more)


async def current(conn):
    """Name -> number of the current version, of flows in use."""
    cursor = await conn.execute(
        "SELECT name, number FROM flows JOIN flow_versions v ON v.id = current_version_id WHERE archived_at IS NULL"
    )
    return dict(await cursor.fetchall())


async def kinds(conn, source):
    return {one.name: one.kind for one in await find_drift(conn, source.id)}


async def back_to(conn, source, sha):
    return await roll_back(conn, await lock_source(conn, source.id), sha, by="Ada", reason="orders are doubled")


async def test_a_commit_that_changes_one_flow_of_many_adds_one_member(conn, make):
    source = await make.source(conn)
    await sync(conn, source, A, *(make.wanted(f"f{n}") for n in range(20)))
    await sync(conn, source, B, make.wanted("f7", description="new"))
    await sync(conn, source, C, read=False)
    rows = await (await conn.execute("SELECT count(*), count(until_set) FROM sync_members")).fetchone()
    assert rows == (21, 1)
    assert [one.sha for one in await sync_history.list_sets(conn, source.id, 9)] == [C, B, A]
    assert await kinds(conn, source) == {}


async def test_a_rollback_restores_versions_names_and_who_was_there(conn, make):
    source = await make.source(conn)
    every = {"name": "daily", "cron": "0 6 * * *"}
    await sync(conn, source, A, make.wanted("changes", schedules=[every]), make.wanted("goes"), make.wanted("old"))
    await sync(
        conn, source, B, make.wanted("changes", description="two"), make.wanted("comes"),
        make.wanted("new", renamed_from="old"), archive=["goes"],
    )  # fmt: skip
    before = await current(conn)
    done = await back_to(conn, source, A[:7])
    assert await current(conn) == {"changes": 1, "goes": 1, "old": 1}
    assert set(done.changed) == {"changes", "goes", "comes", "old"}
    (schedule,) = await (await conn.execute("SELECT name, next_fire_at FROM schedules")).fetchall()
    assert schedule[0] == "daily"
    assert schedule[1] is not None
    row = done.source
    assert (row.head_sha, row.tree_sha, row.pinned_by, row.pinned_reason) == (A, None, "Ada", "orders are doubled")
    assert (await list_attempts(conn, source.id))[0].status == "rolled_back"
    assert await kinds(conn, source) == {}, "what it was rolled back to is what it is held to"
    await back_to(conn, source, B)
    assert await current(conn) == before, "and forward again"
    row = await release(conn, await lock_source(conn, source.id))
    assert (row.pinned_at, row.asked_at is not None) == (None, True)
    assert await release(conn, row) == row


async def test_only_a_commit_that_was_synced_can_be_rolled_back_to(conn, make):
    source = await make.source(conn)
    await sync(conn, source, A, make.wanted("a"))
    await sync(conn, source, "a" * 39 + "b", make.wanted("a", description="2"))
    await sync(conn, source, f"{B}-dirty", make.wanted("a", description="3"))
    for sha, error, code in (
        (C, Missing, "not_synced"),
        (B, Missing, "not_synced"),
        ("aaaaaaa", Usage, "ambiguous_sha"),
        ("aaaa", Usage, "bad_sha"),
        ("a' OR 1=1 --", Usage, "bad_sha"),
    ):
        with pytest.raises(error) as caught:
            await find_set(conn, source.id, sha)
        assert caught.value.code == code
    assert (await find_set(conn, source.id, "a" * 39 + "b")).sha.endswith("b")


@pytest.mark.parametrize(
    ("kind", "harm"),
    [
        ("version", "UPDATE flows SET current_version_id = (SELECT id FROM flow_versions v WHERE v.flow_id = flows.id"
                    " AND number = 1) WHERE name = 'a'"),
        ("version", "UPDATE flows SET current_version_id = NULL WHERE name = 'a'"),
        ("archived", "UPDATE flows SET archived_at = now() WHERE name = 'a'"),
        ("renamed", "UPDATE flows SET name = 'other' WHERE name = 'a'"),
        ("schedules", "DELETE FROM schedules"),
        ("schedules", """UPDATE schedules SET spec = jsonb_set(spec, '{cron}', '"* * * * *"')"""),
        ("extra", "UPDATE flows SET archived_at = NULL WHERE name = 'gone'"),
    ],
)  # fmt: skip
async def test_every_kind_of_drift_is_seen_named_and_put_back(conn, make, kind, harm):
    source = await make.source(conn)
    every = {"name": "daily", "cron": "0 6 * * *"}
    await sync(conn, source, A, make.wanted("a"), make.wanted("gone"), make.wanted("b"))
    await sync(conn, source, B, make.wanted("a", schedules=[every]), archive=["gone"])
    assert await kinds(conn, source) == {}
    await conn.execute("UPDATE schedules SET enabled = false")
    assert await kinds(conn, source) == {}, "an operator may switch a schedule off"
    await conn.execute(harm)
    name = "gone" if kind == "extra" else "a"
    assert await kinds(conn, source) == {name: kind}
    (found,) = await find_drift(conn, source.id)
    assert found.message.startswith(name)
    await restore(conn, source.id, [found])
    assert await kinds(conn, source) == {}
    assert await current(conn) == {"a": 2, "b": 1}


async def test_what_another_owner_has_is_drift_that_is_not_taken_back(conn, make):
    source = await make.source(conn)
    await sync(conn, source, A, make.wanted("a"))
    await conn.execute("UPDATE flows SET archived_at = now()")
    await put_api_flow(conn, Flow.from_spec(make.spec("a")))
    found = await find_drift(conn, source.id)
    assert [(one.kind, one.owner) for one in found] == [("taken", "the API")]
    with pytest.raises(Conflict, match="a is managed by the API"):
        await restore(conn, source.id, found)


async def test_a_name_that_another_flow_has_by_now_is_a_conflict(conn, make):
    source = await make.source(conn)
    await sync(conn, source, A, make.wanted("a"))
    await sync(conn, source, B, make.wanted("b", renamed_from="a"))
    await sync(conn, source, C, make.wanted("a"))
    with pytest.raises(Conflict, match="b to a"):
        await back_to(conn, source, A)


async def test_a_sync_that_reads_nothing_does_not_make_drift_the_truth(conn, make):
    source = await make.source(conn)
    await sync(conn, source, A, make.wanted("a"))
    await conn.execute("UPDATE flows SET archived_at = now()")
    await sync(conn, source, B, read=False)
    assert await kinds(conn, source) == {"a": "archived"}


async def test_old_sets_are_forgotten_with_their_members(conn, make, monkeypatch):
    monkeypatch.setattr(sync_history, "MAX_SETS", 3)
    source = await make.source(conn)
    for number in range(6):
        await sync(conn, source, f"{number:040x}", make.wanted("a", description=str(number)), make.wanted("b"))
    assert len(await sync_history.list_sets(conn, source.id, 99)) == 3
    spans = await (await conn.execute("SELECT count(*) FROM sync_members WHERE name = 'a'")).fetchone()
    assert spans == (3,)
    await back_to(conn, source, f"{3:040x}")
    assert await current(conn) == {"a": 4, "b": 1}
    with pytest.raises(Missing):
        await find_set(conn, source.id, f"{2:040x}")
    assert (await get_source(conn, source.id)).head_sha == f"{3:040x}"
