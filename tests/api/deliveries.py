"""Deliveries of webhooks as senders make them, for the tests of what becomes of them."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any

import httpx

from automata.operations.webhook_secrets import WebhookSecrets

V1 = "/api/v1"
SECRET = "canary-5b1f0e7c2d"
JSON = "application/json"
HOOK = {"name": "shop", "secret": "SHOP"}
INPUTS = {"order": {"type": "string", "required": True}, "size": {"type": "integer", "default": 1}}
BODY = b'{"order": "A-1", "size": 3}'


def signed(
    body: bytes = BODY,
    delivery: str = "d-1",
    *,
    secret: str = SECRET,
    age: float = 0,
    media: str = JSON,
    where: str = "orders/shop",
) -> dict[str, str]:
    """The headers of a delivery, made without the code that checks them; `where` "" names no webhook, as of old."""
    stamp = str(int(time.time() - age))
    named = f"{stamp}.{delivery}.{where}:" if where else f"{stamp}.{delivery}."
    mac = hmac.new(secret.encode(), named.encode() + body, hashlib.sha256).hexdigest()
    return {
        "X-Automata-Timestamp": stamp,
        "X-Automata-Delivery": delivery,
        "X-Automata-Signature": f"sha256={mac}",
        "Content-Type": media,
    }


async def ready(site: Any, *webhooks: dict[str, Any], secrets: dict[str, str] | None = None, **extra: Any) -> None:
    site.context.webhook_secrets = WebhookSecrets({"SHOP": SECRET} if secrets is None else secrets)
    await site.flow(webhooks=list(webhooks) or [HOOK], **{"inputs": INPUTS, **extra})


async def post(
    site: Any, body: bytes = BODY, headers: dict[str, str] | None = None, where: str = "orders/shop", **more: Any
) -> httpx.Response:
    return await site.http.post(
        f"{V1}/hooks/{where}",
        content=body,
        headers=signed(body, where=where.partition("?")[0]) if headers is None else headers,
        **more,
    )


async def runs(site: Any) -> list[dict[str, Any]]:
    return (await site.http.get(f"{V1}/runs")).json()["items"]


async def run_of(site: Any, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code in (200, 201), answer.text
    return (await site.http.get(answer.headers["location"])).json()


def with_mapping(value: str, **inputs: Any) -> dict[str, Any]:
    return {**HOOK, "inputs": {"order": value, **inputs}}
