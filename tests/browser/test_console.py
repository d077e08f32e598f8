"""What people do at the console, in a browser."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import Looker
from tests.browser.site import Site


def test_start_a_run_watch_it_fail_live_open_the_step_and_retry_it(site: Site, looker: Looker) -> None:
    site.shop.is_broken = True
    page = looker.page()
    page.goto("/flows")
    page.get_by_label("Token").fill(site.tokens["ada"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/flows")
    expect(page.get_by_text("ada · author")).to_be_visible()
    page.get_by_role("link", name="checkout").click()
    page.get_by_role("link", name="Start a run").click()
    page.get_by_label("order_id").fill("o-4711")
    page.get_by_label("tier").select_option("gold")
    page.get_by_label("card").fill("4000-1234-5678")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    graph = page.locator("svg.graph")
    expect(graph.locator('[data-node="fetch"]')).to_have_attribute("data-state", "SUCCEEDED")
    expect(graph.locator('[data-node="work.sell.charge"]')).to_have_attribute("data-state", "FAILED")
    expect(page.locator(".head .badge")).to_have_text("failed")
    expect(page.locator('#live[data-stream="open"]')).to_have_count(1)

    graph.locator('[data-node="work.sell.charge"]').click()
    step = page.locator('details[id="step-work.sell.charge"]')
    expect(step).to_have_attribute("open", "")
    expect(step.get_by_text("the bank is closed <script>alert(1)</script>").first).to_be_visible()
    expect(step.get_by_text("Logs")).to_be_visible()
    assert "4000-1234-5678" not in page.content()

    site.shop.is_broken = False
    page.get_by_role("button", name="Retry from where it failed").click()
    expect(page.get_by_role("status")).to_contain_text("The run goes on at what failed.")
    expect(page.locator(".head .badge")).to_have_text("succeeded")
    expect(graph.locator('[data-node="close"]')).to_have_attribute("data-state", "SUCCEEDED")
    expect(page.get_by_role("heading", name="Outputs")).to_be_visible()


def test_a_step_that_is_open_stays_open_while_the_run_moves_on(site: Site, looker: Looker) -> None:
    site.shop.is_broken = True
    page = looker.page("ada")
    page.goto(f"/runs/{site.run('checkout', order_id='o-1', card='4000-1234')}")
    step = page.locator('details[id="step-fetch"]')
    step.locator("summary").click()
    expect(step.get_by_role("heading", name="Outputs")).to_be_visible()
    step.locator("summary").focus()
    expect(page.locator(".head .badge")).to_have_text("failed")
    expect(step.get_by_role("heading", name="Outputs")).to_be_visible()
    expect(step.locator("summary")).to_be_focused()


def test_a_run_is_cancelled_by_keyboard_after_a_question(site: Site, looker: Looker) -> None:
    page = looker.page("ada")
    page.goto(f"/runs/{site.run('sleep')}")
    expect(page.locator(".head .badge")).to_have_text("running")
    page.get_by_role("button", name="Cancel").press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Cancel this run?")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Cancel").press("Enter")
    dialog.get_by_role("button", name="Cancel").press("Enter")
    expect(page.locator(".head .badge")).to_have_text("cancelled")


def test_a_comment_that_is_being_typed_survives_what_moves_around_it(site: Site, looker: Looker) -> None:
    page = looker.page("ada")
    page.goto(f"/runs/{site.run('pay')}")
    comment = page.get_by_label("Comment")
    comment.fill("The invoice is")
    expect(page.locator('details[id="step-clock"] .badge')).to_have_text("succeeded")
    expect(comment).to_be_focused()
    comment.press_sequentially(" right.")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("status")).to_contain_text("sign is approved.")
    expect(page.locator(".head .badge")).to_have_text("succeeded")
    page.locator('details[id="step-sign"] summary').click()
    expect(page.get_by_text("The invoice is right.")).to_be_visible()


def test_lists_filter_tick_and_go_by_keyboard(site: Site, looker: Looker) -> None:
    first, second = site.run("sleep"), site.run("sleep")
    page = looker.page("ada")
    page.goto("/")
    page.keyboard.press("f")  # alone it leads nowhere, also on a page that has just come
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/runs")
    page.keyboard.press("/")
    page.keyboard.type("sleep")
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs?flow=sleep")
    for run in (first, second):
        page.locator(f'input[value="{run}"]').check()
    page.get_by_role("button", name="Cancel ticked").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Cancel 2 runs?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("status")).to_contain_text("2 runs asked to end.")
    assert page.url.endswith("/runs?flow=sleep")
    assert site.ended(first)["status"] == "CANCELLED"
