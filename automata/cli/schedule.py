"""`automata schedule`: when flows start by themselves."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from automata.cli.client import Api
from automata.cli.options import ApiUrl, FlowName, Limit, Output
from automata.cli.output import Format, compact, duration, emit, facts, moment, say, say_json, table
from automata.errors import Missing, Usage

app = typer.Typer(no_args_is_help=True, help="See when flows start by themselves.")

ScheduleId = Annotated[str, typer.Argument(metavar="SCHEDULE", help="The schedule's id.", show_default=False)]


@app.command("list", epilog="Example: automata schedule list --flow daily-report")
def list_(
    flow: Annotated[str | None, typer.Option("--flow", help="Only schedules of this flow.")] = None,
    limit: Limit = 1000,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """List the schedules and when each fires next."""
    with Api(api_url) as api:
        schedules = list(api.items("schedules", limit=limit, flow=flow))
    emit({"items": schedules}, output, _schedules_table)


@app.command(epilog="Example: automata schedule show 019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c11")
def show(schedule_id: ScheduleId, output: Output = Format.TABLE, api_url: ApiUrl = None) -> None:
    """Show a schedule and its next five fire times."""
    with Api(api_url) as api:
        emit(api.get("schedules", schedule_id), output, _sheet)


@app.command(epilog="Example: automata schedule create sync-orders nightly --cron '0 2 * * *' -i source_id=crm-1")
def create(
    flow: FlowName,
    name: Annotated[str, typer.Argument(help="The schedule's name, unique in the flow.", show_default=False)],
    cron: Annotated[str | None, typer.Option("--cron", help="Five fields, like '0 7 * * 1-5'.")] = None,
    interval_sec: Annotated[float | None, typer.Option("--interval-sec", help="Every so many seconds.")] = None,
    timezone: Annotated[str, typer.Option("--timezone", help="An IANA zone, for --cron.")] = "UTC",
    inputs: Annotated[
        list[str] | None, typer.Option("--input", "-i", metavar="NAME=VALUE", help="One input of its runs.")
    ] = None,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """Create a schedule that the API owns. Those of flows in Git are written in the flow's file."""
    from automata.cli.run import input_types
    from automata.cli.run_inputs import gather

    with Api(api_url) as api:
        body = {
            "flow": flow,
            "name": name,
            "cron": cron,
            "interval_sec": interval_sec,
            "timezone": timezone,
            "inputs": gather(inputs or [], None, lambda: input_types(api, flow)),
        }
        schedule = api.post("schedules", body={key: value for key, value in body.items() if value is not None})
    emit(schedule, output, _sheet)


@app.command(epilog="Example: automata schedule delete 019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c11")
def delete(schedule_id: ScheduleId, output: Output = Format.TABLE, api_url: ApiUrl = None) -> None:
    """Delete a schedule that the API owns; runs that it started stay."""
    with Api(api_url) as api:
        api.delete("schedules", schedule_id)
    if output is Format.JSON:
        say_json({"deleted": schedule_id})
    else:
        say(f"Deleted schedule {schedule_id}.")


@app.command(epilog="Example: automata schedule pause 019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c11")
def pause(schedule_id: ScheduleId, output: Output = Format.TABLE, api_url: ApiUrl = None) -> None:
    """Switch a schedule off, one of Git too: it stays so until its lines in the file change."""
    with Api(api_url) as api:
        emit(api.post("schedules", schedule_id, "pause"), output, _sheet)


@app.command(epilog="Example: automata schedule resume 019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c11")
def resume(schedule_id: ScheduleId, output: Output = Format.TABLE, api_url: ApiUrl = None) -> None:
    """Switch a schedule on; what would have fired meanwhile is not made up for."""
    with Api(api_url) as api:
        emit(api.post("schedules", schedule_id, "resume"), output, _sheet)


