"""Conditions of a filtered read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from automata.store.flow_visibility import set_viewer_labels
from automata.store.where import Where


@pytest.fixture
def limited() -> Iterator[None]:
    set_viewer_labels({"team": "billing"})
    yield
    set_viewer_labels({})


def test_no_condition_is_true() -> None:
    assert Where().clause().as_string() == "true"


def test_conditions_come_with_the_values_that_they_name() -> None:
    where = Where()
    where.add("a = %(a)s", a=1)
    where.add("b BETWEEN %(low)s AND %(high)s", low=2, high=3)
    assert where.clause().as_string() == "true AND a = %(a)s AND b BETWEEN %(low)s AND %(high)s"
    assert where.values == {"a": 1, "low": 2, "high": 3}


def test_a_value_of_none_leaves_its_condition_out_and_false_does_not() -> None:
    where = Where()
    where.add_given("a = %(a)s", a=None)
    where.add_given("b = %(b)s", b=False)
    assert where.conditions == ["b = %(b)s"]


def test_a_viewer_of_all_flows_adds_no_condition() -> None:
    where = Where()
    where.add_visible("flows.id")
    assert (where.conditions, where.values) == ([], {})


@pytest.mark.usefixtures("limited")
def test_a_limited_viewer_s_labels_are_a_value_of_the_condition() -> None:
    where = Where()
    where.add_visible("flows.id")
    assert where.clause().as_string().startswith("true AND flows.id IN (SELECT visible.id FROM flows AS visible")
    assert where.values == {"viewer_labels": '{"team":"billing"}'}
