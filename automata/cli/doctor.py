"""`automata doctor`: looks at everything that Automata leans on, and says what to do about what is wrong."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from automata.cli.doctor_findings import Finding, State, checked, told_once, wrong, wrong_setting
from automata.cli.doctor_settings import settings_findings
from automata.cli.options import Output
from automata.cli.output import Format, emit, table
from automata.errors import AutomataError, Usage
from automata.settings import Settings, load

if TYPE_CHECKING:
    from automata.project.source import Source
    from automata.store.database import Database
    from automata.store.diagnostics import ServerStatus

BROKER_SEC: Final = 6.0
CLOCK_MS: Final = 1_000.0
CONNECTIONS_FULL: Final = 0.8
OLD_TRANSACTION_SEC: Final = 600.0
FROZEN_AGE: Final = 1_500_000_000  # PostgreSQL refuses to write at about 2,100,000,000
DISK_LOW, DISK_OUT = 2 * 2**30, 256 * 2**20
MAX_SECRETS: Final = 200
MARKS: Final = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}


def doctor(output: Output = Format.TABLE) -> None:
    """Check database, broker, Git source, clocks, disk, secrets and processes, and say what to do.

    Uses the settings and secrets of this shell: run it where a worker runs. Exits 0 when nothing failed (warnings
    may be left), 3 when a setting is wrong, 4 when something is not reachable or not fit.
    """
    from automata.telemetry import configure_logs

    configure_logs("error")
    findings = _findings()
    failed = [finding for finding in findings if finding.state == "failed"]
    emit({"ok": not failed, "checks": [_json(finding) for finding in findings]}, output, lambda _: _table(findings))
    if failed:
        raise typer.Exit(min(finding.exit_code for finding in failed))


def _findings() -> list[Finding]:
    try:
        settings = load()
    except AutomataError as error:  # without settings there is nothing to look at
        return [wrong_setting("settings", error)]
    return asyncio.run(_examine(settings))


def _json(finding: Finding) -> dict[str, Any]:
    return {name: value for name, value in asdict(finding).items() if name != "exit_code"}


def _table(findings: list[Finding]) -> Any:
    from rich.text import Text

    rows = (
        (finding.check, Text(finding.state, MARKS[finding.state]), finding.found, finding.todo) for finding in findings
    )
    return table("CHECK", "STATE", "FOUND", "WHAT TO DO", rows=rows)


async def _examine(settings: Settings) -> list[Finding]:
    from automata.cli.database import database

    findings = settings_findings(settings)
    named: list[str] = []
    try:
        with database(settings) as url:
            findings += await checked("database", lambda: _database(settings, url, named))
    except AutomataError as error:
        findings.append(wrong("database", error))
    findings += await checked("secrets", lambda: _secrets(named))
    findings += await checked("broker", lambda: _broker(settings))
    findings += await checked("git", lambda: _git(settings))
    findings += await checked("disk", lambda: asyncio.to_thread(_disk, settings))
    return told_once(findings)


# -- the database, and what only it knows ------------------------------------------------------------------------


async def _database(settings: Settings, url: str, named: list[str]) -> list[Finding]:
    """`named` gets the secrets that flows name."""
    from automata.store import migrate
    from automata.store.database import Database
    from automata.store.diagnostics import named_secrets, read_server

    direct = settings.database_direct_url
    async with await Database.open(url, max_size=1, name="automata doctor", migrated=False, direct_url=direct) as db:
        async with db.connection() as conn:
            server = await read_server(conn)
        findings = [*_server(server), _connections(server, settings), *await _troubles(db)]
        missing = await asyncio.to_thread(migrate.pending, url)
        if missing:
            words = f"{', '.join(missing)} missing"
            return [*findings, Finding("migrations", "failed", words, "Run `automata migrate`.")]
        findings.append(_migrations(await asyncio.to_thread(migrate.current, url)))
        if any(finding.check == "fitness" for finding in findings):
            return findings  # the rest needs what is missing
        async with db.connection() as conn:
            named += (await named_secrets(conn))[:MAX_SECRETS]
        return [*findings, *await _clocks(db), *await _processes(db)]


async def _troubles(db: Database) -> list[Finding]:
    from automata.store.readiness import find_troubles

    return [Finding("fitness", "failed", trouble.what, trouble.hint) for trouble in await find_troubles(db)]


def _server(server: ServerStatus) -> Iterator[Finding]:
    where = f"PostgreSQL {server.version}, {_size(server.size)}"
    todo = "Let AUTOMATA_DATABASE_URL name the primary."
    yield (
        Finding("database", "failed", f"{where}: a standby", todo)
        if server.standby
        else Finding("database", "ok", where)
    )
    if server.encoding != "UTF8":
        yield Finding("encoding", "failed", server.encoding, "Make the database anew with ENCODING 'UTF8'.")
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        if getattr(server, name) == "off":
            yield Finding(
                name, "failed", "off: what was accepted may be lost in a crash", f"Set {name} to on in postgresql.conf."
            )
    if server.autovacuum == "off":
        yield Finding("autovacuum", "failed", "off: the queue slows down without it", "Set autovacuum to on.")
    if server.oldest_transaction_sec > OLD_TRANSACTION_SEC:
        words = f"open for {server.oldest_transaction_sec:.0f} s; nothing that was deleted since can be cleaned up"
        yield Finding("oldest transaction", "warning", words, "End it: see pg_stat_activity, by xact_start.")
    if not server.sees_others:
        words = "this role does not see what other roles' sessions do: whether one holds up cleaning is unknown"
        yield Finding("oldest transaction", "warning", words, "GRANT pg_read_all_stats TO this role.")
    if server.frozen_age > FROZEN_AGE:
        words = f"{server.frozen_age:,} transactions old"
        yield Finding("wraparound", "failed", words, "Run VACUUM (FREEZE), and see why autovacuum does not keep up.")


def _connections(server: ServerStatus, settings: Settings) -> Finding:
    words = f"{server.connections} of {server.max_connections} in use; a process opens up to {settings.pool_size} + 2"
    if server.connections > CONNECTIONS_FULL * server.max_connections:
        todo = "Raise max_connections, or lower AUTOMATA_POOL_SIZE."
        return Finding("connections", "warning", words, todo)
    return Finding("connections", "ok", words)


def _migrations(revision: str | None) -> Finding:
    from automata.store import migrate

    if revision and revision > migrate.revisions()[-1]:
        words = f"at {revision}, later than this version knows ({migrate.revisions()[-1]})"
        return Finding("migrations", "warning", words, "Fine in the middle of an upgrade; else install the newer one.")
    return Finding("migrations", "ok", f"at {revision}")


async def _clocks(db: Database) -> list[Finding]:
    from automata.store.processes import clock_ahead_ms, list_processes

    async with db.connection() as conn:
        await clock_ahead_ms(conn)  # the first statement pays for its plan
        here = await clock_ahead_ms(conn)
        others = [process for process in await list_processes(conn) if process.alive]
    clocks = {"here": here, **{process.name: process.clock_ms for process in others}}
    wrong = {name: ms for name, ms in clocks.items() if abs(ms) > CLOCK_MS}
    if wrong:
        words = ", ".join(f"{name}: {ms / 1000:+.1f} s" for name, ms in wrong.items())
        todo = "Set the clocks by NTP: signatures of webhooks and times in logs depend on them."
        return [Finding("clock", "warning", f"away from the database's: {words}", todo)]
    return [Finding("clock", "ok", f"{here:+.0f} ms from the database's; {len(others)} processes agree")]


async def _processes(db: Database) -> list[Finding]:
    from automata.store.processes import list_processes

    async with db.connection() as conn:
        alive = [process for process in await list_processes(conn) if process.alive]
    parts = {part for process in alive for part in process.parts}
    words = (
        ", ".join(f"{sum(part in process.parts for process in alive)} {part}" for part in sorted(parts)) or "none is up"
    )
    versions = sorted({process.version for process in alive})
    if len(versions) > 1:
        words += f"; versions {', '.join(versions)}"
    if missing := [part for part in ("api", "scheduler", "orchestrator", "worker") if part not in parts]:
        todo = f"Start {', '.join(f'`automata {part}`' for part in missing)}, or all in one: `automata up`."
        return [Finding("processes", "warning", words, todo)]
    if len(versions) > 1:
        return [Finding("processes", "warning", words, "Fine in the middle of an upgrade; else upgrade the others.")]
    return [Finding("processes", "ok", words)]


async def _secrets(named: list[str]) -> list[Finding]:
    from automata.steps.secrets import FOLDER, open_secrets
    from automata.steps.vault import vault_of

    try:
        secrets = open_secrets()
        try:
            known = await secrets.read(named)
        finally:
            await secrets.close()
        if not named and (vault := vault_of(os.environ)):  # nothing was read of it
            try:
                await vault.probe()
            finally:
                await vault.close()
    except AutomataError as error:
        todo = "Look whether Vault answers at AUTOMATA_VAULT_ADDR; steps that need a secret fail meanwhile."
        return [wrong("secrets", error, todo)]
    folder = os.environ.get(FOLDER) or None
    if folder is not None and await asyncio.to_thread(_is_open, folder):
        todo = f"Take the rights of others away: chmod o-rwx {folder}"
        return [Finding("secrets", "warning", f"everybody on this machine may enter {folder}", todo)]
    if missing := [name for name in named if name not in known]:
        todo = "Give them to the workers (docs/secrets.md), or run this where a worker runs."
        return [Finding("secrets", "warning", f"named and not found here: {', '.join(missing)}", todo)]
    return [Finding("secrets", "ok", f"all {len(named)} that flows name are found")]


# -- what is beside the database ---------------------------------------------------------------------------------


async def _broker(settings: Settings) -> list[Finding]:
    if not settings.amqp_url:
        return [Finding("broker", "ok", "none configured: processes ring through PostgreSQL")]
    from automata.broker.contract import RUNS_FINISHED
    from automata.broker.rabbitmq import RabbitBroker

    broker = RabbitBroker(settings.amqp_url)
    try:
        # One that everybody hears: a listener of work would take messages away from those who do it.
        with broker.listen(RUNS_FINISHED):
            until = asyncio.get_running_loop().time() + BROKER_SEC
            while not broker.state().connected and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            state = broker.state()
    finally:
        await broker.close()
    if state.connected:
        return [Finding("broker", "ok", "RabbitMQ answers")]
    todo = "Look at AUTOMATA_AMQP_URL and the server; meanwhile runs go on, found by polling."
    return [Finding("broker", "failed", f"RabbitMQ cannot be used: {state.detail or 'no answer'}", todo)]


async def _git(settings: Settings) -> list[Finding]:
    if not settings.repo and not settings.sources:
        return [Finding("git", "skipped", "no source", "AUTOMATA_REPO names the flows repository to check.")]
    from automata.project.source import source_of, sources_of

    branch = os.environ.get("AUTOMATA_BRANCH")
    sources = sources_of(settings) if settings.sources else [source_of(settings, branch)]
    findings: list[Finding] = []
    for source in sources:
        findings += await checked("git", lambda source=source: asyncio.to_thread(_source, source))  # type: ignore[misc]
    return findings


def _source(source: Source) -> list[Finding]:
    """Its branch, and its environment there. Raises what a sync would."""
    from automata.project.manifest import read_environment, read_project
    from automata.project.source import choose_branch, look

    mirror = source.open()
    mirror.fetch()
    commit = mirror.resolve(choose_branch(mirror, source))
    tree = look(mirror, source, commit)
    project, wrong_project = read_project(tree)
    _, wrong_environment = read_environment(tree, project, source.environment)
    words = f"{source.name} at {commit[:12]} for {source.environment}"
    if problems := [item for item in (*wrong_project, *wrong_environment) if item.severity == "error"]:
        todo = "Correct it in Git; `automata validate` has all of it."
        return [Finding("git", "failed", f"{words}: {problems[0]}", todo, Usage.exit_code)]
    return [Finding("git", "ok", words)]


def _disk(settings: Settings) -> list[Finding]:
    from automata.store.embedded_permissions import default_data_dir

    place = Path(settings.data_dir).expanduser() if settings.data_dir else default_data_dir()
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    words = f"{_size(free)} free in {place}"
    if not os.access(place, os.W_OK):
        todo = "Give its rights to this user, or name another folder in AUTOMATA_DATA_DIR."
        return [Finding("disk", "failed", f"{place} cannot be written", todo, Usage.exit_code)]
    if free < DISK_LOW:
        state: State = "failed" if free < DISK_OUT else "warning"
        return [Finding("disk", state, words, "Make room, or let AUTOMATA_DATA_DIR name another disk.")]
    return [Finding("disk", "ok", words)]


def _is_open(folder: str) -> bool:
    return bool(Path(folder).stat().st_mode & stat.S_IRWXO)


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
