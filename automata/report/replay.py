"""What replays showed, as one versioned JSON report and as people read it: differences of many runs told as one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from automata import __version__
from automata.report.diagnostics import paint, plural, visible

ReplayFormat = Literal["human", "json"]
FORMATS: tuple[ReplayFormat, ...] = ("human", "json")

VERSION = 1
KINDS = ("status", "error", "outputs", "write", "read", "step")
FAILING = frozenset({"status", "error", "outputs", "write"})
MAX_GROUPS = 50  # that people are shown
MAX_CHARS = 120

_INDEX = re.compile(r"\[\d+\]")
_SEGMENT = re.compile(r"(?<=/)[^/?#\s]*\d[^/?#\s]*")
_WORDS = {"write": "request", "read": "read", "step": "step"}
Runs = Sequence[Mapping[str, Any]]


def replay_report(results: Runs, base: str, head: str, changed: Sequence[str]) -> dict[str, Any]:
    """`results` are sandbox.replay.Replayed as plain data; `changed` the flows that differ between the commits."""
    # They come as processes end; the example of a difference is that of the newest run, and the same with every try.
    results = sorted(results, key=lambda result: result["run"], reverse=True)
    usable = [result for result in results if not result["reason"]]
    groups = _groups(usable, "differences")
    uncovered = _uncovered(usable)
    failing = any(result["fails"] for result in (*groups, *uncovered))
    differing = sum(bool(result["differences"] or result["uncovered"]) for result in usable)
    return {
        "version": VERSION,
        "tool": {"name": "automata", "version": __version__},
        "ok": not failing and (bool(usable) or not changed),
        "base": base,
        "head": head,
        "flows": list(changed),
        "summary": {
            "recorded": len(results),
            "replayed": len(usable),
            "unusable": len(results) - len(usable),
            "differing": differing,
            "noise": sum(len(result["noise"]) for result in usable),
        },
        "differences": groups,
        "uncovered": uncovered,
        "noise": _groups(usable, "noise"),
        "unusable": _unusable(results),
    }


def render_replay(report: Mapping[str, Any], form: ReplayFormat, *, colour: bool = False) -> str:
    """Text that ends with a line break."""
    if form == "json":
        return json.dumps(report, indent=2, ensure_ascii=False, default=str) + "\n"
    lines = [*replay_lines(report, colour), replay_summary(report)]
    return "\n".join(lines) + "\n"


def replay_lines(report: Mapping[str, Any], colour: bool = False) -> list[str]:
    """What is wrong, the gravest first, then what is only told."""
    lines = []
    for group in report["uncovered"]:
        shade = "error" if group["fails"] else "warning"
        what = paint(shade, "uncovered", colour)
        lines.append(f"{what}  {_share(group)}  {visible(group['flow'])}: {visible(group['place'])} was never recorded")
    for group in report["differences"][:MAX_GROUPS]:
        shade = "error" if group["fails"] else "warning"
        what = paint(shade, group["kind"].ljust(9), colour)
        change = f"{_value(group['before'])} → {_value(group['after'])}"
        lines.append(f"{what}  {_share(group)}  {visible(group['flow'])}: {visible(group['place'])} {change}")
    if more := len(report["differences"]) - MAX_GROUPS:
        lines += [f"… and {more:,} more"] if more > 0 else []
    lines += [
        f"{paint('faint', 'not used ', colour)}  {_share(group)}  {visible(group['flow'])}: {visible(group['reason'])}"
        for group in report["unusable"]
    ]
    return lines


def replay_summary(report: Mapping[str, Any]) -> str:
    """One sentence."""
    summary = report["summary"]
    if not report["flows"]:
        return "No flow changed: there is nothing to replay."
    if not summary["replayed"]:
        why = "none of them could be used" if summary["recorded"] else "there are none"
        return f"No evidence: {plural(summary['recorded'], 'recorded run')}; {why}."
    noise = f", {plural(summary['noise'], 'difference')} of the base to itself ignored as noise"
    verdict = "no difference" if not summary["differing"] else f"{summary['differing']:,} differ"
    return f"{plural(summary['replayed'], 'recorded run')} replayed: {verdict}{noise if summary['noise'] else ''}."


def _share(group: Mapping[str, Any]) -> str:
    return f"{group['runs']:,} of {plural(group['of'], 'run')}"


def _value(value: Any) -> str:
    text = value if value in ("(nothing)", "(no body)") else json.dumps(value, ensure_ascii=False, default=str)
    return visible(text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…")


# --- many runs as one ----------------------------------------------------------------------------------------------


def _groups(runs: Runs, key: str) -> list[dict[str, Any]]:
    """One entry for each kind of difference at a place; the example is that of the first run."""
    totals = _totals(runs)
    groups: dict[tuple[str, str, str], dict[str, Any]] = {}
    for run in runs:
        seen = set()
        for difference in run[key]:
            group = (run["flow"], difference["kind"], _general(difference["place"]))
            entry = groups.setdefault(group, _entry(run, difference, totals))
            entry["runs"] += group not in seen
            seen.add(group)
    return sorted(
        groups.values(), key=lambda group: (KINDS.index(group["kind"]), -group["runs"], group["flow"], group["place"])
    )


def _entry(run: Mapping[str, Any], difference: Mapping[str, Any], totals: Mapping[str, int]) -> dict[str, Any]:
    return {
        "flow": run["flow"],
        "kind": difference["kind"],
        "place": _general(difference["place"]),
        "runs": 0,
        "of": totals[run["flow"]],
        "before": difference["before"],
        "after": difference["after"],
        "example": run["run"],
        "fails": difference["kind"] in FAILING,
    }


def _general(place: str) -> str:
    """Items of lists, and what looks like an id in an address, are one place."""
    return _INDEX.sub("[*]", _SEGMENT.sub("*", place, count=0) if "://" in place else place)


def _uncovered(runs: Runs) -> list[dict[str, Any]]:
    totals = _totals(runs)
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for run in runs:
        places = {}
        for request in run["uncovered"]:
            places[_general(f"{request['method']} {request['url']} (step {request['step']})")] = request
        for place, request in places.items():
            fails = request["method"] not in ("GET", "HEAD", "OPTIONS")
            empty = {"flow": run["flow"], "place": place, "runs": 0, "of": totals[run["flow"]], "fails": fails}
            entry = groups.setdefault((run["flow"], place), {**empty, "example": run["run"], "body": request["body"]})
            entry["runs"] += 1
    return sorted(
        groups.values(), key=lambda group: (not group["fails"], -group["runs"], group["flow"], group["place"])
    )


def _unusable(results: Runs) -> list[dict[str, Any]]:
    totals = _totals(results)
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for run in results:
        if run["reason"]:
            key = (run["flow"], _general(run["reason"]))
            empty = {"flow": run["flow"], "reason": key[1], "runs": 0, "of": totals[run["flow"]], "example": run["run"]}
            groups.setdefault(key, empty)["runs"] += 1
    return list(groups.values())


def _totals(runs: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for run in runs:
        totals[run["flow"]] = totals.get(run["flow"], 0) + 1
    return totals
