"""`automata proposal`: changes on branches, from the first push to the merge."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from automata.cli.options import Output, ProjectPath
from automata.cli.output import Format, emit, facts, moment, say, say_json, table
from automata.errors import Invalid, Usage
from automata.settings import load

if TYPE_CHECKING:
    from automata.git.branches import Person
    from automata.proposals.facts import Facts
    from automata.proposals.life import Reviewing

app = typer.Typer(no_args_is_help=True, help="Propose changes on branches, review them, and merge what was proved.")

T = TypeVar("T")
Which = Annotated[str, typer.Argument(metavar="PROPOSAL", help="Its number, or its branch.", show_default=False)]
Repo = Annotated[
    str | None,
    typer.Option("--repo", help="Flows repository: a folder, bare or not, or a URL.", show_default="AUTOMATA_REPO"),
]
Env = Annotated[str | None, typer.Option("--env", help="The environment that it is for.", show_default="prod")]
As = Annotated[
    str | None,
    typer.Option("--as", envvar="AUTOMATA_ACTOR", show_envvar=False, help="Who you are: `Ada <ada@example.com>`.",
                 show_default="AUTOMATA_ACTOR, else you on this machine"),
]  # fmt: skip
Files = Annotated[
    list[str] | None,
    typer.Option("--file", "-f", metavar="PATH[=FILE]", help="A file of the repository, with what FILE holds."),
]
At = Annotated[
    str | None,
    typer.Option(
        "--head", metavar="SHA", help="Only if the branch is still at what you looked at.", show_default=False
    ),
]
Gone = Annotated[list[str] | None, typer.Option("--remove", metavar="PATH", help="A file that shall go.")]


@app.command("list", epilog="Example: automata proposal list --all -o json")
def list_(
    ended: Annotated[bool, typer.Option("--all", help="Those that have ended too.")] = False,
    repo: Repo = None,
    path: ProjectPath = None,
    env: Env = None,
    actor: As = None,
    output: Output = Format.TABLE,
) -> None:
    """List proposals: every branch that changes the project and is not an environment's."""
    found = _on(repo, path, env, actor, lambda desk: desk.survey(ended=ended))
    emit({"items": [_json(one) for one in found]}, output, lambda _: _table(found))


@app.command(epilog="Example: automata proposal show 7")
def show(
    key: Which,
    repo: Repo = None,
    path: ProjectPath = None,
    env: Env = None,
    actor: As = None,
    output: Output = Format.TABLE,
) -> None:
    """Show a proposal: its commits, what the check said, and who approved what."""
    one = _on(repo, path, env, actor, lambda desk: desk.find(key))
    if output is Format.JSON:
        from automata.proposals.view import detail

        say_json(detail(one))
        return
    emit({}, output, lambda _: _card(one))
    if one.check:
        from automata.report.check import render_check

        say("")
        say(render_check(one.check.report, "human").rstrip("\n"))


@app.command(epilog="Example: automata proposal diff 7")
def diff(key: Which, repo: Repo = None, path: ProjectPath = None, env: Env = None, actor: As = None) -> None:
    """Print what a proposal changes, as Git writes it."""
    say(_on(repo, path, env, actor, lambda desk: desk.difference(key)).rstrip("\n"))


@app.command(epilog="Example: automata proposal create fix-totals -f flows/orders.yaml=./orders.yaml -m 'Fix totals'")
def create(
    branch: Annotated[str, typer.Argument(help="The new branch.", show_default=False)],
    message: Annotated[str, typer.Option("--message", "-m", help="Of the commit.", show_default=False)],
    files: Files = None,
    remove: Gone = None,
    title: Annotated[str | None, typer.Option("--title", help="Of the proposal.", show_default="the message")] = None,
    repo: Repo = None,
    path: ProjectPath = None,
    env: Env = None,
    actor: As = None,
    output: Output = Format.TABLE,
) -> None:
    """Make a branch with one commit. A branch that you push with git is a proposal all the same."""
    given = _files(files, remove)
    if not given:
        raise Usage("Which files? Neither --file nor --remove names one.", hint="-f flows/orders.yaml=./orders.yaml")
    _tell(_on(repo, path, env, actor, lambda desk: desk.create(branch, given, message, title)), "Made", output)


