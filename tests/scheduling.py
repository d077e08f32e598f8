"""How tests are dealt to the workers of a run: a file at a time, and what shares a browser together.

A file has a database, and often a server, of its own. Dealt out test by test, as xdist does by itself, each worker
starts them again: that is a fifth of the processor time of a run.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling

# One site and one Chromium serve all tests of such a folder.
TOGETHER = ("tests/browser/",)


class ByFile(LoadScopeScheduling):
    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        config.option.loadscopereorder = False  # by its number of tests a file of slow ones would come last
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid.split("::", 1)[0])


class Plugin:
    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Producer) -> ByFile | None:
        return ByFile(config, log) if config.getvalue("dist") == "load" else None
