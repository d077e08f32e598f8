"""What 0023 makes of runs and letters that were written before a step and the run that it waited for had one letter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from automata.store import migrate

Json = dict[str, Any]
CALL: Json = {"id": "bill", "type": "flow", "config": {"flow": "invoice"}}
WORK: Json = {"id": "tell", "type": "http", "config": {"url": "https://a.test"}}


class Old:
    """Rows as they were written, in a database that 0023 has not seen."""

    def __init__(self, conn: psycopg.Connection[Any], url: str) -> None:
        self.conn = conn
        self.url = url
        conn.execute("UPDATE alembic_version SET version_num = '0022'")
        conn.commit()

    def version(self, *steps: Json, **more: Any) -> tuple[UUID, UUID]:
        flow, version = uuid4(), uuid4()
        name = f"f{flow.hex[:8]}"
        spec = json.dumps({"name": name, "steps": list(steps), **more})
        self.conn.execute("INSERT INTO flows (id, name) VALUES (%s, %s)", [flow, name])
        self.conn.execute(
            "INSERT INTO flow_versions (id, flow_id, number, spec, content_hash) VALUES (%s, %s, 1, %s, %s)",
            [version, flow, spec, flow.hex],
        )
        return flow, version

    def run(
        self, version: tuple[UUID, UUID], status: str | None = "FAILED", above: Any = None, second: int = 0
    ) -> UUID:
        """`above`: (run, step, depth) of what called it."""
        id, (parent, step, depth) = uuid4(), above or (None, None, 0)
        self.conn.execute(
            "INSERT INTO runs (id, flow_id, version_id, trigger, inputs, created_at, parent_run_id, parent_step, depth)"
            " VALUES (%s, %s, %s, 'flow', '{}', timestamptz '2026-01-05' + make_interval(secs => %s), %s, %s, %s)",
            [id, *version, second, parent, step, depth],
        )
        if status:
            self.conn.execute(
                "INSERT INTO run_results (run_id, flow_id, status, started_at) VALUES (%s, %s, %s, now())",
                [id, version[0], status],
            )
        return id

    def letter(self, run: UUID, version: tuple[UUID, UUID], step: str, code: str = "http_status") -> int:
        row = self.conn.execute(
            "INSERT INTO dead_letters (run_id, flow_id, version_id, step, attempts, code)"
            " VALUES (%s, %s, %s, %s, 1, %s) RETURNING id",
            [run, *version, step, code],
        ).fetchone()
        assert row is not None
        return int(row[0])

    def migrated(self) -> set[int]:
        """The letters that are open afterwards."""
        self.conn.commit()
        assert "0023" in migrate.upgrade(self.url)
        return {id for (id,) in self.conn.execute("SELECT id FROM dead_letters WHERE state = 'open'").fetchall()}

    def contained(self) -> set[UUID]:
        return {id for (id,) in self.conn.execute("SELECT id FROM runs WHERE contained").fetchall()}


@pytest.fixture
def old(fresh_database_url: str) -> Iterator[Old]:
    with psycopg.connect(fresh_database_url) as conn:
        yield Old(conn, fresh_database_url)


def test_a_step_and_the_run_that_it_waited_for_have_one_letter(old: Old) -> None:
    intake, invoice = old.version(CALL, {**WORK, "id": "ship"}), old.version(WORK)
    parent = old.run(intake)
    child = old.run(invoice, above=(parent, "bill", 1))
    old.letter(parent, intake, "bill", "child_failed")
    other = old.letter(parent, intake, "ship")
    own = old.letter(child, invoice, "tell")
    assert old.migrated() == {own, other}


def test_a_step_whose_run_has_no_letter_any_more_keeps_its_own(old: Old) -> None:
    intake, invoice = old.version(CALL), old.version(WORK)
    parent = old.run(intake)
    old.run(invoice, above=(parent, "bill", 1))
    own = old.letter(parent, intake, "bill", "child_failed")
    assert old.migrated() == {own}


def test_letters_of_a_run_that_a_later_one_took_the_place_of_are_closed_with_those_below(old: Old) -> None:
    intake, middle, invoice = old.version(CALL), old.version(CALL), old.version(WORK)
    parent = old.run(intake)
    first = old.run(middle, above=(parent, "bill", 1))
    below = old.run(invoice, above=(first, "bill", 2))
    second = old.run(middle, above=(parent, "bill", 1), second=60)
    again = old.run(invoice, above=(second, "bill", 2), second=60)
    for run, version, step in ((first, middle, "bill"), (below, invoice, "tell"), (second, middle, "bill")):
        old.letter(run, version, step, "child_failed" if step == "bill" else "http_status")
    kept = old.letter(again, invoice, "tell")
    assert old.migrated() == {kept}


@pytest.mark.parametrize("step", ["bill", "bill[3]", "g.one.bill", "handle"])
@pytest.mark.parametrize("status", ["FAILED", None])
def test_what_a_flow_contains_is_contained_all_the_way_down(old: Old, step: str, status: str | None) -> None:
    soft = {**CALL, "continue_on_error": True}
    group = {
        "id": "g",
        "type": "parallel",
        "continue_on_error": True,
        "branches": [{"id": "one", "steps": [CALL]}],
    }
    steps = [group] if "." in step else [soft]
    handler = {**soft, "id": "handle"}
    intake = old.version(*steps, on_failure=handler)
    middle, invoice = old.version(CALL), old.version(WORK)
    parent = old.run(intake, None)
    child = old.run(middle, status, above=(parent, step, 1))
    below = old.run(invoice, status, above=(child, "bill", 2))
    if status:
        old.letter(child, middle, "bill", "child_failed")
        old.letter(below, invoice, "tell")
    assert old.migrated() == set()
    assert old.contained() == {child, below}


def test_what_nobody_contains_or_waits_for_stays_as_it_is(old: Old) -> None:
    intake = old.version(
        CALL, {**CALL, "id": "tell", "continue_on_error": True, "config": {"flow": "x", "wait": False}}
    )
    invoice = old.version(WORK)
    parent = old.run(intake)
    letters = set()
    for step in ("bill", "tell", "gone"):
        letters.add(old.letter(old.run(invoice, above=(parent, step, 1)), invoice, "tell"))
    assert old.migrated() == letters
    assert old.contained() == set()


@pytest.mark.parametrize("contained", [False, True])
def test_only_a_failure_that_nothing_contains_raises_an_alarm(old: Old, contained: bool) -> None:
    source = uuid4()
    version = old.version(WORK)
    old.migrated()
    old.conn.execute("INSERT INTO sync_sources (id, url, branch, environment) VALUES (%s, 'u', 'b', 'prod')", [source])
    old.conn.execute("INSERT INTO notification_rules (source_id, name, spec) VALUES (%s, 'r', '{}')", [source])
    run = old.run(version, None)
    old.conn.execute("UPDATE runs SET contained = %s WHERE id = %s", [contained, run])
    old.conn.execute(
        "INSERT INTO run_results (run_id, flow_id, status, started_at) VALUES (%s, %s, 'FAILED', now())",
        [run, version[0]],
    )
    events = old.conn.execute("SELECT kind FROM notification_events").fetchall()
    assert events == ([] if contained else [("run.failed",)])
