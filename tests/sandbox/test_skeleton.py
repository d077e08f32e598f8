"""Mocks that are written for requests without one."""

from __future__ import annotations

from typing import Any

import pytest

from automata.flow.yaml12 import parse_yaml, to_yaml
from automata.sandbox.case_file import read_cases
from automata.sandbox.skeleton import MAX_MOCKS, skeletons


def sent(method: str, url: str) -> dict[str, Any]:
    return {"method": method, "url": url, "body": "secret"}


def test_each_method_and_url_has_one_mock_with_a_name_of_its_own() -> None:
    requests = [
        sent("GET", "https://crm.example.com/orders?page=1"),
        sent("GET", "https://crm.example.com/orders?page=1"),
        sent("GET", "https://crm.example.com/orders?page=2"),
        sent("POST", "https://erp.example.com"),
    ]
    made = skeletons(requests)
    assert [one["id"] for one in made] == ["get-crm-orders", "get-crm-orders-2", "post-erp"]
    assert made[1]["request"]["url"] == {"host": "crm.example.com", "path": "/orders", "query": {"page": "2"}}
    assert "secret" not in str(made)


def test_no_more_are_made_than_a_file_may_have() -> None:
    assert len(skeletons(sent("GET", f"https://a.example.com/{n}") for n in range(2 * MAX_MOCKS))) == MAX_MOCKS


@pytest.mark.parametrize(
    "url", ["https://a.example.com/x y", "https://ü.example.com/é?ü=1&=2", "https://a/" + "p" * 500]
)
def test_what_is_written_can_be_read_again(url: str) -> None:
    text = to_yaml({"flow": "a", "mocks": skeletons([sent("GET", url)] * 2), "cases": [{"name": "one"}]})
    value, _, problems = parse_yaml(text.encode(), "a.yaml")
    assert (list(problems), value["cases"]) == ([], [{"name": "one"}])
    assert read_cases(text.encode(), "tests/a.test.yaml", lambda _: None).diagnostics == ()
