"""What a change of a project would mean, as one versioned JSON report and as people read it: the worst flow first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

from automata import __version__
from automata.engine.schedule import next_times
from automata.flow.changes import CLASSES, Change, changes
from automata.flow.model import FlowContent, Schedule
from automata.flow.subflows import called_flows
from automata.git.names import short_sha
from automata.report.diagnostics import paint, plural, visible
from automata.report.graph import graph

PlanFormat = Literal["human", "json"]
FORMATS: tuple[PlanFormat, ...] = ("human", "json")

VERSION = 1
FIRES = 5
_COLOUR = {"breaking": "error", "security": "error", "behaviour": "warning", "neutral": "faint"}


def plan_report(
    before: Mapping[str, FlowContent],
    after: Mapping[str, FlowContent],
    base: str,
    head: str,
    now: datetime,
    hanging: Mapping[str, Mapping[str, Any]] | None = None,
    policy: Sequence[tuple[str, Change]] = (),
) -> dict[str, Any]:
    """`before` and `after`: flows by name, (spec, variables). Renames are a flow that is gone and one that is new.

    `policy`: what differs beside the flows, with the file that says so. `hanging`: {active_runs, dead_letters,
    schedules} of each flow that runs now; None when nobody was asked.
    """
    flows = [_flow(name, before, after, now) for name in sorted(before.keys() | after.keys())]
    changed = sorted((flow for flow in flows if flow), key=lambda flow: (CLASSES.index(flow["class"]), flow["flow"]))
    for flow in changed if hanging is not None else ():
        flow["live"] = (hanging or {}).get(flow["flow"])
    rows = [{**asdict(change), "file": file} for file, change in policy]
    kinds = [item["kind"] for item in (*rows, *(item for flow in changed for item in flow["changes"]))]
    return {
        "version": VERSION,
        "tool": {"name": "automata", "version": __version__},
        "base": base,
        "head": head,
        "summary": {"flows": len(after), "changed": len(changed), **{kind: kinds.count(kind) for kind in CLASSES}},
        "policy": rows,
        "flows": changed,
    }


def render_plan(report: Mapping[str, Any], form: PlanFormat, *, colour: bool = False) -> str:
    """Text that ends with a line break."""
    if form == "json":
        return json.dumps(report, indent=2, ensure_ascii=False, default=str) + "\n"
    lines = plan_lines(report, colour, apart=True)
    lines.append(f"{plan_summary(report)} ({short_sha(report['base'])} → {short_sha(report['head'])})")
    return "\n".join(lines) + "\n"


def plan_lines(report: Mapping[str, Any], colour: bool = False, *, apart: bool = False) -> list[str]:
    """What differs for all flows, then flow by flow, the worst first; `apart` puts an empty line behind each."""
    blocks = [*_policy_blocks(report, colour), *(_block(flow, colour) for flow in report["flows"])]
    return [line for block in blocks for line in [*block, *([""] if apart else ())]]


def plan_summary(report: Mapping[str, Any]) -> str:
    """One line: how many flows changed, and how badly."""
    summary = report["summary"]
    counts = ", ".join(f"{summary[kind]:,} {kind}" for kind in CLASSES if summary[kind])
    if not counts:
        return "Nothing changed"
    flows = f"{plural(summary['changed'], 'flow')} of {summary['flows']:,} changed"
    files = ", ".join(dict.fromkeys(item["file"] for item in report.get("policy", ())))
    parts = [flows] if summary["changed"] or not files else []
    return f"{' and '.join([*parts, *([f'{files} changed'] if files else [])])}: {counts}"


def changes_anything(report: Mapping[str, Any]) -> bool:
    """Whether a flow, or what holds for all flows, differs."""
    return bool(report["flows"] or report.get("policy"))


def _flow(
    name: str, before: Mapping[str, FlowContent], after: Mapping[str, FlowContent], now: datetime
) -> dict[str, Any]:
    """Empty when nothing differs."""
    old, new = before.get(name), after.get(name)
    changed = changes(old and old[0], new and new[0], ((old or ({}, {}))[1], (new or ({}, {}))[1]))
    if not changed:
        return {}
    callers = _callers(name, after)
    if new is None and (left := [caller for caller in callers if _calls(after[caller][0], name)]):
        changed.insert(0, Change("breaking", "callers", f"it is still called, by {', '.join(left)}"))
    return {
        "flow": name,
        "class": changed[0].kind,
        "changes": [asdict(change) for change in changed],
        "callers": callers,
        "schedules": _schedules(changed, now),
        "graph": graph(old and old[0], new and new[0]),
    }


def _calls(spec: Mapping[str, Any], name: str) -> bool:
    return any(called == name for called, _ in called_flows(spec))


def _callers(name: str, flows: Mapping[str, FlowContent]) -> list[str]:
    """Flows that run this one, straight or through others."""
    calls = {caller: {called for called, _ in called_flows(spec)} for caller, (spec, _) in flows.items()}
    callers: set[str] = set()
    reached = {name}
    while more := {caller for caller, called in calls.items() if called & reached} - callers:
        callers |= more
        reached = more
    return sorted(callers - {name})


def _schedules(changed: Sequence[Change], now: datetime) -> list[dict[str, Any]]:
    return [
        {"name": item.path.partition(".")[2], "before": _fires(item.before, now), "after": _fires(item.after, now)}
        for item in changed
        if item.path.startswith("schedules.")
    ]


def _fires(spec: Mapping[str, Any] | None, now: datetime) -> list[str]:
    if spec is None or spec.get("enabled") is False:
        return []
    schedule = Schedule(**{name: spec[name] for name in Schedule.__slots__ if name in spec})
    return [moment.isoformat().replace("+00:00", "Z") for moment in next_times(schedule, now, FIRES)]


def _policy_blocks(report: Mapping[str, Any], colour: bool) -> list[list[str]]:
    changes = report.get("policy", ())
    files = dict.fromkeys(item["file"] for item in changes)
    return [_changes(file, [item for item in changes if item["file"] == file], colour) for file in files]


def _changes(title: str, items: Sequence[Mapping[str, Any]], colour: bool) -> list[str]:
    width = max(len(item["kind"]) for item in items)
    lines = [paint("place", visible(title), colour)]
    for item in items:
        kind = paint(_COLOUR[item["kind"]], item["kind"].ljust(width), colour)
        lines.append(f"  {kind}  {visible(item['message'])}")
    return lines


def _block(flow: Mapping[str, Any], colour: bool) -> list[str]:
    lines = _changes(flow["flow"], flow["changes"], colour)
    width = max(len(item["kind"]) for item in flow["changes"])
    for fires in flow["schedules"]:
        for when in ("before", "after"):
            times = ", ".join(fires[when]) or "never"
            lines.append(f"  {''.ljust(width)}  {visible(fires['name'])} fires {when}: {times}")
    if flow["callers"]:
        lines.append(f"  {''.ljust(width)}  called by {visible(', '.join(flow['callers']))}")
    if text := hanging_words(flow.get("live")):
        lines.append(f"  {''.ljust(width)}  now: {visible(text)}")
    return lines


def hanging_words(live: Mapping[str, Any] | None) -> str:
    """What a change reaches at once: runs keep the version that they began with, what is retried too."""
    if not live:
        return ""
    counted = [(live["active_runs"], "unfinished run"), (live["dead_letters"], "open dead letter")]
    parts = [plural(count, word) for count, word in counted if count]
    for schedule in live["schedules"]:
        when = f"next at {schedule['next_fire_at']}" if schedule["next_fire_at"] else "paused"
        parts.append(f"schedule {schedule['name']} {when}")
    return ", ".join(parts)
