"""The current flows of a source over REST, page by page, and only its own."""

from __future__ import annotations

from uuid import UUID

V1 = "/api/v1"


async def test_the_flows_of_a_source_come_by_name_and_page_by_page(site):
    for name in ("c", "a", "b"):
        source = await site.git_flow(name)
    await site.flow("of-the-api")
    run = await site.run("b")
    await site.start(run, "fetch")
    ended = await site.run("b")
    await site.finish(ended)
    address = f"{V1}/sync/{source.id}/flows"
    first = (await site.http.get(address, params={"limit": 2})).json()
    assert [(one["name"], one["active_runs"]) for one in first["items"]] == [("a", 0), ("b", 1)]
    assert first["items"][0]["spec"]["steps"][0]["id"] == "fetch"
    rest = (await site.http.get(address, params={"cursor": first["next_cursor"]})).json()
    assert ([one["name"] for one in rest["items"]], rest["next_cursor"]) == (["c"], None)


async def test_what_is_no_source_and_what_is_no_cursor_are_told(site):
    source = await site.git_flow()
    assert (await site.http.get(f"{V1}/sync/{UUID(int=1)}/flows")).status_code == 404
    assert (await site.http.get(f"{V1}/sync/x/flows")).status_code in (404, 422)
    for query in ({"cursor": "!"}, {"cursor": "e30"}, {"limit": "0"}, {"limit": "1000"}):
        assert (await site.http.get(f"{V1}/sync/{source.id}/flows", params=query)).status_code == 422
