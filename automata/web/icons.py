"""The console's icons: strokes on a 16 by 16 grid, drawn where they stand so that no second file is waited for."""

from __future__ import annotations

from markupsafe import Markup

_PATHS = {
    "overview": "M2.5 9h4V2.5h-4zM9.5 6.5h4v-4h-4zM9.5 13.5h4V9h-4zM2.5 13.5h4V12h-4z",
    "flows": "M4 2.5a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3zM12 6.5a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3z"
    "M4 10.5a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3zM5.5 4h2.5a2.5 2.5 0 0 1 2.5 2.5"
    "M5.5 12h2.5a2.5 2.5 0 0 0 2.5-2.5",
    "runs": "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM6.8 5.8v4.4L10.3 8z",
    "schedules": "M3 4h10v9.5H3zM3 7h10M5.5 2.5V4M10.5 2.5V4",
    "letters": "M2.5 4h11v8h-11zM2.5 5l5.5 4 5.5-4",
    "proposals": "M4.5 5.5v5M4.5 2.5a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3z"
    "M4.5 10.5a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3zM11.5 10.5a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3z"
    "M11.5 10.5V6.5a2 2 0 0 0-2-2H8M9.5 2.5l-2 2 2 2",
    "sync": "M13 6.5A5.3 5.3 0 0 0 3.5 5M3 9.5A5.3 5.3 0 0 0 12.5 11M3 2.5V5.5h3M13 13.5v-3h-3",
    "audit": "M4 2.5h6l2.5 2.5v8.5H4zM6 7h4.5M6 9.5h4.5M6 12h3",
    "tokens": "M9.5 2.5a4 4 0 1 1-3.3 6.2L2.5 12.4v1.1H5v-1.5h1.5V10.5M10.5 5.5h.01",
    "approvals": "M8 2.5l4.5 2v3.5c0 3-2 4.8-4.5 5.5-2.5-.7-4.5-2.5-4.5-5.5V4.5zM6 8l1.5 1.5L10.3 6.5",
    "succeeded": "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM5.3 8.2l1.9 1.9 3.5-3.9",
    "failed": "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM6 6l4 4M10 6l-4 4",
    "running": "M8 2a6 6 0 1 1-5.6 3.8",
    "waiting": "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 4.8V8l2.2 1.6",
    "cancelled": "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM4 12l8-8",
    "skipped": "M3.5 4l4 4-4 4zM8.5 4l4 4-4 4z",
    "warning": "M8 2.5l6 11H2zM8 6.5v3.2M8 11.7h.01",
    "play": "M5 3.5v9l7-4.5z",
    "retry": "M13 8A5 5 0 1 1 11.4 4.3M13 2.5V5h-2.5",
    "stop": "M4 4h8v8H4z",
    "copy": "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
    "search": "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.3 10.3l3.2 3.2",
    "menu": "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
    "theme": "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12",
    "next": "M6 3.5L10.5 8 6 12.5",
    "back": "M10 3.5L5.5 8l4.5 4.5",
    "close": "M4 4l8 8M12 4l-8 8",
    "external": "M9 2.5h4.5V7M13.5 2.5L8 8M11.5 9.5v4h-9v-9h4",
    "person": "M8 2.5a2.7 2.7 0 1 0 0 5.4 2.7 2.7 0 0 0 0-5.4zM3 13.5c.5-2.7 2.5-4 5-4s4.5 1.3 5 4",
    "commit": "M8 5.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM1.5 8h4M10.5 8h4",
    "edit": "M10.5 3l2.5 2.5L6 12.5l-3 .5.5-3z",
    "plus": "M8 3v10M3 8h10",
    "pause": "M5.5 3.5v9M10.5 3.5v9",
}


def icon(name: str) -> Markup:
    """An icon that says nothing by itself: a word always stands beside it, or a label around it."""
    return Markup('<svg class="icon icon-{}" viewBox="0 0 16 16" aria-hidden="true"><path d="{}"/></svg>').format(
        name, _PATHS[name]
    )
