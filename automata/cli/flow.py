"""`automata flow`: which flows there are, what they do, and where each version came from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from automata.cli.client import Api
from automata.cli.options import ApiUrl, FlowVersion, Limit, Output
from automata.cli.output import Format, compact, emit, facts, moment, table
from automata.cli.provenance import lines_of
from automata.git.names import short_sha

app = typer.Typer(no_args_is_help=True, help="See the flows, and where each version came from.")


Name = Annotated[str, typer.Argument(metavar="FLOW", help="The flow's name or id.", show_default=False)]


@app.command("list", epilog="Example: automata flow list --search order")
def list_(
    search: Annotated[str | None, typer.Option("--search", help="Only flows with this in their name.")] = None,
    label: Annotated[
        str | None, typer.Option("--label", metavar="KEY=VALUE", help="Only flows with this label.")
    ] = None,
    archived: Annotated[bool, typer.Option("--archived", help="Also those that left the repository.")] = False,
    limit: Limit = 1000,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """List the flows by name."""
    with Api(api_url) as api:
        flows = list(api.items("flows", limit=limit, search=search, label=label, archived="any" if archived else None))
    emit({"items": flows}, output, _flows_table)


@app.command(epilog="Example: automata flow show sync-orders --version 2")
def show(
    name: Name,
    version: FlowVersion = None,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """Show a flow: its inputs and steps, and which commit its version came from."""
    with Api(api_url) as api:
        flow = api.get("flows", name)
        number = version if version is not None else flow["version"]
        chosen = api.get("flows", name, "versions", str(number)) if number is not None else None
    emit({**flow, "shown": chosen}, output, lambda _: _sheet(flow, chosen))


@app.command(epilog="Example: automata flow versions sync-orders")
def versions(
    name: Name,
    limit: Limit = 50,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """List a flow's versions, the newest first."""
    with Api(api_url) as api:
        items = list(api.items("flows", name, "versions", limit=limit))
    emit({"items": items}, output, _versions_table)


def _flows_table(data: dict[str, Any]) -> Any:
    rows = (
        (
            flow["name"],
            flow["version"],
            "archived" if flow["archived_at"] else flow["managed_by"],
            _labels(flow["labels"]),
            moment(flow["updated_at"]),
            flow["description"],
        )
        for flow in data["items"]
    )
    return table("FLOW", "VERSION", "FROM", "LABELS", "UPDATED", "DESCRIPTION", rows=rows)


def _versions_table(data: dict[str, Any]) -> Any:
    rows = (
        (item["number"], _commit(item), item["author"], *_proved(item), moment(item["created_at"]), item["message"])
        for item in data["items"]
    )
    columns = ("VERSION", "COMMIT", "AUTHOR", "PROPOSAL", "CHECK", "APPROVED BY", "CREATED", "MESSAGE")
    return table(*columns, rows=rows)


def _sheet(flow: dict[str, Any], version: dict[str, Any] | None) -> Any:
    from rich.console import Group
    from rich.text import Text

    head = facts(
        (
            ("flow", flow["name"]),
            ("", flow["description"]),
            ("managed by", flow["managed_by"]),
            ("archived", moment(flow["archived_at"])),
            ("labels", _labels(flow["labels"])),
        )
    )
    if version is None:
        return head
    origin = facts(
        (
            ("version", version["number"]),
            ("commit", _commit(version)),
            ("file", version["path"]),
            ("author", version["author"]),
            ("message", version["message"]),
            ("created", moment(version["created_at"])),
            *lines_of(version["provenance"]),
        )
    )
    spec = version["spec"]
    parts: list[Any] = [head, origin]
    if spec.get("inputs"):
        parts += [Text(), _inputs_table(spec["inputs"])]
    parts += [Text(), _steps_table(spec)]
    if spec.get("webhooks"):
        parts += [Text(), _webhooks_table(flow["name"], spec["webhooks"])]
    return Group(*parts)


def _inputs_table(inputs: dict[str, Any]) -> Any:
    rows = (
        (
            name,
            item.get("type", "string"),
            "required" if item.get("required") else "",
            compact(item["default"]) if "default" in item else "",
            item.get("description", ""),
        )
        for name, item in inputs.items()
    )
    return table("INPUT", "TYPE", "", "DEFAULT", "DESCRIPTION", rows=rows)


def _steps_table(spec: dict[str, Any]) -> Any:
    failure = spec.get("on_failure")
    rows = [
        (label, step["type"], ", ".join(step.get("depends_on", ())), str(step.get("condition", "")))
        for label, step in _outline(spec["steps"], 0)
    ]
    if failure:
        rows.append((failure["id"], failure["type"], "a failure", ""))
    return table("STEP", "TYPE", "AFTER", "CONDITION", rows=rows)


def _webhooks_table(flow: str, webhooks: list[dict[str, Any]]) -> Any:
    rows = (
        (
            webhook["name"],
            f"/api/v1/hooks/{flow}/{webhook['name']}",
            webhook["secret"],
            "" if webhook.get("enabled", True) else "not enabled",
        )
        for webhook in webhooks
    )
    return table("WEBHOOK", "ADDRESS", "SECRET", "", rows=rows)


def _outline(steps: list[dict[str, Any]], depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every step with its id, indented under its parallel and branch."""
    for step in steps:
        yield "  " * depth + step["id"], step
        for branch in step.get("branches", ()):
            yield "  " * (depth + 1) + branch["id"], {"type": "branch"}
            yield from _outline(branch["steps"], depth + 2)


def _labels(labels: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())


def _commit(version: dict[str, Any]) -> str | None:
    return short_sha(version["commit_sha"]) if version["commit_sha"] else None


def _proved(version: dict[str, Any]) -> tuple[str, str, str]:
    """Proposal (or how it came without one), check, and who approved it."""
    chain = version["provenance"]
    if not chain["proposal"]:
        return chain["origin"], "", ""
    check = chain["check"]
    verdict = "none" if check is None else "passed" if check["passed"] else "failed"
    return str(chain["proposal"]["number"]), verdict, ", ".join(approval["by"] for approval in chain["approvals"])
