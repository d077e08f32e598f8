"""What rehearsals showed, as one versioned JSON report and as people, CI servers and GitHub want to read it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Literal
from xml.etree import ElementTree

from automata import __version__
from automata.errors import Diagnostic
from automata.report.diagnostics import Report, Source, annotation, paint, plural, render, visible

TestFormat = Literal["human", "json", "junit", "github"]
FORMATS: tuple[TestFormat, ...] = ("human", "json", "junit", "github")

VERSION = 1
MAX_PROBLEMS = 20  # of a case that people are shown
MAX_DIFFERING = 200  # places of all cases together


def tests_report(
    results: Sequence[Mapping[str, Any]], diagnostics: Sequence[Diagnostic], files: int, took_sec: float
) -> dict[str, Any]:
    """The report that every format is made from. `results` are cases (sandbox.cases.Result) as plain data."""
    checked = Report(files, tuple(diagnostics))
    passed = sum(bool(case["passed"]) for case in results)
    return {
        "version": VERSION,
        "tool": {"name": "automata", "version": __version__},
        "ok": checked.ok and passed == len(results),
        "summary": {
            "files": files,
            "cases": len(results),
            "passed": passed,
            "failed": len(results) - passed,
            "errors": checked.count("error"),
            "warnings": checked.count("warning"),
        },
        "took_sec": round(took_sec, 3),
        "diagnostics": checked.as_json()["diagnostics"],
        "cases": sorted(results, key=lambda case: (case["file"], case["line"], case["name"])),
    }


def render_tests(
    report: Mapping[str, Any], form: TestFormat, source: Source | None = None, *, colour: bool = False
) -> str:
    """Text that ends with a line break, or nothing."""
    match form:
        case "json":
            return json.dumps(report, indent=2, ensure_ascii=False, default=str) + "\n"
        case "junit":
            return _junit(report)
        case "github":
            return render(report, "github") + "".join(_failure(case) for case in report["cases"] if not case["passed"])
        case "human":
            return _human(report, source, colour)


# --- people --------------------------------------------------------------------------------------------------------


def _human(report: Mapping[str, Any], source: Source | None, colour: bool) -> str:
    lines: list[str] = []
    if report["diagnostics"]:
        diagnostics = {**report, "summary": {**report["summary"]}}
        lines.append(render(diagnostics, "human", source, colour=colour).rstrip("\n"))
    for file, cases in groupby(report["cases"], key=lambda case: case["file"]):
        lines.append(visible(file))
        for case in cases:
            lines += _case(case, colour)
    lines.append(_summary(report, colour))
    return "\n".join(lines) + "\n"


def _case(case: Mapping[str, Any], colour: bool) -> list[str]:
    if case["passed"]:
        return [f"  {paint('good', 'ok', colour)}    {visible(case['name'])}"]
    shown = case["problems"][:MAX_PROBLEMS]
    lines = [f"  {paint('error', 'FAIL', colour)}  {visible(case['name'])}  ({visible(case['file'])}:{case['line']})"]
    lines += [f"        {visible(item['where'])}: {visible(item['message'])}" for item in shown]
    if more := len(case["problems"]) - len(shown):
        lines.append(f"        and {more} more")
    return lines


def failure_lines(case: Mapping[str, Any]) -> list[str]:
    """A failed case: its name and place, then every problem."""
    lines = (line for item in case["problems"] for line in f"{item['where']}: {item['message']}".split("\n"))
    return [visible(f"{case['name']}  ({case['file']}:{case['line']})"), *(f"  {visible(line)}" for line in lines)]


def differing_steps(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What failed cases expected and found, an entry a place; at most MAX_DIFFERING.

    {case, name, flow, file, line, step, where, expected, actual, diff}: `diff` are the sentences that say what differs
    there, `step` is None for what is the run's.
    """
    differing: dict[tuple[str, str], dict[str, Any]] = {}
    for case in report["cases"]:
        place = {key: case[key] for key in ("case", "name", "flow", "file", "line")}
        for item in case["problems"]:
            entry = differing.setdefault(
                (case["case"], item["where"]),
                {
                    **place,
                    "step": item.get("step"),
                    "where": item["where"],
                    "expected": item.get("expected"),
                    "actual": item.get("actual"),
                    "diff": [],
                },
            )
            entry["diff"].append(item["message"])
        if len(differing) >= MAX_DIFFERING:
            break
    return list(differing.values())[:MAX_DIFFERING]


