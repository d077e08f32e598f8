"""What `automata check` found, as one versioned JSON report; every format is made from it.

A stage is `passed`, `failed`, `empty` (there was nothing to go by) or `skipped` (an earlier one failed). Only stages
that the project requires decide; what the others found is told all the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from automata import __version__
from automata.flow.changes import CLASSES
from automata.git.names import short_sha
from automata.report.diagnostics import paint, plural, render, visible
from automata.report.markdown import markdown
from automata.report.plan import plan_lines
from automata.report.replay import replay_lines
from automata.report.tests import failure_lines, junit_of

CheckFormat = Literal["human", "json", "junit", "sarif", "github", "markdown"]
FORMATS: tuple[CheckFormat, ...] = ("human", "json", "junit", "sarif", "github", "markdown")

VERSION = 1
SHOWN = 15  # lines of one stage that people see at once: the rest is in the JSON report

Report = Mapping[str, Any]


def check_report(
    stages: Sequence[dict[str, Any]], base: str, head: str, environment: str, required: Sequence[str], took_sec: float
) -> dict[str, Any]:
    """`stages`: see `stage`, in the order in which they ran."""
    bad = [stage["name"] for stage in stages if stage["required"] and stage["state"] != "passed"]
    return {
        "version": VERSION,
        "tool": {"name": "automata", "version": __version__},
        "ok": not bad,
        "failed": bad,
        "base": base,
        "head": head,
        "environment": environment,
        "required": list(required),
        "took_sec": round(took_sec, 3),
        "stages": list(stages),
    }


def stage_entry(
    name: str, state: str, required: bool, report: Report | None, took_sec: float, summary: str
) -> dict[str, Any]:
    """One stage of a report; `state`: see the top of this module; `report` has the stage's own form."""
    return {
        "name": name,
        "state": state,
        "required": required,
        "summary": summary,
        "took_sec": round(took_sec, 3),
        "report": report,
    }


def stage_report(report: Report, name: str) -> Report | None:
    """The report of one stage; None when it did not run."""
    return next((stage["report"] for stage in report["stages"] if stage["name"] == name), None)


def render_check(report: Report, form: CheckFormat, *, colour: bool = False) -> str:
    """Text that ends with a line break, or nothing."""
    match form:
        case "json":
            return json.dumps(report, indent=2, ensure_ascii=False, default=str) + "\n"
        case "junit":
            return _junit(report)
        case "sarif" | "github":
            return render({**report, "diagnostics": findings(report)}, form)
        case "markdown":
            return markdown(report)
        case "human":
            return _human(report, colour)


# --- people: why it fails, in one screen ---------------------------------------------------------------------------

_WORDS = {"passed": ("good", "ok"), "failed": ("error", "FAIL"), "empty": ("error", "none"), "skipped": ("faint", "-")}


def _human(report: Report, colour: bool) -> str:
    lines = []
    for stage in report["stages"]:
        shade, word = _WORDS[stage["state"]]
        if stage["state"] in ("failed", "empty") and not stage["required"]:
            shade = "warning"
        lines.append(f"{paint(shade, word.ljust(4), colour)}  {stage['name'].ljust(8)}  {stage['summary']}")
        lines_of_stage = stage_lines(stage, colour)
        lines += [f"      {line}" for line in lines_of_stage[:SHOWN]]
        if more := len(lines_of_stage) - SHOWN:
            lines += [f"      … and {plural(more, 'more line')}; --format json has all"] if more > 0 else []
    lines += ["", verdict(report, colour)]
    return "\n".join(lines) + "\n"


def verdict(report: Report, colour: bool = False) -> str:
    """One line: what the check says, and of what."""
    commits = f"{short_sha(report['base'])} → {short_sha(report['head'])}"
    what = f"{commits} ({report['environment']}), {report['took_sec']:.1f} s"
    if report["ok"]:
        return f"{paint('good', 'Passed', colour)}: {what}"
    return f"{paint('error', 'Refused', colour)} by {' and '.join(report['failed'])}: {what}"


