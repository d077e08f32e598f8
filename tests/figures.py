"""What the promise tests counted, over all workers: `note` it, and the end of the session shows the sum."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

ORDER = ("runs accepted", "runs lost", "double-accepted results", "schedule fires", "duplicate fires")
_noted: Counter[str] = Counter()
_total: Counter[str] = Counter()


def note(figures: dict[str, int]) -> None:
    """Add to the figures of the test that runs; names as in ORDER."""
    assert set(figures) <= set(ORDER), figures
    _noted.update(figures)


class Plugin:
    """Carries what was noted from the worker to whoever prints, with the report of the test."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        if call.when == "call" and _noted:
            item.user_properties.append(("figures", dict(_noted)))
            _noted.clear()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            for name, value in report.user_properties:
                if name == "figures" and isinstance(value, dict):
                    _total.update(value)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if _total:
            terminalreporter.section("promises")
            terminalreporter.line(", ".join(f"{name} {_total[name]:,}" for name in ORDER))