@app.command(epilog="Example: automata proposal update 7 -f flows/orders.yaml=./orders.yaml -m 'Round the totals'")
def update(
    key: Which,
    message: Annotated[str | None, typer.Option("--message", "-m", help="Of the commit.", show_default=False)] = None,
    files: Files = None,
    remove: Gone = None,
    title: Annotated[str | None, typer.Option("--title", help="Another title.", show_default=False)] = None,
    repo: Repo = None,
    path: ProjectPath = None,
    env: Env = None,
    actor: As = None,
    output: Output = Format.TABLE,
) -> None:
    """Add a commit to a proposal, or give it another title. A commit drops checks and approvals."""
    given = _files(files, remove)
    if not given and title is None:
        raise Usage("Nothing to update: give --file, --remove or --title.")
    _tell(_on(repo, path, env, actor, lambda desk: desk.update(key, given, message, title)), "Updated", output)


@app.command(epilog="Example: automata proposal submit 7")
def submit(
    key: Which,
    repo: Repo = None,
    path: ProjectPath = None,
    env: Env = None,
    actor: As = None,
    output: Output = Format.TABLE,
) -> None:
    """Ask for a review."""
    _tell(_on(repo, path, env, actor, lambda desk: desk.submit(key)), "Submitted", output)


@app.command(epilog="Example: automata proposal approve 7 -m 'checked with accounting'")
def approve(
    key: Which,
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why; kept with the approval.")] = "",
    head: At = None,
    repo: Repo = None,
    path: ProjectPath = None,
    env: Env = None,
    actor: As = None,
    output: Output = Format.TABLE,
) -> None:
    """Say yes to exactly what there is now: a push drops it. Who had a hand in it cannot."""
    said = _on(repo, path, env, actor, lambda desk: desk.review(key, approve=True, comment=comment, head=head))
    _tell(said, "Approved", output)


@app.command(epilog="Example: automata proposal reject 7 -m 'totals are in cents'")
def reject(
    key: Which,
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why; kept with the rejection.")] = "",
    repo: Repo = None,
    path: ProjectPath = None,
    env: Env = None,
    actor: As = None,
    output: Output = Format.TABLE,
) -> None:
    """Say no, which ends the proposal; another push makes it a new one."""
    _tell(
        _on(repo, path, env, actor, lambda desk: desk.review(key, approve=False, comment=comment)), "Rejected", output
    )


@app.command(epilog="Example: automata proposal sandbox 7")
def sandbox(
    key: Which,
    repo: Repo = None,
    path: ProjectPath = None,
    env: Env = None,
    actor: As = None,
    output: Output = Format.TABLE,
) -> None:
    """Run the check on the merge that it would be, limited and without secrets, and keep the result.

    Exit code 1 when it is refused.
    """
    from automata.report.check import render_check

    _, check = _on(repo, path, env, actor, lambda desk: desk.sandbox(key))
    if output is Format.JSON:
        say_json(check.report)
    else:
        say(render_check(check.report, "human").rstrip("\n"))
    if not check.passed:
        raise typer.Exit(Invalid.exit_code)


@app.command(epilog="Example: automata proposal apply 7")
def apply(
    key: Which,
    head: At = None,
    repo: Repo = None,
    path: ProjectPath = None,
    env: Env = None,
    actor: As = None,
    output: Output = Format.TABLE,
) -> None:
    """Merge what was checked and approved, and sync it. Never by force.

    Exit code 5 when it may not be applied, 6 when the base has moved or conflicts.
    """
    one, synced = _on(repo, path, env, actor, lambda desk: desk.apply(key, head=head))
    if output is Format.JSON:
        say_json({**_json(one), "sync": synced.to_json()})
        return
    say(f"Applied proposal {one.row.number} as {(one.row.merge_sha or '')[:12]}.")
    say(f"Synced: {synced.summary()}")


