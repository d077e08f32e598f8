"""Test files as people write them, and as nobody should."""

from __future__ import annotations

import json
import socket
import subprocess
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import jsonschema
import pytest
import yaml

from automata.sandbox import pool
from automata.sandbox.case_file import read_cases
from automata.sandbox.case_runner import run_case
from automata.sandbox.codes import CODES
from automata.sandbox.schema import FILES
from tests.conftest import ROOT

MOCK = {"id": "m", "request": {"method": "GET", "url": "https://a.example.com/"}, "responses": [{"status": 200}]}


def wrong(value: Any, files: dict[str, bytes] | None = None) -> list[str]:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    read = read_cases(text, "tests/a.test.yaml", (files or {}).get)
    assert read.cases == () or not read.diagnostics
    return [f"{one.code} {one.message} at {one.pointer}" for one in read.diagnostics]


def case(**keys: Any) -> dict[str, Any]:
    return {"flow": "a", "cases": [{"name": "one", **keys}]}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"", "AF0"),
        (b"[1, 2", "AF0"),
        (b"\xff\xfe\x00", "AF0"),
        (b"flow: a\ncases: [{name: x}]\n" + b"#" * (10 * 1024 * 1024), "AF0"),
        ({"flow": "a"}, "AF021"),
        ({"flow": "a", "cases": []}, "AF026"),
        ({"flow": "a", "cases": [{"name": "x"}] * 1001}, "AF026"),
        ({"flow": "a", "cases": [{"name": "x"}, {"name": "x"}]}, "AF402"),
        (case(nmae="x"), "AF020"),
        (case(clock="2026-13-41T09:00:00Z"), "AF403"),
        (case(clock="yesterday"), "AF024"),
        (case(mocks=[MOCK, MOCK]), "AF404"),
        (case(mocks=[{"step": "s"}]), "AF405"),
        (case(mocks=[{"step": "s", "output": {}, "request": MOCK["request"]}]), "AF405"),
        (case(mocks=[{**MOCK, "request": {"url": {"host": {"regex": "("}}}}]), "AF406"),
        (case(mocks=[{**MOCK, "request": {"json": {"paths": {"$[": 1}}}}]), "AF406"),
        (case(mocks=[{**MOCK, "responses": [{"json_file": "nothing.json"}]}]), "AF401"),
        (case(mocks=[{**MOCK, "responses": [{"json_file": "../../etc/passwd"}]}]), "AF401"),
        (case(mocks=[{**MOCK, "responses": [{"json_file": "/etc/passwd"}]}]), "AF401"),
        (case(mocks=[{**MOCK, "responses": [{"status": 99}]}]), "AF025"),
        (case(mocks=[{**MOCK, "responses": [{"fault": "fire"}]}]), "AF023"),
        (case(expect={"requests": [{"mock": "m", "json": {"paths": {"$$": 1}}}]}), "AF406"),
        ({**case(), "mocks_from": ["mocks/none.yaml"]}, "AF401"),
    ],
)
def test_a_file_that_is_wrong_is_told_where_and_runs_nothing(value: Any, says: str) -> None:
    found = wrong(value)
    assert found
    assert found[0].startswith(says), found


def test_mocks_of_another_file_are_shared_and_checked() -> None:
    shared = {**case(), "mocks_from": ["mocks/all.yaml"]}
    assert wrong(shared, {"tests/mocks/all.yaml": yaml.safe_dump({"mocks": [MOCK]}).encode()}) == []
    assert wrong(shared, {"tests/mocks/all.yaml": b"mocks: 7"})[0].startswith("AF022")


@pytest.mark.parametrize("name", FILES)
def test_the_published_schemas_are_those_of_the_code(name: str) -> None:
    assert json.loads((ROOT / "schemas" / name).read_text(encoding="utf-8")) == FILES[name]
    jsonschema.Draft202012Validator.check_schema(FILES[name])


def test_the_example_fits_the_schema() -> None:
    for file in (ROOT / "flows-example" / "tests").glob("*.test.yaml"):
        jsonschema.validate(yaml.safe_load(file.read_text()), FILES["test.schema.json"])


def test_every_code_is_one_that_is_used() -> None:
    text = "".join(path.read_text() for path in (ROOT / "automata").rglob("*.py") if path.name != "codes.py")
    assert [code for code in CODES if f'"{code}"' not in text] == []


# --- what a sandbox process may not do -----------------------------------------------------------------------------


def _connect() -> str:
    with socket.socket() as one:
        try:
            one.connect(("127.0.0.1", 9))
        except PermissionError as error:
            return str(error)
        except OSError as error:
            return f"it tried: {error}"
    return "it connected"


def _resolve() -> str:
    try:
        socket.getaddrinfo("localhost", 80)
    except PermissionError as error:
        return str(error)
    return "it asked"


def _run() -> str:
    try:
        subprocess.run(["true"], check=False)
    except PermissionError as error:
        return str(error)
    return "it ran"


def _grow() -> str:
    try:
        return f"{len(bytearray(4 << 30))} bytes"
    except MemoryError:
        return "refused"


def test_a_process_of_the_sandbox_has_no_network_no_children_and_little_memory() -> None:
    with ProcessPoolExecutor(
        1, get_context("spawn"), pool._begin, (pool.PooledWork(dict, run_case, pool.failed), 1.0)
    ) as processes:
        said = [processes.submit(one).result(30) for one in (_connect, _resolve, _run, _grow)]
    assert said == [
        "the sandbox does not allow socket.connect",
        "the sandbox does not allow socket.getaddrinfo",
        "the sandbox does not allow subprocess.Popen",
        "refused",
    ]
