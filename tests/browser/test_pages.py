"""Every page at both ends of what people have for a window, in both themes, and whom it bars."""

from __future__ import annotations

import json

from playwright.sync_api import Page, expect

from tests.browser.conftest import Looker
from tests.browser.flows import checkout, hello
from tests.browser.looks import OF_LOOKS, look
from tests.browser.site import Site

DRAWN = ("flow", "flow-diff", "run-failed", "run-moving", "proposal-meaning")


def test_every_page_fits_both_widths_and_both_themes_and_bars_nobody(site: Site, looker: Looker) -> None:
    site.shop.is_broken = True
    failed, moving = site.run("checkout", order_id="o-12", card="4000-1234"), site.run("sleep")
    for _ in range(3):
        site.ended(site.run("hello"))
    site.ended(failed)
    letter = site.api("/dlq")["items"][0]["id"]
    site.run("pay")
    refused = refused_proposal(site)
    pages = {
        "overview": "/?span=1h",
        "flows": "/flows",
        "flow": "/flows/checkout",
        "flow-spec": "/flows/checkout/spec",
        "flow-versions": "/flows/checkout/versions",
        "flow-diff": "/flows/checkout/diff?before=1&after=2",
        "flow-run": "/flows/checkout/run",
        "flow-edit": "/flows/greet/edit",
        "runs": "/runs",
        "runs-none": "/runs?trigger=webhook",
        "run-failed": f"/runs/{failed}#step-work.sell.charge",
        "run-moving": f"/runs/{moving}",
        "step": f"/runs/{failed}/steps/work.sell.charge",
        "letters": "/dead-letters",
        "letter": f"/dead-letters/{letter}",
        "letters-all": "/dead-letters/all?do=retry&flow=checkout",
        "runs-all": "/runs/all?do=retry",
        "proposals": "/proposals",
        "proposal": f"/proposals/{refused}",
        "proposal-meaning": f"/proposals/{refused}/meaning",
        "proposal-files": f"/proposals/{refused}/files",
        "approvals": "/approvals",
        "schedules": "/schedules",
        "sync": "/sync",
        "source": "/sync/prod",
        "audit": "/audit",
        "tokens": "/tokens",
        "token-new": "/tokens/new",
        "error": "/flows/nowhere",
    }
    found = []
    page = looker.page("admin")
    for name, path in pages.items():
        page.goto(path)
        _wait(page, name)
        found += look(page, name)
        page.set_viewport_size({"width": 360, "height": 740})
        page.emulate_media(color_scheme="dark")
        if name in DRAWN:  # for the width that there is when it comes
            page.reload()
            _wait(page, name)
        found += look(page, name, OF_LOOKS)
        page.set_viewport_size({"width": 1600, "height": 900})
        page.emulate_media(color_scheme="light")
    looker.troubles[:] = [one for one in looker.troubles if "404" not in one or "/flows/nowhere" not in one]
    assert not found, "\n".join(found)


def _wait(page: Page, name: str) -> None:
    """Until all is there that comes by itself."""
    if name == "run-failed":
        expect(page.get_by_role("heading", name="Logs")).to_be_visible()
    if name in DRAWN:
        expect(page.locator("svg.graph").first).to_be_visible()
    if name == "flow-edit":
        expect(page.locator("#problems")).to_have_text("Valid.")


def refused_proposal(site: Site) -> int:
    """The number of one whose check says no: it changes two flows and has no eye for the case of one."""
    changed = checkout(2)
    changed["steps"][1]["branches"][0]["steps"].append({"id": "thank", "type": "delay", "config": {"duration_ms": 5}})
    changed["steps"][1]["branches"][1]["steps"].pop()
    del changed["inputs"]["amount"]
    files = {"flows/checkout.json": json.dumps(changed, indent=2), "flows/hello.json": json.dumps(hello(2), indent=2)}
    asked = {"branch": "proposal/thanks", "files": files, "message": "Thank the customer\n\nIt is polite."}
    number = int(site.api("/proposals", asked, by="ada")["number"])
    site.api(f"/proposals/{number}/submit", {}, by="ada")
    told = site.api(f"/proposals/{number}/sandbox?wait_sec=30", {}, by="ada")
    assert told["checks"] == "failed", told
    return number
