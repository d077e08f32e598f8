"""Somebody signs in with a provider, in a browser: there, back, and out again."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, expect

from automata.cli.demo.child_process import Child
from tests.browser.looks import look
from tests.web.idp import CLIENT_ID, CLIENT_SECRET, Idp


def test_a_person_signs_in_with_the_provider_and_out_again(
    chromium: Browser, make_database: Callable[[], str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    idp = Idp(f"{url}/sign-in/oidc/callback")
    idp.asks = True
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AUTOMATA_")}
    env = plain | {
        "AUTOMATA_DATABASE_URL": make_database(),
        "AUTOMATA_DATA_DIR": str(tmp_path),
        "AUTOMATA_AUTH": "on",
        "AUTOMATA_PUBLIC_URL": url,
        "AUTOMATA_OIDC_ISSUER": idp.issuer,
        "AUTOMATA_OIDC_CLIENT_ID": CLIENT_ID,
        "AUTOMATA_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "AUTOMATA_OIDC_ROLES": "staff=viewer, approvers=reviewer",
        "AUTOMATA_OIDC_NAME": "Example",
    }
    options = ["--port", url.rpartition(":")[2], "-o", "json"]
    with Child("server", ["automata.cli.demo.server", "up", *options], tmp_path / "server.log", env) as server:
        told: dict[str, object] = {}
        while "url" not in told:
            told |= server.event(60)
        context = chromium.new_context(base_url=url)
        page = context.new_page()
        troubles: list[str] = []
        page.on(
            "console", lambda line: troubles.append(f"{line.text} {line.location}") if line.type == "error" else None
        )
        page.goto("/runs?status=FAILED")
        page.get_by_role("link", name="Sign in with Example").click()
        page.get_by_role("link", name="Go on as Ada").click()
        page.wait_for_url(f"{url}/runs?status=FAILED")
        expect(page.get_by_text(":ada-1 · reviewer")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")
        page.goto("/runs")
        expect(page.get_by_role("link", name="Sign in with Example")).to_be_visible()

        idp.person["groups"] = ["guests"]
        page.get_by_role("link", name="Sign in with Example").click()
        page.get_by_role("link", name="Go on as Ada").click()
        expect(page.get_by_role("alert")).to_contain_text("Example knows you as ada@example.com")
        assert look(page, "sign-in-refused") == []
        assert [one for one in troubles if url in one and "403" not in one] == []  # the double has no icon
        assert idp.faults == []
        context.close()
    idp.shutdown()
    idp.server_close()
