"""A check as the comment of a pull request: the verdict, then what is wrong, then each changed flow with its picture.

Everything in it may come from whoever opened the pull request, so it is quoted: no mention, link, image or HTML of
theirs works in the comment. A forge takes 65,536 characters; what does not fit is left out from the end, which is the
least grave, and said so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from automata.git.names import short_sha
from automata.report.diagnostics import plural, visible
from automata.report.graph import mermaid
from automata.report.replay import replay_lines
from automata.report.tests import failure_lines

MARKER = "<!-- automata check -->"  # how the comment is found again
MAX_CHARS = 60_000
MAX_LINES = 40

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&@$:-])")
_SIGNS = {"passed": "✅", "failed": "❌", "empty": "❌", "skipped": "⏭️"}

Report = Mapping[str, Any]


def markdown(report: Report) -> str:
    """Text that ends with a line break, at most MAX_CHARS characters long."""
    blocks = [_head(report), *_stages(report), *_flows(report)]
    kept: list[str] = []
    room = MAX_CHARS - 200
    for number, block in enumerate(blocks):
        if len(block) > room:
            kept.append(f"_{plural(len(blocks) - number, 'part')} more did not fit; the JSON report has everything._")
            break
        kept.append(block)
        room -= len(block) + 2
    return "\n\n".join(kept) + "\n"


def quoted(text: str) -> str:
    """Text that means nothing to Markdown."""
    return _SPECIAL.sub(r"\\\1", visible(text)).replace("\n", " ")


def _fenced(lines: list[str], kind: str = "") -> str:
    most = MAX_LINES if not kind else len(lines)
    text = "\n".join(visible(line) for line in lines[:most])
    more = len(lines) - most
    if more > 0:
        text += f"\n… and {plural(more, 'more line')}"
    # A fence longer than any run of backticks inside cannot be closed from inside.
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{ticks}{kind}\n{text}\n{ticks}"


def _head(report: Report) -> str:
    verdict = "✅ **Passed**" if report["ok"] else f"❌ **Refused** by {', '.join(report['failed'])}"
    rows = [
        f"| {_sign(stage)} | {stage['name']} | {quoted(stage['summary'])} | {stage['took_sec']:.1f} s |"
        for stage in report["stages"]
    ]
    commits = (
        f"`{short_sha(report['base'])}` → `{short_sha(report['head'])}`, environment {quoted(report['environment'])}"
    )
    return "\n".join([MARKER, f"### Automata: {verdict}", "", commits, "", "| | | | |", "|-|-|-|-|", *rows])


def _sign(stage: Mapping[str, Any]) -> str:
    return "⚠️" if stage["state"] in ("failed", "empty") and not stage["required"] else _SIGNS[stage["state"]]


def _stages(report: Report) -> Iterator[str]:
    for stage in report["stages"]:
        result = stage["report"] or {}
        lines = []
        if stage["name"] in ("validate", "test"):
            lines += [f"{item['file']}:{item['line']}: {item['code']} {item['message']}" for item in _wrong(result)]
        for case in result.get("cases", ()):
            lines += [] if case["passed"] else failure_lines(case)
        if stage["name"] == "replay" and result:
            lines += replay_lines(result)
        if lines:
            yield f"**{stage['name']}**\n\n{_fenced(lines)}"


def _wrong(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [item for item in report.get("diagnostics", ()) if item["severity"] == "error"]


def _flows(report: Report) -> Iterator[str]:
    """What holds for all flows, then the worst flow first, as the plan has them."""
    for stage in report["stages"]:
        result = (stage["report"] or {}) if stage["name"] == "plan" else {}
        if policy := result.get("policy"):
            yield _policy(policy)
        for flow in result.get("flows", ()):
            yield "\n\n".join(_flow(flow))


def _policy(told: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"- **{item['kind']}** {quoted(item['file'])}: {quoted(item['message'])}" for item in told[:MAX_LINES]]
    more = [f"- and {plural(len(told) - MAX_LINES, 'more change')}"] if len(told) > MAX_LINES else []
    return "\n".join(["#### What holds for every flow", "", *lines, *more])


def _flow(flow: Mapping[str, Any]) -> Iterator[str]:
    yield f"#### {quoted(flow['flow'])}: {flow['class']}"
    yield "\n".join(f"- **{item['kind']}** {quoted(item['message'])}" for item in flow["changes"][:MAX_LINES])
    for fires in flow["schedules"]:
        times = " ".join(f"**{when}** {', '.join(fires[when]) or 'never'}" for when in ("before", "after"))
        yield f"{quoted(fires['name'])} fires {times}"
    if flow["callers"]:
        yield f"Called by {', '.join(quoted(name) for name in flow['callers'])}"
    if picture := mermaid(flow.get("graph") or {"nodes": []}):
        yield f"<details><summary>The flow</summary>\n\n{_fenced(picture.split(chr(10)), 'mermaid')}\n\n</details>"
