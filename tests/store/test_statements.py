"""The statements and the Python beside them agree, and each constant is written in one place."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import psycopg
import pytest

import automata.store
from automata.store.orchestrator_queue import SnapshotRow, WakeUpRow
from automata.store.runs import RunRow
from automata.store.sql import FRAGMENTS, statement, with_fragments
from automata.store.worker_queue import ClaimRow, RunInfo

STORE = Path(automata.store.__file__).parent
STATEMENTS = sorted(path.stem for path in (STORE / "sql").glob("*.sql"))
NAMES_IN_PLACE = {"sentinels.py", "waiting.py"}


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("take_wakeups", WakeUpRow._fields),
        ("load_snapshots", SnapshotRow._fields),
        ("claim", ClaimRow._fields),
        ("claim_runs", tuple(column.name for column in fields(RunInfo))),
    ],
)
def test_the_columns_of_a_statement_are_the_fields_of_its_row_in_order(
    name: str, row: tuple[str, ...], database_url: str
) -> None:
    text = statement(name)
    values = dict.fromkeys(re.findall(r"%\((\w+)\)s", text))
    with psycopg.connect(database_url) as conn:
        description = conn.execute(text.encode(), values | {"limit": 0, "lease": 1.0}).description
    assert description is not None
    assert tuple(column.name for column in description) == row


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_fragment_of_a_statement_is_filled_in(name: str) -> None:
    assert "${" not in statement(name)


def test_a_fragment_that_nobody_defined_is_refused() -> None:
    with pytest.raises(KeyError):
        with_fragments("SELECT ${NOBODY}")


def test_every_fragment_is_used() -> None:
    text = "".join(path.read_text() for path in STORE.rglob("*") if path.suffix in (".sql", ".py"))
    assert [name for name in FRAGMENTS if f"${{{name}}}" not in text.replace(f"${{{{{name}}}}}", f"${{{name}}}")] == []


def test_sentinels_and_spans_are_written_where_they_are_defined_and_nowhere_else() -> None:
    literal = re.compile(r"""['"](@advance|!cancel)['"]|reads\[\d\]|interval '|\\x1f""")
    found = {
        path.name: sorted({found[0] for found in literal.finditer(path.read_text())})
        for path in STORE.rglob("*")
        if path.suffix in (".py", ".sql") and path.name not in NAMES_IN_PLACE
    }
    assert {name: literals for name, literals in found.items() if literals} == {}


def test_lists_leave_out_only_what_may_be_large() -> None:
    large = [column.name for column in fields(RunRow) if column.metadata["large"]]
    assert large == ["inputs", "outputs"]
