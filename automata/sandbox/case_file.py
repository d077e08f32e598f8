"""Test files: read, checked with places, and made ready to run. Paths in them are relative to the file's folder."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from automata.errors import Diagnostic, Invalid
from automata.flow.findings import Findings, Positions
from automata.flow.shape import Shape
from automata.flow.userschema import SchemaBudget
from automata.flow.yaml12 import CASES, parse_yaml
from automata.sandbox.contract import MAX_WORK, Contract, method_and_path, read_contract
from automata.sandbox.matching import compile_request
from automata.sandbox.mocks import compile_mock
from automata.sandbox.schema import MOCKS_SCHEMA, TEST_SCHEMA

SUFFIXES = (".test.yaml", ".test.yml", ".test.json")
MAX_FILE_BYTES = 5 * 1024 * 1024  # of a body that a mock takes from a file
CLOCK = datetime(2026, 1, 1, tzinfo=UTC)

Read = Callable[[str], bytes | None]  # a path in the repository -> its content, None when there is none


@dataclass(frozen=True, slots=True)
class Case:
    """One case, defaults applied. Plain data: it can be sent to another process."""

    file: str
    line: int
    name: str
    flow: str
    inputs: Mapping[str, Any]
    vars: Mapping[str, Any]
    secrets: Mapping[str, str]
    clock: datetime
    seed: int
    mocks: tuple[Mapping[str, Any], ...]
    expect: Mapping[str, Any]
    files: Mapping[str, bytes]
    read: tuple[str, ...] = ()  # paths of the files that the whole test file uses

    @property
    def id(self) -> str:
        """`FILE::NAME`."""
        return f"{self.file}::{self.name}"


@dataclass(frozen=True, slots=True)
class CaseFile:
    """What a test file held; no cases when any diagnostic is an error."""

    file: str
    flow: str
    cases: tuple[Case, ...]
    diagnostics: tuple[Diagnostic, ...]


def read_cases(text: bytes, file: str, read: Read) -> CaseFile:
    """Cases of a test file; every problem of the file is a diagnostic, none is raised."""
    value, positions, wrong = parse_yaml(text, file, CASES)
    findings = Findings(file, positions, found=list(wrong))
    if not wrong:
        Shape(TEST_SCHEMA["$defs"], findings).check(value, TEST_SCHEMA)
    if findings.found:
        return CaseFile(file, "", (), findings.done())
    reader = _Reader(file, positions, findings, read)
    cases = reader.cases(value)
    diagnostics = findings.done()
    used = tuple(sorted(reader.used))
    return CaseFile(
        file, value["flow"], () if diagnostics else tuple(replace(case, read=used) for case in cases), diagnostics
    )


class _Reader:
    def __init__(self, file: str, positions: Positions, findings: Findings, read: Read) -> None:
        self.file = file
        self.positions = positions
        self.findings = findings
        self.read = read
        self.files: dict[str, bytes] = {}
        self.openapi: str | None = None
        self.work = SchemaBudget(MAX_WORK)
        self.used: set[str] = set()

    def cases(self, value: Mapping[str, Any]) -> tuple[Case, ...]:
        self.openapi = value.get("openapi")
        if self.openapi:
            self._contract(self.openapi, "/openapi")
        shared = [*value.get("mocks", ()), *self._shared(value.get("mocks_from", ()))]
        self._check_mocks(value.get("mocks", ()), "/mocks")
        names: dict[str, int] = {}
        cases = []
        for index, entry in enumerate(value["cases"]):
            pointer = f"/cases/{index}"
            if entry["name"] in names:
                first = names[entry["name"]] + 1
                self.findings.add("AF402", f"the case {first} has this name already", f"{pointer}/name")
            names[entry["name"]] = index
            self._check_mocks(entry.get("mocks", ()), f"{pointer}/mocks")
            self._check_expect(entry.get("expect", {}), f"{pointer}/expect")
            cases.append(self._case(value, entry, pointer, shared))
        return tuple(cases)

    def _case(self, value: Mapping[str, Any], entry: Mapping[str, Any], pointer: str, shared: list[Any]) -> Case:
        settings = {**value.get("defaults", {}), **entry}
        own = list(entry.get("mocks", ()))
        taken = {mock["id"] for mock in own if "id" in mock}
        # A mock that several cases share need not be used by each.
        rest = [{"optional": True, **mock} for mock in shared if mock.get("id") not in taken]
        return Case(
            file=self.file,
            line=self.positions.locate(pointer)[0],
            name=entry["name"],
            flow=value["flow"],
            inputs=entry.get("inputs", {}),
            vars=entry.get("vars", {}),
            secrets=entry.get("secrets", {}),
            clock=self._time(settings.get("clock"), f"{pointer}/clock"),
            seed=settings.get("seed", 0),
            mocks=tuple(map(self._held, own + rest)),
            expect=entry.get("expect", {}),
            files=self.files,
        )

    def _held(self, mock: Mapping[str, Any]) -> Mapping[str, Any]:
        """A mock with the OpenAPI file that holds for it."""
        return mock if "step" in mock else {**mock, "openapi": self._named(mock)}

    def _named(self, mock: Mapping[str, Any]) -> str | None:
        named = mock.get("openapi", True)
        return self.openapi if named is True else named or None

    def _time(self, text: str | None, pointer: str) -> datetime:
        if text is None:
            return CLOCK
        try:
            return datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            self.findings.add("AF403", f"`{text}` is no time: {error}", pointer)
            return CLOCK

    def _shared(self, paths: list[str]) -> list[Any]:
        mocks: list[Any] = []
        for index, path in enumerate(paths):
            content = self._content(path, f"/mocks_from/{index}")
            if content is None:
                continue
            value, positions, wrong = parse_yaml(content, self._path(path), CASES)
            findings = Findings(self._path(path), positions, found=list(wrong))
            if not wrong:
                Shape(MOCKS_SCHEMA["$defs"], findings).check(value, MOCKS_SCHEMA)
            self.findings.found.extend(findings.done())
            if not findings.found:
                mocks.extend(value["mocks"])
                self._check_mocks(value["mocks"], f"/mocks_from/{index}")
        return mocks

    # --- what a shape cannot say -----------------------------------------------------------------------------------

    def _check_mocks(self, mocks: Any, pointer: str) -> None:
        seen: set[str] = set()
        for index, mock in enumerate(mocks):
            place = f"{pointer}/{index}"
            if (name := mock.get("id")) in seen:
                self.findings.add("AF404", f"the mock `{name}` is there twice", f"{place}/id")
            seen.add(name or place)
            if "step" in mock:
                self._check_given(mock, place)
                continue
            for response in mock.get("responses", ()):
                for kind in ("json_file", "text_file"):
                    if kind in response:
                        self._content(response[kind], f"{place}/responses")
            named = self._named(mock)
            contract = self._contract(named, f"{place}/openapi") if named else None
            self._tried(partial(compile_mock, {**mock, "openapi": None}, index, self._known), place)
            if contract:
                self._follow(contract, mock, place)

    def _contract(self, path: str, pointer: str) -> Contract | None:
        """The OpenAPI file of that path; None when it cannot be used, which is told then."""
        content = self._content(path, pointer)
        if content is None:
            return None
        try:
            return read_contract(content, path)
        except Invalid as error:
            self.findings.add("AF409", error.message.rstrip("."), pointer)
        return None

    def _follow(self, contract: Contract, mock: Mapping[str, Any], pointer: str) -> None:
        """Hold the responses of a mock to its contract, where method and path are known before a request comes."""
        method, path = method_and_path(mock.get("request", {}))
        if not method or not path:
            return  # held to it when they are: see MockTransport
        try:
            answers = compile_mock({**mock, "openapi": None}, 0, self._known).answers
        except (Invalid, ValueError):
            return  # told already
        for index, answer in enumerate(answers):
            wrong = None if answer.fault else contract.breach(method, path, answer, self.work)
            if wrong:
                message = f"the mock `{mock.get('id', 'without an id')}` breaks {method} {path}: {wrong}"
                self.findings.add("AF409", message, f"{pointer}/responses/{index}")

    def _check_given(self, mock: Mapping[str, Any], pointer: str) -> None:
        extra = sorted(mock.keys() - {"id", "step", "output", "error", "optional"})
        if extra:
            self.findings.add("AF405", f"a mock of a step has no `{extra[0]}`", f"{pointer}/{extra[0]}")
        if ("output" in mock) == ("error" in mock):
            self.findings.add("AF405", "a mock of a step has either `output` or `error`", pointer)

    def _check_expect(self, expect: Mapping[str, Any], pointer: str) -> None:
        for index, entry in enumerate(expect.get("requests", ())):
            self._tried(partial(compile_request, entry), f"{pointer}/requests/{index}")

    def _tried(self, compile_it: Callable[[], Any], pointer: str) -> None:
        try:
            compile_it()
        except Invalid as error:
            self.findings.add("AF406", error.message.rstrip(".")[:1].lower() + error.message.rstrip(".")[1:], pointer)
        except ValueError as error:
            self.findings.add("AF406", f"this cannot be read: {error}", pointer)

    # --- files -----------------------------------------------------------------------------------------------------

    def _path(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(posixpath.dirname(self.file), path))

    def _known(self, path: str) -> bytes:
        return self.files.get(path, b"null")

    def _content(self, path: str, pointer: str) -> bytes | None:
        if path in self.files:
            return self.files[path]
        place = self._path(path)
        if path.startswith("/") or place.startswith("../") or "\\" in path:
            self.findings.add("AF401", f"`{path}` leads out of the repository", pointer)
            return None
        content = self.read(place)
        self.used.add(place)
        if content is None:
            self.findings.add("AF401", f"there is no file `{place}`", pointer)
        elif len(content) > MAX_FILE_BYTES:
            self.findings.add("AF401", f"`{place}` has more than {MAX_FILE_BYTES:,} bytes", pointer)
        else:
            self.files[path] = content
            return content
        return None
