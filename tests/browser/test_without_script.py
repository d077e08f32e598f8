"""What must be done when scripts do not come: every deed is a form, and every question a page or a popover."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import Looker
from tests.browser.site import Site

RUN = re.compile(r"/runs/[0-9a-f-]{36}$")


def test_a_step_is_approved_a_letter_retried_and_a_run_started_again(site: Site, looker: Looker) -> None:
    page = looker.page("ada", script=False)
    waits = site.run("pay")
    until_it_waits = site.api
    while waits not in [one["run_id"] for one in until_it_waits("/approvals")["items"]]:
        page.wait_for_timeout(50)
    page.goto("/approvals")
    card = page.locator("section", has=page.get_by_role("link", name=waits[-12:]))
    card.get_by_label("Comment").fill("The invoice is right.")
    card.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("status")).to_contain_text("sign is approved.")
    assert site.ended(waits)["status"] == "SUCCEEDED"

    site.shop.is_broken = True
    failed = site.run("checkout", order_id="o-77", card="4000-1234")
    assert site.ended(failed)["status"] == "FAILED"
    site.shop.is_broken = False
    page.goto(f"/dead-letters?run_id={failed}")
    page.get_by_role("link", name="Retry all of these").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Retry 1 dead letter?")
    page.get_by_role("button", name="Retry 1 dead letter").click()
    expect(page.get_by_role("status")).to_contain_text("1 dead letter will be tried again.")
    assert site.ended(failed)["status"] == "SUCCEEDED"

    page.goto(f"/runs/{failed}")
    page.get_by_role("button", name="Start again").first.click()
    again = page.locator("#rerun")
    expect(again).to_be_visible()
    again.get_by_label("the current one").check()
    again.get_by_role("button", name="Start again").click()
    page.wait_for_url(RUN)
    assert not page.url.endswith(failed)
    expect(page.get_by_role("status")).to_contain_text("Started again as version 2.")


def test_a_token_that_an_admin_makes_lets_somebody_in(site: Site, looker: Looker) -> None:
    page = looker.page("admin", script=False)
    page.goto("/tokens")
    page.get_by_role("link", name="New token").click()
    page.get_by_label("Name").fill("night-shift")
    page.get_by_label("Role").select_option("operator")
    page.get_by_role("button", name="Make the token").click()
    text = page.locator("[data-secret]").inner_text()
    other = looker.page(script=False)
    other.goto("/")
    other.get_by_label("Token").fill(text)
    other.get_by_role("button", name="Sign in").click()
    expect(other.get_by_text("night-shift · operator")).to_be_visible()
    page.goto("/tokens")
    page.locator("tr", has_text="night-shift").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("status")).to_contain_text("The token night-shift is revoked.")
    other.goto("/runs")
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
