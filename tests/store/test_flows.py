"""Flows and versions: finding them, listing them, and those that the API owns."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from automata.errors import Conflict, Invalid, Missing
from automata.flow.model import Flow
from automata.store.database import Database
from automata.store.flow_writes import write_flows
from automata.store.flows import (
    archive_api_flow,
    find_flow,
    get_version,
    list_flows,
    list_versions,
    put_api_flow,
    versions_by_id,
)
from automata.store.pagination import encode


async def put(conn, make, name, **extra):
    return await put_api_flow(conn, Flow.from_spec(make.spec(name, **extra)), author="Ada")


async def test_a_flow_is_found_by_id_and_by_name(conn, make):
    done = await put(conn, make, "orders", description="All of them", labels={"team": "sales"})
    for key in (done.flow.id, str(done.flow.id), "orders"):
        row = await find_flow(conn, key)
        assert (row.name, row.description, row.labels, row.source) == (
            "orders",
            "All of them",
            {"team": "sales"},
            None,
        )


async def test_an_unknown_flow_is_missing_and_the_nearest_name_is_offered(conn, make):
    await put(conn, make, "sync-orders")
    with pytest.raises(Missing, match="Did you mean sync-orders"):
        await find_flow(conn, "sync-ordres")
    for key in ("entirely-else", uuid4()):
        with pytest.raises(Missing) as caught:
            await find_flow(conn, key)
        assert caught.value.hint is None


async def test_a_flow_may_be_named_like_an_id_without_dashes(conn, make):
    name = uuid4().hex
    await put(conn, make, name)
    assert (await find_flow(conn, name)).name == name


async def test_putting_the_same_content_again_changes_nothing(conn, make):
    first = await put(conn, make, "a")
    again = await put(conn, make, "a")
    assert (first.created, first.changed) == (True, True)
    assert (again.created, again.changed) == (False, False)
    assert again.version == first.version
    changed = await put(conn, make, "a", description="new")
    assert (changed.created, changed.changed, changed.version.number) == (False, True, 2)
    assert changed.version.author == "Ada"


async def test_variables_make_a_version_too(conn, make):
    flow = Flow.from_spec(make.spec("a"))
    await put_api_flow(conn, flow, variables={"url": "https://one.example"})
    done = await put_api_flow(conn, flow, variables={"url": "https://two.example"})
    assert (done.version.number, done.version.variables) == (2, {"url": "https://two.example"})


async def test_a_flow_of_git_is_not_written_through_the_api(conn, make):
    source = await make.source(conn)
    await write_flows(conn, source.id, [make.wanted("a")])
    for call in (put(conn, make, "a"), archive_api_flow(conn, "a")):
        with pytest.raises(Conflict, match=source.url) as caught:
            await call
        assert caught.value.code == "git_managed"


async def test_archiving_hides_a_flow_and_putting_it_brings_it_back(conn, make):
    first = await put(conn, make, "a")
    for _ in range(2):
        assert (await archive_api_flow(conn, "a")).archived_at is not None
    assert (await list_flows(conn)).items == []
    assert [row.name for row in (await list_flows(conn, archived=True)).items] == ["a"]
    back = await put(conn, make, "a")
    assert (back.created, back.flow.id, back.flow.archived_at) == (True, first.flow.id, None)


async def test_a_rename_through_the_api_keeps_the_history(conn, make):
    first = await put(conn, make, "a")
    done = await put(conn, make, "b", renamed_from="a")
    assert (done.flow.id, done.created, done.version.number) == (first.flow.id, False, 2)


async def test_a_value_that_postgresql_cannot_keep_is_invalid(database_url, make):
    async with await Database.open(database_url) as db:
        for text in ("nul \0 byte", {"deep": ["\0"]}):
            with pytest.raises(Invalid) as caught:
                async with db.transaction() as conn:
                    await put(conn, make, "a", description=text)
            assert caught.value.code == "unfit_value"
        with pytest.raises(Invalid):
            async with db.transaction() as conn:
                await put(conn, make, "Not A Name")


async def test_lists_filter_by_text_label_and_source_and_come_in_pages(conn, make):
    source = await make.source(conn)
    await write_flows(conn, source.id, [make.wanted("git-one")])
    for n in range(5):
        await put(conn, make, f"flow-{n}", labels={"even": str(n % 2 == 0), "n": str(n)})

    async def names(**filters):
        return [row.name for row in (await list_flows(conn, **filters)).items]

    assert await names(search="W-3") == ["flow-3"]
    assert await names(search="%") == []
    assert await names(labels={"even": "True"}) == ["flow-0", "flow-2", "flow-4"]
    assert await names(labels={"even": "True", "n": "1"}) == []
    assert await names(source_id=source.id) == ["git-one"]
    assert await names(archived=None, limit=2) == ["flow-0", "flow-1"]
    first = await list_flows(conn, limit=4)
    rest = await list_flows(conn, limit=4, after=first.next)
    assert [row.name for row in rest.items] == ["flow-4", "git-one"]
    assert rest.next is None


@pytest.mark.parametrize("cursor", ["", "x", "!!", encode(["a", "b"]), encode(["nan"]), "W10", "é"])
async def test_a_cursor_that_no_list_gave_out_is_invalid(conn, cursor):
    with pytest.raises(Invalid) as caught:
        await list_versions(conn, uuid4(), after=cursor or "-")
    assert caught.value.code == "bad_cursor"


async def test_versions_are_listed_newest_first_and_read_one_by_one(conn, make):
    for n in range(5):
        done = await put(conn, make, "a", description=str(n))
    flow_id = done.flow.id
    first = await list_versions(conn, flow_id, limit=3)
    rest = await list_versions(conn, flow_id, limit=3, after=first.next)
    assert [row.number for row in first.items + rest.items] == [5, 4, 3, 2, 1]
    assert first.items[0].spec == {}
    assert (await get_version(conn, flow_id)).number == 5
    assert (await get_version(conn, flow_id, 2)).spec["description"] == "1"
    for missing in ((flow_id, 6), (uuid4(), None)):
        with pytest.raises(Missing):
            await get_version(conn, *missing)
    found = await versions_by_id(conn, [done.version.id, uuid4()])
    assert found == [done.version]


async def test_two_writers_of_one_new_flow_both_succeed_with_one_version_each(database_url, make):
    """The second waits for the first at the name, then counts on from what it finds."""
    async with await Database.open(database_url, max_size=10) as db:

        async def write(n):
            async with db.transaction() as conn:
                return (await put(conn, make, "contested", description=str(n))).version.number

        numbers = await asyncio.gather(*(write(n) for n in range(8)))
        assert sorted(numbers) == list(range(1, 9))
