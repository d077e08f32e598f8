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
    from automata.proposals.lifecycle import ProposalSession
    from automata.proposals.status import ProposalStatus

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
        "--head", metavar="SHA", help="What you looked at: refused when the branch is elsewhere.", show_default=False
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
    proposals = _with_session(repo, path, env, actor, lambda session: session.survey_all(ended=ended))
    emit({"items": [_json(proposal) for proposal in proposals]}, output, lambda _: _table(proposals))


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
    proposal = _with_session(repo, path, env, actor, lambda session: session.find(key))
    if output is Format.JSON:
        from automata.proposals.view import detail

        say_json(detail(proposal))
        return
    emit({}, output, lambda _: _card(proposal))
    if proposal.check:
        from automata.report.check import render_check

        say("")
        say(render_check(proposal.check.report, "human").rstrip("\n"))


@app.command(epilog="Example: automata proposal diff 7")
def diff(key: Which, repo: Repo = None, path: ProjectPath = None, env: Env = None, actor: As = None) -> None:
    """Print what a proposal changes, as Git writes it."""
    say(_with_session(repo, path, env, actor, lambda session: session.difference(key)).rstrip("\n"))


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
    changes = _files(files, remove)
    if not changes:
        raise Usage("Which files? Neither --file nor --remove names one.", hint="-f flows/orders.yaml=./orders.yaml")
    _show(
        _with_session(repo, path, env, actor, lambda session: session.create(branch, changes, message, title)),
        "Made",
        output,
    )


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
    changes = _files(files, remove)
    if not changes and title is None:
        raise Usage("Nothing to update: give --file, --remove or --title.")
    _show(
        _with_session(repo, path, env, actor, lambda session: session.update(key, changes, message, title)),
        "Updated",
        output,
    )


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
    _show(_with_session(repo, path, env, actor, lambda session: session.submit(key)), "Submitted", output)


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
    proposal = _with_session(
        repo, path, env, actor, lambda session: session.review(key, approve=True, comment=comment, head=head)
    )
    _show(proposal, "Approved", output, of=f" at {proposal.head[:12]}")


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
    _show(
        _with_session(repo, path, env, actor, lambda session: session.review(key, approve=False, comment=comment)),
        "Rejected",
        output,
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

    _, check = _with_session(repo, path, env, actor, lambda session: session.check(key))
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
    proposal, synced = _with_session(repo, path, env, actor, lambda session: session.apply(key, head=head))
    if output is Format.JSON:
        say_json({**_json(proposal), "sync": synced.to_json()})
        return
    say(f"Applied proposal {proposal.row.number} as {(proposal.row.merge_sha or '')[:12]}.")
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
    _show(_with_session(repo, path, env, actor, lambda session: session.close(key)), "Closed", output)


# --- the session ---------------------------------------------------------------------------------------------------


def _with_session(
    repo: str | None,
    path: str | None,
    env: str | None,
    actor: str | None,
    work: Callable[[ProposalSession], Awaitable[T]],
) -> T:
    """Do something with the proposals of a repository, on its database."""
    from automata.cli.database import database
    from automata.project.source import source_of
    from automata.proposals.forges.factory import forge_of, page_of
    from automata.proposals.lifecycle import ProposalSession
    from automata.store.audit import Actor, set_actor
    from automata.store.database import Database
    from automata.store.migrate import upgrade

    settings = load(repo=repo, repo_path=path, environment=env)
    source = source_of(settings, None)
    person = _person(actor)

    async def run(url: str) -> T:
        set_actor(Actor(str(person), "admin", address="cli"))
        async with await Database.open(url, max_size=3, direct_url=settings.database_direct_url) as db:
            forge = forge_of(settings, source)
            return await work(await ProposalSession.open(db, source, person, forge=forge, page=page_of(settings)))

    with database(settings) as url:
        if not settings.database_url:
            upgrade(url)
        return asyncio.run(run(url))


def _person(actor: str | None) -> Person:
    from automata.git.branches import Person

    return Person.read(actor or os.environ.get("AUTOMATA_ACTOR") or getpass.getuser())


def _files(files: list[str] | None, removed: list[str] | None) -> dict[str, bytes | None]:
    contents: dict[str, bytes | None] = dict.fromkeys(removed or ())
    for text in files or ():
        path, _, file = text.partition("=")
        try:
            contents[path] = Path(file or path).read_bytes()
        except OSError as error:
            raise Usage(f"{file or path} cannot be read: {error.strerror}.", code="unreadable") from error
    return contents


# --- what is shown -------------------------------------------------------------------------------------------------


def _json(proposal: ProposalStatus) -> dict[str, Any]:
    from automata.proposals.view import summary

    return summary(proposal)


def _table(proposals: list[ProposalStatus]) -> Any:
    rows = [
        (str(item.row.number), item.row.branch, item.state, "; ".join(item.conditions), item.row.title, item.row.author)
        for item in proposals
    ]
    return table("NUMBER", "BRANCH", "STATE", "CONDITIONS", "TITLE", "AUTHOR", rows=rows)


def _card(proposal: ProposalStatus) -> Any:
    row, base, approvers = proposal.row, proposal.base, proposal.approvers
    return facts(
        [
            ("proposal", f"{row.number}  {row.title}"),
            ("branch", f"{row.branch} at {(proposal.head or row.head_sha)[:12]}, into {base.branch}"),
            ("author", row.author),
            ("state", proposal.state),
            ("conditions", "; ".join(proposal.conditions) if row.ended_at is None else None),
            ("approvals", f"{len(approvers)} of {proposal.needed}: {', '.join(approvers) or 'nobody yet'}"),
            ("unknown", ", ".join(sorted(proposal.unknown)) or None),
            ("files", ", ".join(proposal.paths) or None),
            ("ended", f"{moment(row.ended_at.isoformat())} by {row.ended_by or 'a merge'}" if row.ended_at else None),
            ("merge", row.merge_sha),
        ]
    )


def _show(proposal: ProposalStatus, verb: str, output: Format, of: str = "") -> None:
    if output is Format.JSON:
        say_json(_json(proposal))
        return
    row, conditions = proposal.row, "; ".join(proposal.conditions)
    say(f"{verb} proposal {row.number} ({row.branch}){of}: {proposal.state}; {conditions}.")
