"""Dead letters at the console: the list, one letter, and what is done to one, to some and to all."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from automata.store.orchestrator_queue import SettleRow
from automata.web import bulk
from tests.web.conftest import OpenSite, Reader, Site, read

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
SECRET = "the-pin-of-the-customer"
LIST = "/dead-letters"


async def failed(site: Site, flow: str = "orders", code: str = "http_status", **inputs: Any) -> dict[str, Any]:
    """A run whose only step failed, as the orchestrator leaves it."""
    run = await site.run(flow, inputs=inputs)
    await site.start(run)
    request = {"method": "POST", "url": "https://example.com/", "body": f"{HOSTILE} {SECRET}"}
    error = {"code": code, "message": f"503 {HOSTILE} {SECRET}", "step": "fetch", "request": request}
    await site.apply(settle=[SettleRow(UUID(run["id"]), "fetch", "FAILED", None, None, error)])
    await site.finish(run, "FAILED", error=error)
    return run


async def api(site: Site, **query: Any) -> list[dict[str, Any]]:
    answer = await site.http.get("/api/v1/dlq", params={"state": "all", "limit": 200, **query})
    return list(answer.json()["items"])


def ids(page: Reader) -> list[int]:
    rows = [link.removeprefix(f"{LIST}/") for link in page.links() if link.startswith(f"{LIST}/")]
    return [int(row) for row in rows if row.isdigit()]


async def test_letters_are_filtered_by_the_address(site: Site) -> None:
    await site.flow("orders")
    await site.flow("invoices")
    runs = [await failed(site), await failed(site, code="timeout"), await failed(site, "invoices")]
    first, second, third = (one["id"] for one in reversed(await api(site)))
    await site.http.post(f"/api/v1/dlq/{third}/discard")
    for query, shown in (
        ("", [second, first]),
        ("?flow=orders&code=timeout", [second]),
        (f"?run_id={runs[0]['id']}", [first]),
        ("?state=discarded", [third]),
        ("?state=all", [third, second, first]),
        ("?flow=&code=&state=&since=&until=&run_id=", [second, first]),
        ("?since=2001-01-01T00:00&until=2001-01-02T00:00", []),
    ):
        assert ids(read(await site.http.get(f"{LIST}{query}"))) == shown, query
    page = read(await site.http.get(LIST, params={"flow": HOSTILE}))
    assert page.all("input", name="flow")[0]["value"] == HOSTILE
    assert "There is no flow" in page.text
    read(await site.http.get(f"{LIST}?run_id=x"), 422)
    read(await site.http.get(f"{LIST}?state=lost"), 422)


async def test_letters_are_paged_by_cursor_and_keep_their_filters(site: Site) -> None:
    await site.flow()
    for _ in range(5):
        await failed(site)
    seen: list[int] = []
    path: str | None = f"{LIST}?flow=orders&limit=2"
    while path:
        page = read(await site.http.get(path))
        seen += ids(page)
        path = page.link(rel="next")
        assert path is None or ("flow=orders" in path and "limit=2" in path)
    assert seen == [one["id"] for one in await api(site)]


async def test_a_letter_says_why_with_secrets_masked_and_what_can_be_done(site: Site) -> None:
    await site.flow(inputs={"pin": {"secret": True}})
    run = await failed(site, pin=SECRET)
    (letter,) = await api(site)
    for path in (LIST, f"{LIST}/{letter['id']}"):
        answer = await site.http.get(path)
        page = read(answer)
        assert f"503 {HOSTILE} ***" in page.text
        assert SECRET not in answer.text
    assert "Request that was sent last" in page.text
    assert f"/runs/{run['id']}" in page.links()
    assert f"/runs/{run['id']}/steps/fetch" in page.links()
    assert page.all("form", action=f"{LIST}/{letter['id']}/retry")
    read(await site.http.get(f"{LIST}/999999999"), 404)
    read(await site.http.get(f"{LIST}/x"), 404)


async def test_one_letter_is_tried_again_once_and_a_second_time_says_why_not(site: Site) -> None:
    await site.flow()
    run = await failed(site)
    (letter,) = await api(site)
    path = f"{LIST}/{letter['id']}"
    answer = await site.http.post(f"{path}/retry", data={})
    assert answer.headers["location"] == path
    page = read(await site.http.get(path))
    assert "The run goes on at this step." in page.text
    assert "retried by" in page.text
    assert not page.all("form", action=f"{path}/retry")
    assert (await site.http.get(f"/api/v1/runs/{run['id']}")).json()["attempt"] == 2
    for action in ("retry", "discard"):
        await site.http.post(f"{path}/{action}", data={})
        assert "was retried by" in read(await site.http.get(path)).text
    read(await site.http.post(f"{path}/forget", data={}), 422)
    read(await site.http.post(f"{LIST}/999999999/retry", data={}), 404)


@pytest.mark.parametrize(("action", "state"), [("retry", "retried"), ("discard", "discarded")])
async def test_what_is_ticked_is_settled_and_the_rest_is_counted(site: Site, action: str, state: str) -> None:
    await site.flow()
    for _ in range(3):
        await failed(site)
    third, second, first = (one["id"] for one in await api(site))
    await site.http.post(f"/api/v1/dlq/{first}/discard")
    fields = {"letter": [first, second], "action": action, "back": f"{LIST}?flow=orders"}
    answer = await site.http.post(f"{LIST}/selected", data=fields)
    assert answer.headers["location"] == f"{LIST}?flow=orders"
    done = "will be tried again" if action == "retry" else "discarded"
    assert f"1 dead letter {done}. 1 could not" in read(await site.http.get(LIST)).text
    assert {one["id"]: one["state"] for one in await api(site)} == {
        first: "discarded",
        second: state,
        third: "open",
    }


async def test_the_form_of_ticked_letters_is_held_to_its_bounds(site: Site) -> None:
    for fields, status in (
        ({"action": "retry"}, 422),
        ({"letter": "1", "action": "delete"}, 422),
        ({"letter": "x", "action": "retry"}, 404),
        ({"letter": [str(n) for n in range(201)], "action": "retry"}, 422),
    ):
        read(await site.http.post(f"{LIST}/selected", data=fields), status)
    fields = {"letter": "1", "action": "retry", "back": "//evil.example/dead-letters?"}
    assert (await site.http.post(f"{LIST}/selected", data=fields)).headers["location"] == LIST


async def test_all_that_the_filter_finds_is_counted_first_and_what_comes_later_is_left(site: Site) -> None:
    await site.flow("orders")
    await site.flow("invoices")
    for _ in range(3):
        await failed(site)
    await failed(site, "invoices")
    listed = read(await site.http.get(f"{LIST}?flow=orders"))
    question = next(link for link in listed.links() if "do=discard" in link)
    page = read(await site.http.get(question))
    assert "Discard 3 dead letters?" in page.text
    assert "their runs stay FAILED" in page.text.replace("Their", "their")
    assert all(one["state"] == "open" for one in await api(site)), "asking does nothing"
    (form,) = [one for one in page.all("form") if "do=discard" in one.get("action", "")]
    await failed(site)
    answer = await site.http.post(form["action"], data={})
    assert answer.headers["location"] == f"{LIST}?flow=orders"
    assert "3 dead letters discarded." in read(await site.http.get(LIST)).text
    assert [one["flow"] for one in await api(site, state="open")] == ["orders", "invoices"]
    again = read(await site.http.get(form["action"]))
    assert "Nothing is like that any more" in again.text


async def test_more_than_one_request_may_do_is_asked_about_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automata.web.deadletters.MAX_BULK", 2)
    monkeypatch.setattr(bulk, "MAX_AT_ONCE", 2)
    await site.flow()
    for _ in range(3):
        await failed(site)
    answer = await site.http.post(f"{LIST}/all?do=retry", data={})
    onward = answer.headers["location"]
    page = read(await site.http.get(onward))
    assert "2 dead letters will be tried again. There are more." in page.text
    assert "Retry 1 dead letter?" in page.text
    answer = await site.http.post(onward, data={})
    assert answer.headers["location"] == LIST
    assert {one["state"] for one in await api(site)} == {"retried"}


async def test_a_viewer_sees_letters_and_settles_none(open_site: OpenSite) -> None:
    site = await open_site(auth="on")
    site.as_(await site.token("admin"))
    await site.flow()
    await failed(site)
    (letter,) = await api(site)
    site.as_(await site.token("viewer"))
    page = read(await site.http.get(LIST))
    assert ids(page) == [letter["id"]]
    assert not page.all("input", name="letter")
    assert not [link for link in page.links() if "do=" in link]
    path = f"{LIST}/{letter['id']}"
    assert not read(await site.http.get(path)).all("form", action=f"{path}/retry")
    for answer in (
        await site.http.post(f"{path}/retry", data={}),
        await site.http.post(f"{LIST}/selected", data={"letter": letter["id"], "action": "retry"}),
        await site.http.post(f"{LIST}/all?do=retry", data={}),
        await site.http.get(f"{LIST}/all?do=retry"),
    ):
        read(answer, 403)
    assert (await api(site))[0]["state"] == "open"
