"""A change from the editor to the next version, and what others write that must stay words."""

from __future__ import annotations

import json
import re
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import Looker
from tests.browser.flows import GREET
from tests.browser.site import Site

ONE = re.compile(r"/proposals/\d+$")
HOSTILE = "</script></textarea><script>alert(1)</script><img src=x onerror=alert(1)><svg onload=alert(1)>\"'>"
ADDED = "  - id: wait\n    type: delay\n    config: {duration_ms: 5}\n"


def test_a_flow_is_edited_checked_approved_by_another_and_runs_as_the_next_version(site: Site, looker: Looker) -> None:
    page = looker.page("ada")
    page.goto("/flows/greet")
    page.get_by_role("link", name="Edit").click()
    page.locator(".cm-editor").get_by_role("textbox", name="The file flows/greet.yaml").press("Control+End")
    page.keyboard.insert_text("  - id: wait\n    type: del")
    _complete(page, "delay")
    page.keyboard.insert_text("\n    config: {duration_ms: -5}\n")
    expect(page.locator("#problems")).to_contain_text("line 9")
    expect(page.locator(".cm-lintRange-error")).to_be_visible()
    for _ in range(4):
        page.keyboard.press("Backspace")
    page.keyboard.insert_text("5}\n    contin")
    _complete(page, "continue_on_error")
    page.keyboard.press("Shift+Home")
    page.keyboard.press("Shift+Home")
    page.keyboard.press("Backspace")
    expect(page.locator("#problems")).to_have_text("Valid.")
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(page.get_by_label("What it is for")).to_be_focused()
    page.keyboard.type("Wait before the next one")
    page.get_by_role("button", name="Save as a proposal").click()
    page.wait_for_url(ONE)
    expect(page.get_by_role("status")).to_contain_text("Saved as a proposal.")
    expect(page.locator("#live .badge", has_text="checks passed")).to_be_visible(timeout=120_000)
    expect(page.get_by_text("Approving and applying take the role reviewer.")).to_be_visible()

    other = looker.page("grace")
    other.goto("/proposals")
    other.get_by_role("link", name="Wait before the next one").click()
    other.get_by_role("link", name="Meaning").click()
    expect(other.get_by_text("the step `wait` is new")).to_be_visible()
    expect(other.locator('svg.graph [data-node="wait"][data-state="new"]')).to_be_visible()
    other.get_by_role("link", name="Files").click()
    expect(other.locator(".sides tr.added", has_text="- id: wait")).to_be_visible()
    other.get_by_role("link", name="Review").click()
    expect(other.locator("#apply-why")).to_contain_text("approval of exactly this")
    other.get_by_label("Comment").fill("Polite.")
    other.get_by_role("button", name="Approve").click()
    expect(other.get_by_text("1 of 1 approval")).to_be_visible()
    other.get_by_role("button", name="Apply").click()
    other.get_by_role("dialog").get_by_role("button", name="Apply").click()
    expect(other.get_by_role("status")).to_contain_text("Applied: main is at")
    other.goto("/flows/greet/versions")
    expect(other.get_by_role("link", name="v2")).to_be_visible()
    kept = site.work.git("--git-dir", str(site.origin), "show", "main:flows/greet.yaml") + "\n"
    assert kept == GREET + ADDED


def _complete(page: Page, word: str) -> None:
    """Take the first that is offered."""
    page.keyboard.press("Control+Space")
    first = page.locator(".cm-tooltip-autocomplete li[aria-selected]")
    expect(first).to_have_text(re.compile(f"^{word}"))
    page.wait_for_timeout(100)  # what is offered is not taken by a key that was on its way before it came
    page.keyboard.press("Enter")


def test_without_a_script_the_editor_is_a_field_and_says_what_is_wrong(site: Site, looker: Looker) -> None:
    page = looker.page("ada", script=False)
    page.goto("/flows/hello/edit")
    field = page.get_by_label("The file flows/hello.json")
    text = field.input_value()
    field.fill(text.replace('"transform"', '"transfrom"'))
    page.get_by_label("What it is for").fill("Try")
    page.get_by_role("button", name="Save as a proposal").click()
    expect(page.get_by_role("alert")).to_contain_text("Line 6:")
    field.fill(text + "\n")
    page.get_by_label("Check it").uncheck()
    page.get_by_role("button", name="Save as a proposal").click()
    page.wait_for_url(ONE)
    looker.troubles[:] = [one for one in looker.troubles if "422" not in one]  # the page that told what was wrong


def test_what_others_wrote_stays_words_wherever_it_is_shown(site: Site, looker: Looker) -> None:
    run, letter = _hostile_run(site)
    number = _hostile_proposal(site)
    page = looker.page("admin")
    for path in (
        "/flows",
        "/flows/evil",
        "/flows/evil/spec",
        "/flows/evil/versions",
        "/flows/evil/run",
        "/flows/evil/edit",
        "/runs",
        f"/runs/{run}#step-say",
        f"/runs/{run}/steps/call",
        f"/dead-letters/{letter}",
        "/proposals",
        f"/proposals/{number}",
        f"/proposals/{number}/meaning",
        f"/proposals/{number}/files",
        "/audit",
    ):
        page.goto(path)
        assert "alert(1)" in page.content() or path == "/audit", path
        assert page.evaluate("document.querySelectorAll('main img, main svg[onload], [onerror]').length") == 0, path
    expect(page.locator("main")).to_be_visible()


def _evil(value: str) -> dict[str, Any]:
    call = {
        "id": "call",
        "type": "http",
        "config": {"method": "POST", "url": "{{ vars.shop }}/charge", "body": HOSTILE},
    }
    say = {"id": "say", "type": "transform", "name": HOSTILE, "config": {"mappings": {"text": value}}}
    return {
        "name": "evil",
        "description": HOSTILE,
        "labels": {"team": HOSTILE[:60]},
        "inputs": {"text": {"default": HOSTILE, "description": HOSTILE}},
        "steps": [say, call],
        "outputs": {"text": HOSTILE},
    }


def _hostile_run(site: Site) -> tuple[str, int]:
    """A run that failed at a hostile answer, and its dead letter."""
    site.shop.is_broken = True
    site.work.git("fetch", "-q", str(site.origin), "main")
    site.work.git("checkout", "-q", "-B", "main", "FETCH_HEAD")
    site.push({"flows/evil.json": json.dumps(_evil(HOSTILE), indent=2)}, HOSTILE, author=HOSTILE.translate(_NO_ANGLES))
    site.until_version("evil", 1)
    run = site.run("evil", text=HOSTILE)
    site.ended(run)
    letter = next(one["id"] for one in site.api("/dlq")["items"] if one["run_id"] == run)
    return run, letter


def _hostile_proposal(site: Site) -> int:
    cases = {"flow": "evil", "cases": [{"name": HOSTILE, "expect": {"outputs": {"text": HOSTILE + "!"}}}]}
    files = {
        "flows/evil.json": json.dumps(_evil(HOSTILE + "?"), indent=2),
        "tests/evil.test.yaml": json.dumps(cases),
    }
    asked = {"branch": "proposal/evil", "files": files, "message": "Harm", "title": HOSTILE}
    number = int(site.api("/proposals", asked, by="ada")["number"])
    told = site.api(f"/proposals/{number}/sandbox?wait_sec=30", {}, by="ada")
    assert told["sandbox_result"]["differences"], told
    return number


_NO_ANGLES = str.maketrans("", "", "<>")
