"""Runs of pytest that share their imports: `python -m tests.promises.warm_pytest` forks for each line that it reads.

A line is a JSON list of pytest's words; the answer is a line `[exit code, output]`. What is ours is imported after the
fork, so that a changed file of the product is read as it is then.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile

LIBRARIES = (
    "aiohttp",
    "alembic.command",
    "cachetools",
    "croniter",
    "fastapi",
    "httpx",
    "jinja2",
    "jsonschema",
    "prometheus_client",
    "psutil",
    "psycopg_pool",
    "pydantic_settings",
    "sqlalchemy",
    "yaml",
)


def run(words: list[str]) -> tuple[int, str]:
    """The exit code of pytest, and what it and its tests printed."""
    with tempfile.TemporaryFile() as output:
        if not (child := os.fork()):
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            import pytest

            code = pytest.main(words)
            sys.stdout.flush()
            os._exit(int(code))
        _, status = os.waitpid(child, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read().decode(errors="replace")


def main() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
