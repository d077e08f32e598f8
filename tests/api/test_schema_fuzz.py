"""The OpenAPI description against the server that it describes: thousands of requests that fit it, or just do not.

One pass makes up every id; another knows those of real things, so that requests get further than a 404. A longer look:
AUTOMATA_FUZZ_SEC=300 pytest tests/api/test_schema_fuzz.py
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from automata.project.starter import create_starter
from tests.amounts import TIMES, times
from tests.promises.processes import automata_up, environment

SECONDS = int(os.environ.get("AUTOMATA_FUZZ_SEC", "0"))  # a pass; 0: EXAMPLES of each operation
EXAMPLES = 3 if TIMES == 1 else times(4)
# Not `positive_data_acceptance`: a schema cannot say which cursors a list gave out, or that a flow must make sense.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
)
_FEW = ["--max-examples", str(EXAMPLES), "--phases", "fuzzing"]


@pytest.fixture(scope="module")
def address(make_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    repo = tmp_path_factory.mktemp("fuzz") / "flows"
    create_starter(repo)
    with automata_up(repo, environment(make_database())) as (_, url):
        yield url


@pytest.fixture(scope="module")
def known(address: str) -> dict[str, Any]:
    """What paths can name: a flow, a run of it, and its schedule."""
    with httpx.Client(base_url=f"{address}/api/v1", trust_env=False) as http:
        run = http.post("/flows/hello/runs", json={"inputs": {"name": "Ada"}}, params={"wait_sec": 10}).json()
        body = {"flow": "hello", "name": "fuzzed", "interval_sec": 86400, "inputs": {"name": "Ada"}}
        schedule = http.post("/schedules", json=body).json()
        source = http.get("/sync").json()["items"][0]
    return {
        "name": "hello",
        "run_id": run["id"],
        "step": "greet",
        "schedule_id": schedule["id"],
        "source_id": source["id"],
    }


@pytest.mark.timeout(SECONDS * 3 + 900)
@pytest.mark.parametrize("ids", ["made up", "known"])
def test_no_request_makes_the_server_fail_or_answer_otherwise_than_it_says(
    address: str, known: dict[str, Any], ids: str, tmp_path: Path
) -> None:
    lines = [f"{name} = {json.dumps(value)}" for name, value in known.items()] if ids == "known" else []
    (tmp_path / "schemathesis.toml").write_text("\n".join(["[parameters]", *lines]) + "\n")
    command = [str(Path(sys.executable).with_name("st")), "--config-file", "schemathesis.toml", "run"]
    amount = ["--max-time", str(SECONDS), "--phases", "fuzzing"] if SECONDS else _FEW
    options = ["--url", address, *amount, "--continue-on-failure"]
    done = subprocess.run(
        [*command, f"{address}/openapi.json", *options, "--checks", ",".join(CHECKS), "--workers", "2", "--no-color"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-8000:]
    asked = re.search(r"(\d[\d,]*) generated", said)
    assert asked, said[-2000:]
    assert int(asked[1].replace(",", "")) > 200, "too few requests to show anything"