def _summary(report: Mapping[str, Any], colour: bool) -> str:
    summary = report["summary"]
    parts = [paint("good", f"{summary['passed']:,} passed", colour)]
    if summary["failed"]:
        parts.append(paint("error", f"{summary['failed']:,} failed", colour))
    if summary["errors"]:
        parts.append(paint("error", plural(summary["errors"], "error"), colour))
    return f"{', '.join(parts)} in {plural(summary['files'], 'file')}, {report['took_sec']:.1f} s"


# --- programs ------------------------------------------------------------------------------------------------------


def _failure(case: Mapping[str, Any]) -> str:
    message = "; ".join(f"{item['where']}: {item['message']}" for item in case["problems"][:MAX_PROBLEMS])
    return annotation("error", case["file"], case["line"], 0, case["name"], message)


def _junit(report: Mapping[str, Any]) -> str:
    """The XML that CI servers know as JUnit's: a suite a file, a case a case."""
    summary = report["summary"]
    return _document(
        _suites(report), summary["cases"] + bool(summary["errors"]), summary["failed"], bool(summary["errors"])
    )


def junit_of(report: Mapping[str, Any] | None, stages: Sequence[tuple[str, float, str | None, str]]) -> str:
    """The same with a suite `check` before it: (name, seconds, why it failed or None, the whole story)."""
    suite = ElementTree.Element("testsuite", name="check", tests=str(len(stages)))
    for name, seconds, problem, text in stages:
        case = ElementTree.SubElement(suite, "testcase", classname="check", name=name, time=f"{seconds:.4f}")
        if problem:
            ElementTree.SubElement(case, "failure", message=_clean(problem)).text = _clean(text)
    failed = sum(bool(problem) for _, _, problem, _ in stages)
    suite.set("failures", str(failed))
    if report is None:
        return _document([suite], len(stages), failed, False)
    summary = report["summary"]
    cases = summary["cases"] + bool(summary["errors"])
    return _document(
        [suite, *_suites(report)], len(stages) + cases, failed + summary["failed"], bool(summary["errors"])
    )


def _document(suites: Iterable[ElementTree.Element], tests: int, failures: int, broken: bool) -> str:
    counts = {"tests": tests, "failures": failures, "errors": int(broken)}
    root = ElementTree.Element("testsuites", {"name": "automata", **{name: str(n) for name, n in counts.items()}})
    root.extend(suites)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suites(report: Mapping[str, Any]) -> Iterator[ElementTree.Element]:
    for file, group in groupby(report["cases"], key=lambda case: case["file"]):
        cases = list(group)
        failures = sum(not case["passed"] for case in cases)
        suite = ElementTree.Element("testsuite", name=_clean(file), tests=str(len(cases)), failures=str(failures))
        for case in cases:
            _junit_case(suite, case)
        yield suite
    errors = [item for item in report["diagnostics"] if item["severity"] == "error"]
    if errors:
        suite = ElementTree.Element("testsuite", name="files", tests="1", errors="1")
        case = ElementTree.SubElement(suite, "testcase", classname="files", name="are valid")
        text = "\n".join(f"{item['file']}:{item['line']}: {item['code']} {item['message']}" for item in errors)
        ElementTree.SubElement(case, "error", message=plural(len(errors), "error")).text = _clean(text)
        yield suite


def _junit_case(suite: ElementTree.Element, case: Mapping[str, Any]) -> None:
    seconds = f"{case['took_ms'] / 1000:.4f}"
    element = ElementTree.SubElement(
        suite,
        "testcase",
        classname=_clean(case["flow"]),
        name=_clean(case["name"]),
        file=_clean(case["file"]),
        time=seconds,
    )
    if not case["passed"]:
        text = "\n".join(f"{item['where']}: {item['message']}" for item in case["problems"])
        first = case["problems"][0]["message"] if case["problems"] else "failed"
        ElementTree.SubElement(element, "failure", message=_clean(first)).text = _clean(text)


def _clean(text: str) -> str:
    """XML 1.0 cannot hold control characters, not even escaped."""
    return "".join(char if char.isprintable() or char in "\t\n" else "\N{REPLACEMENT CHARACTER}" for char in str(text))
