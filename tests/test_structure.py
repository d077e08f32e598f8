"""The form of the tests: each is flat, and each rule is tested once."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_no_test_is_an_inner_function() -> None:
    """A test asserts by itself. It may define a handler or a step in its body, but no function that is the test."""
    assert [where for where, function in every_test(TESTS) if hides_a_test(function)] == []


def test_no_test_runs_a_loop() -> None:
    """A test that awaits is `async def`; what it needs from the same loop is an async fixture."""
    assert [where for where, function in every_test(TESTS) if runs_a_loop(function)] == []


def test_no_two_tests_have_the_same_body() -> None:
    """In one file tests may differ by their cases alone; a body that is in two files tests one rule twice."""
    assert copies(every_test(TESTS)) == []


INNER = """
def test_x(use):
    async def test(site):
        assert site
    use(test)
"""
LOOP = """
def test_x():
    asyncio.run(scene())
"""
CALLBACK = """
async def test_x(site, monkeypatch):
    def fails():
        raise ValueError
    monkeypatch.setattr(site, "look", fails)
    assert site.look is fails
"""


@pytest.mark.parametrize(
    ("text", "hides", "runs"), [(INNER, True, False), (LOOP, False, True), (CALLBACK, False, False)]
)
def test_these_checks_find_what_they_are_for(text: str, hides: bool, runs: bool) -> None:
    (function,) = ast.parse(text).body
    assert isinstance(function, Function)
    assert (hides_a_test(function), runs_a_loop(function)) == (hides, runs)


def test_a_copy_is_found_in_another_file_and_with_the_same_cases() -> None:
    (plain,) = ast.parse("def test_x(n): assert n").body
    (cases,) = ast.parse("@pytest.mark.parametrize('n', [1])\ndef test_y(n): assert n").body
    assert isinstance(plain, Function)
    assert isinstance(cases, Function)
    assert copies(iter([("a.py::x", plain), ("a.py::y", cases)])) == []
    assert copies(iter([("a.py::x", plain), ("a.py::y", plain)])) == [("a.py::x", "a.py::y")]
    assert copies(iter([("a.py::x", plain), ("b.py::y", cases)])) == [("a.py::x", "b.py::y")]


def every_test(folder: Path) -> Iterator[tuple[str, Function]]:
    """(file::name, definition) of every test below the folder."""
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef):
                for item in node.body:
                    if isinstance(item, Function) and item.name.startswith("test"):
                        yield f"{path.relative_to(folder)}::{item.name}", item


def statements(function: Function) -> list[ast.stmt]:
    """The body without its docstring."""
    return function.body[1:] if ast.get_docstring(function) is not None else function.body


def copies(tests: Iterator[tuple[str, Function]]) -> list[tuple[str, str]]:
    """Pairs of tests with one body that are in two files, or have the same cases in one."""
    seen: dict[str, list[tuple[str, str]]] = defaultdict(list)
    pairs = []
    for where, function in tests:
        body = ast.dump(ast.Module(statements(function), []))
        cases = ast.dump(ast.List(function.decorator_list))
        for other, other_cases in seen[body]:
            if file_of(other) != file_of(where) or other_cases == cases:
                pairs.append((other, where))
        seen[body].append((where, cases))
    return pairs


def file_of(where: str) -> str:
    return where.partition("::")[0]


def hides_a_test(function: Function) -> bool:
    """Whether all that it asserts is asserted by functions inside it."""
    inner = [node for node in function.body if isinstance(node, Function)]
    own = [node for node in function.body if not isinstance(node, Function)]
    return any(asserts(node) for node in inner) and not any(asserts(node) for node in own)


def asserts(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Assert) or is_call_of(part, "pytest", "raises") for part in ast.walk(node))


def runs_a_loop(function: Function) -> bool:
    """Whether it calls asyncio.run in its own statements; a thread that it starts may have a loop."""
    return any(
        is_call_of(part, "asyncio", "run")
        for node in function.body
        if not isinstance(node, Function)
        for part in ast.walk(node)
    )


def is_call_of(node: ast.AST, module: str, name: str) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == f"{module}.{name}"