@app.command(epilog="Example: automata proposal close 7")
def close(
    key: Which,
    repo: Repo = None,
    path: ProjectPath = None,
    env: Env = None,
    actor: As = None,
    output: Output = Format.TABLE,
) -> None:
    """End a proposal without applying it; its branch stays."""
    _tell(_on(repo, path, env, actor, lambda desk: desk.close(key)), "Closed", output)


# --- the desk ------------------------------------------------------------------------------------------------------


def _on(
    repo: str | None,
    path: str | None,
    env: str | None,
    actor: str | None,
    work: Callable[[Reviewing], Awaitable[T]],
) -> T:
    """Do something with the proposals of a repository, on its database."""
    from automata.cli.database import database
    from automata.proposals.forge import forge_of, page_of
    from automata.proposals.life import Reviewing
    from automata.store.audit import Actor, act
    from automata.store.database import Database
    from automata.store.migrate import upgrade
    from automata.sync.source import source_of

    settings = load(repo=repo, repo_path=path, environment=env)
    source = source_of(settings, None)
    who = _person(actor)

    async def run(url: str) -> T:
        act(Actor(str(who), "admin", address="cli"))
        async with await Database.open(url, max_size=3) as db:
            forge = forge_of(settings, source)
            return await work(await Reviewing.open(db, source, who, forge=forge, page=page_of(settings)))

    with database(settings) as url:
        if not settings.database_url:
            upgrade(url)
        return asyncio.run(run(url))


def _person(actor: str | None) -> Person:
    from automata.git.branches import Person

    return Person.read(actor or os.environ.get("AUTOMATA_ACTOR") or getpass.getuser())


def _files(files: list[str] | None, gone: list[str] | None) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = dict.fromkeys(gone or ())
    for text in files or ():
        path, _, file = text.partition("=")
        try:
            found[path] = Path(file or path).read_bytes()
        except OSError as error:
            raise Usage(f"{file or path} cannot be read: {error.strerror}.", code="unreadable") from error
    return found


# --- what is shown -------------------------------------------------------------------------------------------------


def _json(one: Facts) -> dict[str, Any]:
    from automata.proposals.view import summary

    return summary(one)


def _table(found: list[Facts]) -> Any:
    rows = (
        (str(one.row.number), one.row.branch, one.state, "; ".join(one.conditions), one.row.title, one.row.author)
        for one in found
    )
    return table("NUMBER", "BRANCH", "STATE", "CONDITIONS", "TITLE", "AUTHOR", rows=rows)


def _card(one: Facts) -> Any:
    row = one.row
    return facts(
        [
            ("proposal", f"{row.number}  {row.title}"),
            ("branch", f"{row.branch} at {(one.head or row.head_sha)[:12]}, into {one.base.branch}"),
            ("author", row.author),
            ("state", one.state),
            ("conditions", "; ".join(one.conditions) if row.ended_at is None else None),
            ("approvals", f"{len(one.approvers)} of {one.base.approvals}: {', '.join(one.approvers) or 'nobody yet'}"),
            ("files", ", ".join(one.paths) or None),
            ("ended", f"{moment(row.ended_at.isoformat())} by {row.ended_by or 'a merge'}" if row.ended_at else None),
            ("merge", row.merge_sha),
        ]
    )


def _tell(one: Facts, verb: str, output: Format) -> None:
    if output is Format.JSON:
        say_json(_json(one))
        return
    say(f"{verb} proposal {one.row.number} ({one.row.branch}): {one.state}; {'; '.join(one.conditions)}.")
