"""The console in a real browser. Screenshots are kept in build/screenshots/.

What is started here is ended when the last of these tests is over (this folder is a package for that): Playwright's
loop runs in the thread of the tests, where no other test could run one of its own meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, sync_playwright

from tests.browser.chromium import ARGUMENTS, NoChromium, find_chromium
from tests.browser.site import Site, running_site


@pytest.fixture(scope="package")
def site(make_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(make_database(), tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    try:
        program = find_chromium()
    except NoChromium as error:
        pytest.fail(str(error), pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS), headless=True)
        yield browser
        browser.close()


@dataclass
class Looker:
    """Opens pages for somebody, of one size and theme, and notes all that the browser complains about."""

    browser: Browser
    site: Site
    troubles: list[str] = field(default_factory=list)

    def page(self, who: str = "", width: int = 1600, theme: str = "light", script: bool = True) -> Page:
        context = self.browser.new_context(
            base_url=self.site.url,
            viewport={"width": width, "height": 900 if width > 700 else 740},
            color_scheme=theme,  # type: ignore[arg-type]
            reduced_motion="reduce",
            java_script_enabled=script,
        )
        if who:
            assert context.request.post("/sign-in", data={"token": self.site.tokens[who]}).ok
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("dialog", self._dialog)
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.troubles.append(f"{message.text} ({message.location.get('url')})")

    def _dialog(self, dialog: Dialog) -> None:
        self.troubles.append(f"a dialog: {dialog.message}")
        dialog.dismiss()


@pytest.fixture
def looker(chromium: Browser, site: Site) -> Iterator[Looker]:
    made = Looker(chromium, site)
    yield made
    for context in chromium.contexts:
        context.close()
    assert made.troubles == []
