"""Flows that call each other, what becomes of their runs, and who has them go on."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from automata.engine.states import RunStatus
from automata.store import deadletters
from automata.store.deadletters import DeadLetterFilter, DeadLetterRow, list_letters, retry_letter
from automata.store.run_retries import retry_runs
from tests.drive import Drive, Json, step

SUCCEEDED, FAILED, CANCELLED = RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED


async def forget(site: Drive) -> None:
    async with site.db.connection() as conn:
        await conn.execute("UPDATE dead_letters SET state = 'discarded', resolved_at = now() WHERE state = 'open'")


def call(flow: str, id: str = "bill", *after: str, inputs: Json | None = None, **more: Any) -> Json:
    config = {"flow": flow, "inputs": inputs or {}}
    return {"id": id, "type": "flow", "depends_on": list(after), "config": config, **more}


async def put_pair(site: Drive, **more: Any) -> tuple[UUID, UUID]:
    """`intake` reserves, has `invoice` write and tell, and ships."""
    await site.put("invoice", step("write"), step("tell", "write"))
    return await site.put("intake", step("reserve"), call("invoice", "bill", "reserve"), step("ship", "bill"), **more)


async def letters(site: Drive, **filter: Any) -> list[DeadLetterRow]:
    async with site.db.connection() as conn:
        return (await list_letters(conn, DeadLetterFilter(**filter))).items


async def children(site: Drive, run: UUID) -> list[UUID]:
    async with site.db.connection() as conn:
        query = "SELECT id FROM runs WHERE parent_run_id = %s ORDER BY created_at, id"
        return [id for (id,) in await (await conn.execute(query, [run])).fetchall()]


async def retry(site: Drive, *runs: UUID) -> set[UUID]:
    async with site.db.transaction() as conn:
        reopened = await retry_runs(conn, runs, "ada")
    site.notify()
    return {run.run_id for run in reopened}


async def retry_first_letter(site: Drive) -> None:
    (letter, *_) = await letters(site)
    async with site.db.transaction() as conn:
        await retry_letter(conn, letter.id, "ada")
    site.notify()


async def retry_all(site: Drive, limit: int) -> int:
    """As `dlq retry --all` does it, in transactions of `limit` letters; how many were retried."""
    done, after = 0, 0
    while True:
        async with site.db.transaction() as conn:
            batch = await deadletters.retry_batch(conn, DeadLetterFilter(), after, limit, "ada")
        site.notify()
        done += batch.done
        if batch.after is None:
            return done
        after = batch.after


def keys(site: Drive, name: str) -> list[str]:
    return [call.key for call in site.play.calls if call.step == name]


async def put_three(site: Drive) -> tuple[UUID, UUID]:
    await site.put("bottom", step("deep"), step("deeper", "deep"))
    await site.put("middle", call("bottom", "down"), step("mid", "down"))
    return await site.put("top", call("middle", "down"), step("last", "down"))


ITEMS = {"ids": {"type": "array"}}


async def put_many(site: Drive, **more: Any) -> tuple[UUID, UUID]:
    await site.put("invoice", step("write", config={"id": "{{ inputs.id }}"}), inputs={"id": {"type": "integer"}})
    each = call("invoice", "bill", inputs={"id": "{{ item }}"}, foreach="inputs.ids", **more)
    return await site.put("orders", each, step("ship", "bill"), inputs=ITEMS, on_failure=step("alarm"))


def written(site: Drive) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for one in site.play.calls:
        if one.step == "write":
            found.setdefault(one.config["id"], set()).add(one.key)
    return found