@app.command(epilog="Example: automata schedule trigger 019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c11")
def trigger(schedule_id: ScheduleId, output: Output = Format.TABLE, api_url: ApiUrl = None) -> None:
    """Start a run now, with the schedule's inputs."""
    with Api(api_url) as api:
        run = api.post("schedules", schedule_id, "trigger")
    if output is Format.JSON:
        say_json(run)
    else:
        say(f"Started run {run['id']}.")


def backfill(
    flow: FlowName,
    since: Annotated[str, typer.Option("--from", help="The first moment, like 2026-01-01T00:00:00Z.")],
    until: Annotated[str, typer.Option("--to", help="The moment before which it ends.")],
    schedule: Annotated[
        str | None, typer.Option("--schedule", help="Which schedule of the flow; needed when it has several.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the fire times, start nothing.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="Runs at most.")] = 1000,
    output: Output = Format.TABLE,
    api_url: ApiUrl = None,
) -> None:
    """Start the runs of a schedule's past fire times, each once. What was started before stays as it is."""
    with Api(api_url) as api:
        chosen = _one_schedule(list(api.items("schedules", limit=1000, flow=flow)), flow, schedule)
        total = {"schedule": chosen["id"], "created": 0, "existing": 0, "fires": 0, "next_from": since}
        while total["next_from"] and total["fires"] < limit:
            body = {
                "from": total["next_from"],
                "to": until,
                "limit": min(1000, limit - total["fires"]),
                "dry_run": dry_run,
            }
            answer = api.post("schedules", chosen["id"], "backfill", body=body)
            total["fires"] += len(answer["fires"])
            for name in ("created", "existing"):
                total[name] += answer[name]
            total["next_from"] = answer["next_from"]
            if total["next_from"] and output is Format.TABLE:
                say(f"{total['fires']:,} fire times so far, up to {total['next_from']}", stderr=True)
    if output is Format.JSON:
        say_json(total)
        return
    verb = "would start" if dry_run else f"started {total['created']:,}, {total['existing']:,} were there already, of"
    say(f"{chosen['name']}: {verb} {total['fires']:,} runs.")
    if total["next_from"]:
        say(f"Not all: go on with --from {total['next_from']}.")


def _one_schedule(schedules: list[dict[str, Any]], flow: str, name: str | None) -> dict[str, Any]:
    named = [schedule for schedule in schedules if name in (None, schedule["name"], schedule["id"])]
    if len(named) == 1:
        return named[0]
    names = ", ".join(sorted(schedule["name"] for schedule in schedules)) or "none"
    if named:
        raise Usage(f"The flow {flow} has several schedules: {names}.", hint="Name one with --schedule.")
    raise Missing(f"The flow {flow} has no schedule {name or ''}".rstrip() + ".", hint=f"It has {names}.")


def _schedules_table(data: dict[str, Any]) -> Any:
    rows = (
        (item["id"], item["flow"], item["name"], _rule(item), item["managed_by"], _next(item)) for item in data["items"]
    )
    return table("SCHEDULE", "FLOW", "NAME", "RULE", "FROM", "NEXT", rows=rows)


def _sheet(item: dict[str, Any]) -> Any:
    return facts(
        (
            ("schedule", item["id"]),
            ("flow", item["flow"]),
            ("name", item["name"]),
            ("rule", _rule(item)),
            ("managed by", item["managed_by"]),
            ("inputs", item["inputs"] and compact(item["inputs"])),
            ("catch-up", item["catchup"]),
            ("overlap", item["overlap"]),
            ("last", moment(item["last_fire_at"])),
            ("last error", item["last_error"]),
            ("next", "\n".join(str(moment(stamp)) for stamp in item["next_fires"]) or _next(item)),
        )
    )


def _rule(item: dict[str, Any]) -> str:
    if item["cron"]:
        return f"{item['cron']} {item['timezone']}"
    return f"every {duration(item['interval_sec'])}"


def _next(item: dict[str, Any]) -> str | None:
    if not item["enabled"]:
        return "paused"
    return moment(item["next_fires"][0]) if item["next_fires"] else None
