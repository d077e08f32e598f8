"""What was written comes back with its keys in the order in which it was written: requests are made of it."""

from __future__ import annotations

import json

import pytest

from automata.flow.model import Flow
from automata.store.due_schedules import take_due
from automata.store.flows import get_version, put_api_flow, versions_by_id
from automata.store.schedules import (
    create_schedule,
    declare_schedules,
    enable_schedule,
    get_schedule,
    list_schedules,
    update_schedule,
)

ORDERED = {"zeta": 1, "a": 2, "bb": {"y": 1, "x": 2}}
REVERSED = {"bb": {"x": 2, "y": 1}, "a": 2, "zeta": 1}
BY_API = {"name": "by-api", "interval_sec": 60, "inputs": {"o": ORDERED}}


def text(value):
    return json.dumps(value)


def ordered(make, body):
    steps = [{"id": "save", "type": "http", "config": {"url": "https://erp.test", "body": body}}]
    return Flow.from_spec(make.spec("orders") | {"steps": steps})


async def test_a_version_keeps_the_order_of_its_keys_and_of_its_variables(conn, make):
    flow = ordered(make, ORDERED)
    done = await put_api_flow(conn, flow, variables={"o": ORDERED})
    for version in (
        done.version,
        await get_version(conn, done.flow.id),
        *await versions_by_id(conn, [done.version.id]),
    ):
        assert text(version.spec) == text(flow.spec)
        assert text(version.variables) == text({"o": ORDERED})


async def test_another_order_of_what_is_sent_is_another_version(conn, make):
    first = await put_api_flow(conn, ordered(make, ORDERED))
    again = await put_api_flow(conn, ordered(make, ORDERED))
    other = await put_api_flow(conn, ordered(make, REVERSED))
    assert (first.changed, again.changed, other.changed) == (True, False, True)
    assert text(other.version.spec["steps"][0]["config"]["body"]) == text(REVERSED)


async def test_a_version_of_before_is_read_as_it_was_kept(conn, make):
    done = await put_api_flow(conn, ordered(make, ORDERED), variables={"o": 1})
    await conn.execute("UPDATE flow_versions SET spec_written = NULL, variables_written = NULL")
    version = await get_version(conn, done.flow.id)
    assert version.spec == done.version.spec
    assert text(version.spec["steps"][0]["config"]["body"]) == text({"a": 2, "bb": {"x": 2, "y": 1}, "zeta": 1})
    assert version.variables == {"o": 1}


@pytest.mark.parametrize("spec", [BY_API, {**BY_API, "inputs": {"o": REVERSED}}])
async def test_the_inputs_of_a_schedule_keep_their_order(spec, conn, make):
    flow_id, _ = await make.flow(conn)
    made = await create_schedule(conn, flow_id, BY_API)
    row = await update_schedule(conn, made.id, spec)
    assert text(row.spec["inputs"]) == text(spec["inputs"])
    await conn.execute("UPDATE schedules SET next_fire_at = now() - interval '1 second'")
    (due,) = await take_due(conn, 5)
    assert text(due.schedule.inputs) == text(spec["inputs"])


async def test_another_order_is_taken_over_and_does_not_switch_on_what_was_switched_off(conn, make):
    flow_id, _ = await make.flow(conn)
    spec = {"name": "n", "interval_sec": 60, "inputs": {"o": ORDERED}}
    await declare_schedules(conn, {flow_id: [spec]}, "git")
    (row,) = (await list_schedules(conn, flow_id=flow_id)).items
    await enable_schedule(conn, row.id, False)
    for written in (spec, {**spec, "inputs": {"o": REVERSED}}):
        await conn.execute("UPDATE schedules SET spec_written = NULL")
        await declare_schedules(conn, {flow_id: [written]}, "git")
        row = await get_schedule(conn, row.id)
        assert text(row.spec["inputs"]) == text(written["inputs"])
        assert (row.enabled, row.next_fire_at) == (False, None)
