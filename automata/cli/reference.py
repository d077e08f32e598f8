"""Writes the pages of docs/ that are made from the program itself: python -m automata.cli.reference [FOLDER]."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from automata.cli.reference_language import language_page
from automata.cli.reference_rest import rest_page
from automata.cli.reference_settings import settings_page
from automata.errors import Conflict, Invalid, Missing, Refused, Unavailable, Usage
from automata.flow.codes import CODES as FLOW_CODES
from automata.project.codes import CODES as PROJECT_CODES
from automata.sandbox.codes import CODES as TEST_CODES
from automata.steps.codes import CODES as STEP_CODES

_HEAD = """# Errors

Every finding in a file has a place (file, line, column, JSON pointer), a code that stays the same, one sentence, and
where possible a suggestion. Every error of the REST API is `application/problem+json` (RFC 9457) with `code`, `detail`
and, where it is about one member of the request, `pointer`.
"""

_KINDS = (
    (Invalid, "What was given is wrong: fix the file, the input or the request."),
    (Usage, "The command or the configuration is wrong."),
    (Missing, "What was named does not exist."),
    (Conflict, "Someone was first, or the state does not allow it: look again."),
    (Refused, "A guard said no."),
    (Unavailable, "Something outside cannot be reached: try later."),
)


def errors_page() -> str:
    """The whole page, as Markdown."""
    kinds = [f"| {kind.exit_code} | {kind.status} | {words} |" for kind, words in _KINDS]
    return "\n".join(
        [
            _HEAD,
            "| exit code | HTTP | meaning |\n|---|---|---|",
            *kinds,
            "",
            *_table("Flow files", FLOW_CODES),
            *_table("Repositories", PROJECT_CODES),
            *_table("Test files", TEST_CODES),
            *_table("Steps and runs that failed", STEP_CODES),
        ]
    )


def _table(title: str, codes: Mapping[str, str]) -> list[str]:
    rows = [f"| `{code}` | {sentence.replace('|', chr(92) + '|')} |" for code, sentence in sorted(codes.items())]
    return [f"## {title}", "", "| code | |", "|---|---|", *rows, ""]


def pages(folder: Path) -> dict[Path, str]:
    """The made pages of a folder of documentation, as they should be."""
    cli, language = folder / "cli.md", folder / "language.md"
    return {
        cli: settings_page(cli.read_text(encoding="utf-8")),
        folder / "errors.md": errors_page(),
        folder / "rest.md": rest_page(),
        language: language_page(language.read_text(encoding="utf-8")),
    }


if __name__ == "__main__":
    for page, text in pages(Path(sys.argv[1] if len(sys.argv) > 1 else "docs")).items():
        page.write_text(text, encoding="utf-8")
