"""Figures as Markdown: what docs/performance.md shows between its marks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures: made by make bench -->", "<!-- end of figures -->"
TARGETS = {
    "one-step": "6,000 runs/s",
    "chain": "12,000 steps/s",
    "pure": "30,000 steps/s",
    "fan-out": "0.2 s",
    "wide": "2 s",
    "idle": "p50 4 ms, p95 8 ms",
    "idle-ten": "p50 12 ms",
}
UNITS = tuple(f"{name} a step" for name in ("statements", "row writes", "commits", "WAL bytes", "CPU ms"))


def write(report: Mapping[str, Any], page: Path | None) -> str:
    """The tables; also put into `page`, when there is one."""
    text = "\n".join(_lines(report))
    if page:
        before, rest = page.read_text(encoding="utf-8").split(BEGIN)
        page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
    return text


def _lines(report: Mapping[str, Any]) -> list[str]:
    machine = report["machine"]
    how = "a quick run, a tenth of the work" if report["quick"] else "medians"
    turns = f"{how} of {report['repeat']} turns, lowest and highest beside"
    head = f"{machine['cores']} cores, {machine['memory_gib']} GiB; {turns}."
    return [head, "", *_ours(report), "", *_against(report), "", *_edges(report), *_failed(report)]


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _head(*names: str) -> list[str]:
    return [_row(*names), _row(*("---" for _ in names))]


def _ours(report: Mapping[str, Any]) -> list[str]:
    lines = _head("workload", "runs/s", "steps/s", "seconds", "p50 / p95 / p99 ms", "target", "to pgbench", *UNITS)
    for name, target in TARGETS.items():
        one = report.get(name)
        if not one or "failed" in one:
            continue
        cost, seconds = one["per_step"], one["seconds"]
        late = f"{one['p50_ms']} / {one['p95_ms']} / {one['p99_ms']}" if "p50_ms" in one else ""
        took = f"{seconds['median']:.2f} ({seconds['min']:.2f}-{seconds['max']:.2f})"
        ratio = one["steps_per_sec"]["median"] / one["probe_per_sec"]
        spent = (f"{cost['statements']:.2f}", f"{cost['row_writes']:.2f}", f"{cost['commits']:.2f}")
        cpu = 1000 * (cost["server_cpu_sec"] + cost["postgres_cpu_sec"])
        rates = (f"{one['runs_per_sec']['median']:,.0f}", f"{one['steps_per_sec']['median']:,.0f}")
        bytes_ = f"{cost['wal_bytes']:,.0f}"
        lines.append(_row(one["title"], *rates, took, late, target, f"{ratio:.2f}", *spent, bytes_, f"{cpu:.2f}"))
    return lines


def _against(report: Mapping[str, Any]) -> list[str]:
    found = report.get("peers")
    if not found or "failed" in found:
        return ["The peers were not measured."]
    names = ("peer", "runs/s", "to pgbench", "p50 ms", "Automata is ahead by")
    lines = _head(
        *names, "statements a step", "row writes a step", "commits a step", "WAL bytes a step", "CPU ms a step"
    )
    for name, one in found.items():
        cost, rates = one["per_step"], one["runs_per_sec"]
        shown = f"{rates['median']:,.0f} ({rates['min']:,.0f}-{rates['max']:,.0f})"
        p50 = f"{one['p50_ms']:.1f}" if one["p50_ms"] else ""
        spent = (f"{cost['statements']:.2f}", f"{cost['row_writes']:.2f}", f"{cost['commits']:.2f}")
        tail = (*spent, f"{cost['wal_bytes']:,.0f}", f"{cost['cpu_ms']:.2f}")
        ratio = f"{rates['median'] / one['probe_per_sec']:.3f}"
        lines.append(_row(name, shown, ratio, p50, _ahead(report, name.split()[1], one), *tail))
    return lines


def _ahead(report: Mapping[str, Any], work: str, peer: Mapping[str, Any]) -> str:
    """Both as ratios to the probe of their own minute; latencies as they are."""
    ours = report.get(work)
    if not ours or "failed" in ours:
        return ""
    if peer["p50_ms"]:
        return f"{peer['p50_ms'] / ours['p50_ms']:.1f} times"
    mine = ours["runs_per_sec"]["median"] / ours["probe_per_sec"]
    return f"{mine / (peer['runs_per_sec']['median'] / peer['probe_per_sec']):.1f} times"


def _edges(report: Mapping[str, Any]) -> list[str]:
    lines = _head("what", "measured", "target")
    good = {name: one for name, one in report.items() if isinstance(one, dict) and "failed" not in one}

    def say(name: str, what: str, shown: str, target: str) -> None:
        if one := good.get(name):
            lines.append(_row(what.format(**one), shown.format(**one), target))

    rate = "{runs_per_sec[median]:,.0f} runs/s, {in_flight[median]:.0f} under way on average"
    say("calls", "`http` steps that take 50 ms", rate, "2,500 runs/s, 125 under way")
    single = "{single_per_sec[median]:,.0f}/s, p99 {single_p99_ms[median]:.0f} ms"
    say("intake", "starts over REST, one API process", single, "1,000/s, p99 50 ms")
    say("intake", "the same, 1,000 a request", "{batch_per_sec[median]:,.0f} runs/s", "10,000 runs/s")
    late = "p50 {p50_sec:.3f} s, p95 {p95_sec:.3f} s ({fired} fired)"
    say("schedule", "lateness of one schedule", late, "p50 10 ms")
    say("schedules", "lateness of many that are due in one second", late, "p95 150 ms")
    fair = "{idle_p50_ms:.1f} ms idle, {busy_p50_ms:.1f} ms behind a crowd ({before:,.0f} to {left:,.0f} rows waited)"
    say("fairness", "a single run beside a crowd of another flow's no-ops, the processor full", fair, "2 times idle")
    say("fairness-waiting", "the same, the crowd's calls take a second, all slots full", fair, "2 times idle")
    say("start", "`automata up` to the first finished run", "{seconds[median]:.2f} s", "2 s")
    say("first-start", "the same with the embedded database's first start", "{seconds[median]:.2f} s", "3 s")
    say("start", "memory of that process, idle", "{rss_mib[median]:.0f} MiB", "100 MiB")
    say("past", "steps/s beside {large[past]:,} finished runs, to those beside {small[past]:,}", "{ratio:.2f}", "1")
    say("past", "a claim beside them", "{statements[large][claim][ms]:.2f} ms ({statements[small][claim][ms]:.2f})", "")
    lists = "{large[list_ms][newest runs]:.1f} ms ({small[list_ms][newest runs]:.1f})"
    say("past", "the list of runs over REST beside them", lists, "")
    say("past", "disk a step of a chain of ten, with its share of the run", "{disk_bytes_a_step:,.0f} bytes", "")
    if pages := good.get("console", {}).get("pages"):
        slowest = max(pages, key=lambda name: pages[name]["median_ms"])
        shown = f"{pages[slowest]['median_ms']:.0f} ms ({slowest})"
        lines.append(_row(f"slowest page of the console, {good['console']['runs']:,} runs", shown, ""))
    for name, seconds in good.get("repository", {}).get("seconds", {}).items():
        lines.append(_row(f"{report['repository']['flows']:,} flows: {name}", f"{seconds:.2f} s", ""))
    return lines


def _failed(report: Mapping[str, Any]) -> list[str]:
    broken = {name: one["failed"] for name, one in report.items() if isinstance(one, dict) and "failed" in one}
    return ["", *(f"- `{name}` failed: {why}" for name, why in broken.items())] if broken else []
