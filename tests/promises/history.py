"""The checker: joins what clients were told, what the database holds and what the ledger saw."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.figures import note
from tests.promises.ledger import Ledger

STEPS = ("first", "second")


def chain(url: str) -> dict[str, Any]:
    """A flow whose second step sends on what the first one was answered, so that an accepted result leaves a trace."""
    call = {"method": "POST", "url": f"{url}/effect"}
    kept = {"serial": "{{ response.body.serial }}"}
    policy = {"max_attempts": 5, "initial_delay_ms": 50, "max_delay_ms": 500}
    first = {"type": "http", "config": {**call, "body": {"n": "{{ inputs.n }}"}}, "outputs": kept, "retry": policy}
    body = {"after": "{{ steps.first.outputs.serial }}"}
    second = {"type": "http", "config": {**call, "body": body}, "outputs": kept, "retry": policy}
    return {
        "name": "chain",
        "inputs": {"n": {"type": "integer", "required": True}},
        "steps": [{"id": "first", **first}, {"id": "second", "depends_on": ["first"], **second}],
    }


@dataclass(frozen=True, slots=True)
class Figures:
    """All but the first two and the last must be 0. `accepted`: runs that a client was told of."""

    accepted: int
    finished: int
    lost: int  # accepted, without a result
    unknown: int  # in the database, but no client asked for them
    failed: int
    uncalled: int  # steps that are SUCCEEDED and never reached the ledger
    double_accepted: int  # a follower saw another result than the one that is stored, or two were stored
    duplicate_fires: int
    left: int  # rows that still move
    called_again: int

    def check(self, kept: float = 0.9) -> None:
        print(self)
        note(
            {
                "runs accepted": self.accepted,
                "runs lost": self.lost,
                "double-accepted results": self.double_accepted,
                "duplicate fires": self.duplicate_fires,
            }
        )
        wrong = {name: getattr(self, name) for name in _ZERO if getattr(self, name)}
        assert not wrong, f"broken promises: {wrong}"
        assert self.finished >= kept * self.accepted > 0


_ZERO = ("lost", "unknown", "failed", "uncalled", "double_accepted", "duplicate_fires", "left")


def check_chain(database_url: str, ledger: Ledger, accepted: Collection[str]) -> Figures:
    """Figures of all runs of the flow `chain`; `accepted` are the ids that clients were given."""
    with psycopg.connect(database_url) as conn:
        runs = {row[0] for row in conn.execute("SELECT id::text FROM runs")}
        results = dict(conn.execute("SELECT run_id::text, status FROM run_results").fetchall())
        serials = {
            f"{run}:{step}": outputs["serial"]
            for run, step, outputs in conn.execute(
                "SELECT run_id::text, step, outputs FROM tasks WHERE status = 'SUCCEEDED'"
            )
        }
        stored = conn.execute("SELECT count(*) - count(DISTINCT (run_id, step)) FROM tasks").fetchone()
        fires = conn.execute(
            "SELECT count(*) - count(DISTINCT (schedule_id, scheduled_for)) FROM runs WHERE schedule_id IS NOT NULL"
        ).fetchone()
        left = conn.execute("SELECT count(*) FROM task_queue").fetchone()
    assert stored is not None
    assert fires is not None
    assert left is not None
    calls = ledger.by_key()
    return Figures(
        accepted=len(accepted),
        finished=len(results),
        lost=len(set(accepted) - set(results)),
        unknown=len(runs - set(accepted)),
        failed=sum(status != "SUCCEEDED" for status in results.values()),
        uncalled=sum(f"{run}:{step}" not in calls for run in results for step in STEPS),
        double_accepted=stored[0] + _contradicted(ledger, serials),
        duplicate_fires=fires[0],
        left=left[0],
        called_again=len(ledger.calls) - len(calls),
    )


def _contradicted(ledger: Ledger, serials: Mapping[str, int]) -> int:
    """Calls of a second step that carried another serial than the first step's stored result."""
    answered = {call.serial: call.key for call in ledger.calls}
    wrong = sum(answered.get(serial) != key for key, serial in serials.items())
    for call in ledger.calls:
        run, _, step = call.key.rpartition(":")
        if step == "second" and serials.get(f"{run}:first") != call.body["after"]:
            wrong += 1
    return wrong