def stage_lines(stage: Mapping[str, Any], colour: bool = False) -> list[str]:
    """What one stage found, as people read it."""
    report = stage["report"]
    if report is None:
        return []
    match stage["name"]:
        case "validate":
            return [_place(item) for item in report["diagnostics"]] if stage["state"] == "failed" else []
        case "plan":
            return plan_lines(report, colour)
        case "test":
            lines = [_place(item) for item in report["diagnostics"] if item["severity"] == "error"]
            for case in report["cases"]:
                lines += [] if case["passed"] else failure_lines(case)
            return lines
        case _:
            return replay_lines(report, colour)


def _place(diagnostic: Mapping[str, Any]) -> str:
    return visible(f"{diagnostic['file']}:{diagnostic['line']}: {diagnostic['code']} {diagnostic['message']}")


# --- programs ------------------------------------------------------------------------------------------------------


def findings(report: Report) -> list[dict[str, Any]]:
    """All that is wrong as diagnostics, with the code `test` or `replay` where no file has it written down."""
    diagnostics: list[dict[str, Any]] = []
    for stage in report["stages"]:
        result = stage["report"] or {}
        severity = "error" if stage["required"] else "warning"
        diagnostics += result.get("diagnostics", ())
        diagnostics += [_failed_case(case, severity) for case in result.get("cases", ()) if not case["passed"]]
        if stage["name"] == "replay":
            diagnostics += [
                _difference(item, severity) for item in (*result.get("uncovered", ()), *result.get("differences", ()))
            ]
        if stage["name"] == "plan":
            diagnostics += [
                _change(flow, item) for flow in result.get("flows", ()) for item in flow["changes"] if _grave(item)
            ]
            diagnostics += [_policy_change(item) for item in result.get("policy", ()) if _grave(item)]
        if stage["state"] == "empty" and stage["required"]:
            diagnostics.append(_finding(stage["name"], "error", "", 0, stage["summary"]))
    return diagnostics


def _grave(change: Mapping[str, Any]) -> bool:
    return change["kind"] in CLASSES[:2]


def _finding(code: str, severity: str, file: str, line: int, message: str) -> dict[str, Any]:
    place = {"file": file, "line": line, "column": 0, "pointer": "", "suggestion": None}
    return {"code": code, "severity": severity, "message": message, **place}


def _failed_case(case: Mapping[str, Any], severity: str) -> dict[str, Any]:
    why = "; ".join(f"{item['where']}: {item['message']}" for item in case["problems"])
    return _finding("test", severity, case["file"], case["line"], f"{case['name']}: {why}")


def _difference(group: Mapping[str, Any], severity: str) -> dict[str, Any]:
    if "before" in group:
        what = f"{group['kind']} {group['place']}: {_json(group['before'])} → {_json(group['after'])}"
    else:
        what = f"uncovered: {group['place']} was never recorded"
    runs = f"{group['runs']} of {plural(group['of'], 'run')}"
    return _finding(
        "replay",
        severity if group["fails"] else "warning",
        group.get("file", ""),
        1,
        f"{group['flow']}, {runs}: {what}",
    )


def _change(flow: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    return _finding("plan", "warning", flow.get("path") or "", 1, f"{flow['flow']}: {item['kind']}: {item['message']}")


def _policy_change(item: Mapping[str, Any]) -> dict[str, Any]:
    return _finding("plan", "warning", item["file"], 1, f"{item['kind']}: {item['message']}")


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 200 else text[:199] + "…"


def _junit(report: Report) -> str:
    """The cases as `automata test` gives them, and a suite `check` with a case a stage."""
    stages = []
    for stage in report["stages"]:
        problem = None if stage["state"] in ("passed", "skipped") or not stage["required"] else stage["summary"]
        text = "\n".join(stage_lines(stage)) if problem else ""
        stages.append((stage["name"], stage["took_sec"], problem, text))
    return junit_of(stage_report(report, "test"), stages)
