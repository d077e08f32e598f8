"""What the flow wrote goes over the wire as it was written: addresses, those of redirects, and the order of keys."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from automata.flow.compile import compile_flow
from automata.flow.model import Flow
from automata.steps.execute import execute_step
from automata.steps.http import HttpStep

SIGNED = "/foo%27bar?response-content-type=application%2Fgzip&Signature=a%2Bb%2F%3D&x=[1]"


async def echo(request: web.Request) -> web.Response:
    if request.path.startswith("/away"):
        return web.Response(status=302, headers={"Location": request.headers["X-To"]})
    headers = [name for name in request.headers if name.startswith("X-")]
    return web.json_response({"target": request.raw_path, "body": await request.text(), "headers": headers})


async def sent(serve: Any, transport: Any, context: Any, config: dict[str, Any], **values: Any) -> Any:
    """What a server got for a step with this config; `url` is a path, or None for a step that failed."""
    async with serve(echo) as base, transport() as real:
        spec = {"name": "f", "steps": [{"id": "call", "type": "http", "config": {**config, "url": "{{ vars.base }}"}}]}
        spec["steps"][0]["config"]["url"] += config["url"]
        step = compile_flow(Flow.from_spec(spec)).steps["call"]
        outcome = await execute_step(HttpStep(), step, {"vars": {"base": base}, "inputs": values}, context(real))
        return outcome.outputs["body"] if outcome.outputs else outcome.failure


@pytest.mark.parametrize(
    "target",
    [SIGNED, "/a'b/%7E~/%41%e2%82%AC?q=%61&q2=a/b:c@d&=&e", "/a/../b/./c//d?x=..", "/a;v=1/b,c(d)!$*", "/?a=1&&b"],
)
async def test_an_address_is_sent_as_it_was_written(target: str, serve: Any, transport: Any, context: Any) -> None:
    assert (await sent(serve, transport, context, {"url": target}))["target"] == target


@pytest.mark.parametrize("target", [SIGNED, "/a%2Fb/c?x=%27'"])
async def test_a_redirect_is_followed_to_what_the_server_wrote(
    target: str, serve: Any, transport: Any, context: Any
) -> None:
    seen = await sent(serve, transport, context, {"url": "/away", "headers": {"X-To": target}})
    assert seen["target"] == target


async def test_a_query_is_added_to_what_is_written(serve: Any, transport: Any, context: Any) -> None:
    seen = await sent(serve, transport, context, {"url": SIGNED, "query": {"zeta": 1, "a": "b c"}})
    assert seen["target"] == f"{SIGNED}&zeta=1&a=b+c"


async def test_keys_are_sent_in_the_order_in_which_they_were_written(serve: Any, transport: Any, context: Any) -> None:
    ordered = {"zeta": 1, "a": 2, "bb": 3}
    headers = {"X-Zed": "z", "X-A": "a", "X-Middle": "m"}
    config = {"method": "POST", "url": "/x", "headers": headers, "query": ordered}
    seen = await sent(serve, transport, context, {**config, "form": ordered})
    assert (seen["target"], seen["body"]) == ("/x?zeta=1&a=2&bb=3", "zeta=1&a=2&bb=3")
    assert seen["headers"] == list(headers)
    seen = await sent(
        serve, transport, context, {**config, "body": {**ordered, "o": "{{ inputs.o }}"}}, o={"y": 1, "x": 2}
    )
    assert seen["body"] == '{"zeta":1,"a":2,"bb":3,"o":{"y":1,"x":2}}'


@pytest.mark.parametrize("order", ["../../admin/users", "1/items", "..", "%2e%2e", ""])
async def test_a_value_that_would_lead_to_another_path_is_not_sent(
    order: str, serve: Any, transport: Any, context: Any
) -> None:
    config = {"method": "DELETE", "url": "/orders/{{ inputs.order | urlencode }}/lines"}
    failure = await sent(serve, transport, context, config, order=order)
    assert (failure.code, failure.retryable) == ("unsafe_url", False)


async def test_a_segment_arrives_as_one(serve: Any, transport: Any, context: Any) -> None:
    config = {"url": "/orders/{{ inputs.order | segment }}/lines"}
    seen = await sent(serve, transport, context, config, order="a b/c?d")
    assert seen["target"] == "/orders/a%20b%2Fc%3Fd/lines"
