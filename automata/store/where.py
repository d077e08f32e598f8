"""The conditions of a filtered read: each comes with the values that it names, so their order means nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, LiteralString

from psycopg import sql

from automata.store.flow_visibility import viewer_values, visible_condition


@dataclass(slots=True)
class Where:
    """Conditions that must all hold, and `name` -> value of each `%(name)s` in them.

    A condition is text of ours. It must stay text in the statement, not a parameter: the planner proves with it that a
    partial index may be used.
    """

    conditions: list[LiteralString] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, condition: LiteralString, **values: Any) -> None:
        """Add a condition with the values that it names."""
        self.conditions.append(condition)
        self.values |= values

    def add_given(self, condition: LiteralString, **values: Any) -> None:
        """The same where no value is None: None leaves a member of a filter open."""
        if None not in values.values():
            self.add(condition, **values)

    def add_visible(self, flow_id: LiteralString) -> None:
        """Keep to the flows that the caller may see; `flow_id` is the column that names the flow."""
        if condition := visible_condition(flow_id):
            self.add(condition, **viewer_values())

    def clause(self) -> sql.Composable:
        """`a AND b`, `true` without any condition."""
        return sql.SQL(" AND ").join([sql.SQL("true"), *map(sql.SQL, self.conditions)])
