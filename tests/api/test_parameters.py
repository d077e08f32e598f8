"""What a request names has to be known and to say something: a misspelt or empty filter would mean everything."""

from __future__ import annotations

import re

import pytest

from automata.http.authorization import declared_roles

V1 = "/api/v1"
NOWHERE = "00000000-0000-4000-8000-000000000000"
ANY_QUERY = {f"{V1}/hooks/{{flow}}/{{trigger}}"}  # what is in it is for the flow to read
BESIDE = {"/healthz", "/readyz", "/metrics", "/openapi.json"}


def address(path):
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda part: NOWHERE if part[1].endswith("_id") else "1", path)


async def test_every_route_refuses_a_parameter_that_it_does_not_know(open_site):
    site = await open_site()
    asked = [
        (path, method)
        for path, methods, _ in declared_roles(site.app)
        for method in sorted(methods - {"HEAD"})
        if path not in ANY_QUERY | BESIDE
    ]
    assert len(asked) > 60
    for path, method in asked:
        answer = await site.http.request(method, address(path), params={"stauts": "FAILED"})
        assert (answer.status_code, answer.json()["code"]) == (422, "unknown_parameter"), f"{method} {path}"


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("/runs?stauts=FAILED", "`status`"),
        ("/runs?status=FAILED&Flow=orders", "`flow`"),
        ("/flows?serach=x", "`search`"),
        ("/dlq?_=1", "`code`"),
        ("/flows/orders?version=1", "takes none"),
    ],
)
async def test_an_unknown_parameter_is_told_with_the_nearest(address, hint, site):
    await site.flow()
    answer = (await site.http.get(f"{V1}{address}")).json()
    assert answer["code"] == "unknown_parameter"
    assert answer["pointer"] == "/query"
    assert hint in answer["hint"]


@pytest.mark.parametrize(
    "address",
    [
        "/runs?flow=",
        "/runs?trigger=",
        "/runs?status=",
        "/runs?since=",
        "/dlq?flow=",
        "/dlq?code=",
        "/dlq?run_id=",
        "/flows?search=",
        "/flows?label=",
        "/schedules?flow=",
        "/schedules?state=",
        "/audit?actor=",
        "/audit?action=",
        "/audit?object=",
        "/proposals?ended=",
    ],
)
async def test_an_empty_filter_is_refused_and_not_answered_with_everything(address, site):
    await site.flow()
    assert (await site.http.get(f"{V1}{address}")).status_code == 422


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/runs/cancel", {"flow": "", "status": "RUNNING"}),
        ("/runs/cancel", {"trigger": "", "flow": "orders"}),
        ("/runs/retry", {"flow": "", "status": "FAILED"}),
        ("/dlq/retry", {"flow": "", "code": "timeout"}),
        ("/dlq/discard", {"code": "", "flow": "orders"}),
        ("/runs/batch", {"runs": [{"flow": ""}]}),
        ("/runs/batch", {"runs": [{"flow": "orders", "idempotency_key": ""}]}),
        ("/schedules", {"flow": "", "name": "n", "interval_sec": 60}),
        ("/tokens", {"name": "", "role": "viewer"}),
        ("/notifications/test", {"rule": ""}),
    ],
)
async def test_an_empty_name_in_a_body_is_refused(path, body, site):
    await site.flow()
    answer = await site.http.post(f"{V1}{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text
