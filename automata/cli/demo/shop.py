"""A small real shop over HTTP: CRM, ERP, shipping and bank, each as fussy as the real one would be.

Runs in its own process (`python -m automata.cli.demo.shop --port 9090`) and writes one JSON line with its URL to
stdout once it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aiohttp import web

from automata.cli.demo.child_process import end_with_stdin

ORDERS = 120
PAGE = 40
LABEL_FAILURES = 2  # how often each order's label is refused before it is printed
DECLINED = "i-3"


@dataclass
class Shop:
    """All that arrived. What writes is keyed by `Idempotency-Key`, because calls come at least once."""

    imports: dict[str, list[str]] = field(default_factory=dict)
    label_calls: Counter[str] = field(default_factory=Counter)
    payments: dict[str, str] = field(default_factory=dict)
    reviews: dict[str, str] = field(default_factory=dict)
    alerts: dict[str, str] = field(default_factory=dict)
    reports: dict[str, str] = field(default_factory=dict)

    def ledger(self) -> dict[str, Any]:
        """What this shop counted itself; the demo compares it with what the runs claim."""
        return {
            "imports": {key: len(ids) for key, ids in self.imports.items()},
            "orders": len({order for ids in self.imports.values() for order in ids}),
            "label_calls": dict(self.label_calls),
            "payments": sorted(self.payments.values()),
            "reviews": sorted(self.reviews.values()),
            "alerts": sorted(self.alerts.values()),
            "reports": sorted(self.reports.values()),
        }


SHOP: web.AppKey[Shop] = web.AppKey("shop", Shop)


def create_shop() -> web.Application:
    """The shop's application."""
    app = web.Application(client_max_size=8 * 1024 * 1024)
    app[SHOP] = Shop()
    app.add_routes(
        [
            web.get("/ledger", ledger),
            web.get("/crm/orders", orders),
            web.get("/crm/customers", customers),
            web.post("/erp/import", import_orders),
            web.get("/erp/summary", summary),
            web.post("/erp/reports", report),
            web.post("/shipping/labels", label),
            web.get("/bank/invoices/{id}", invoice),
            web.post("/bank/payments", pay),
            web.post("/bank/reviews", review),
            web.post("/alerts", alert),
        ]
    )
    return app


async def ledger(request: web.Request) -> web.Response:
    """All that was counted."""
    return web.json_response(request.app[SHOP].ledger())


async def orders(request: web.Request) -> web.Response:
    """One page of orders, the first when none is named."""
    pages = -(-ORDERS // PAGE)
    page = _number(request.query.get("page", "1"))
    if page is None or not 1 <= page <= pages:
        return _refuse(404, f"there are {pages} pages")
    first = (page - 1) * PAGE
    data = [_order(number) for number in range(first, min(first + PAGE, ORDERS))]
    return web.json_response({"data": data, "page": page, "pages": pages, "total": ORDERS})


async def customers(request: web.Request) -> web.Response:
    """Seven customers."""
    return web.json_response({"data": [{"id": f"c-{number}", "tier": "gold"} for number in range(1, 8)]})


async def import_orders(request: web.Request) -> web.Response:
    """Takes a JSON list of orders and nothing else: the text of a list is refused."""
    body = await _json(request)
    if not isinstance(body, list) or not all(isinstance(item, dict) and "id" in item for item in body):
        return _refuse(422, f"the body must be a JSON list of orders, not {type(body).__name__}")
    request.app[SHOP].imports[_key(request)] = [str(item["id"]) for item in body]
    return web.json_response({"imported": len(body)})


async def summary(request: web.Request) -> web.Response:
    """How many orders were imported."""
    return web.json_response({"orders": request.app[SHOP].ledger()["orders"]})


async def report(request: web.Request) -> web.Response:
    """Takes a report with a title."""
    return await _store(request, request.app[SHOP].reports, "title")


async def label(request: web.Request) -> web.Response:
    """Fails the first calls for each order, as label printers do."""
    body = await _json(request)
    if not isinstance(body, dict) or "order" not in body:
        return _refuse(422, "the body must be an object with `order`")
    calls = request.app[SHOP].label_calls
    calls[str(body["order"])] += 1
    count = calls[str(body["order"])]
    if count <= LABEL_FAILURES:
        return _refuse(503, "the label printer is warming up")
    return web.json_response({"label": f"label-{body['order']}", "calls": count}, status=201)


async def invoice(request: web.Request) -> web.Response:
    """One of three invoices."""
    number = request.match_info["id"]
    amount = {"i-1": 80, "i-2": 5_000, DECLINED: 120}.get(number)
    if amount is None:
        return _refuse(404, f"there is no invoice {number}")
    return web.json_response({"id": number, "amount": amount, "customer": "c-1"})


async def pay(request: web.Request) -> web.Response:
    """Takes a payment, but for the declined card."""
    body = await _json(request)
    if isinstance(body, dict) and body.get("invoice") == DECLINED:
        return _refuse(402, "the card was declined")
    return await _store(request, request.app[SHOP].payments, "invoice")


async def review(request: web.Request) -> web.Response:
    """Takes an invoice that somebody shall look at."""
    return await _store(request, request.app[SHOP].reviews, "invoice")


async def alert(request: web.Request) -> web.Response:
    """Takes an alert."""
    return await _store(request, request.app[SHOP].alerts, "text")


async def _store(request: web.Request, shelf: dict[str, str], name: str) -> web.Response:
    body = await _json(request)
    if not isinstance(body, dict) or not isinstance(body.get(name), str):
        return _refuse(422, f"the body must be an object with the text `{name}`")
    shelf[_key(request)] = body[name]
    return web.json_response({"stored": len(shelf)}, status=201)


async def _json(request: web.Request) -> Any:
    try:
        return await request.json()
    except ValueError:
        return None


def _key(request: web.Request) -> str:
    return request.headers.get("Idempotency-Key", f"none-{uuid4()}")


def _refuse(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _order(number: int) -> dict[str, Any]:
    return {
        "id": f"o-{1001 + number}",
        "customer": f"c-{1 + number % 7}",
        "total": 10 + number % 90,
        "currency": "EUR",
    }


async def serve(host: str, port: int) -> None:
    """Serve until a signal comes."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(create_shop(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        sys.stdout.write(json.dumps({"event": "ready", "url": f"http://{host}:{runner.addresses[0][1]}"}) + "\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="The demo's shop.")
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--end-with-stdin", action="store_true", help="end when stdin closes")
    given = arguments.parse_args()
    if given.end_with_stdin:
        end_with_stdin()
    asyncio.run(serve(given.host, given.port))
