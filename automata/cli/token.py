"""`automata token`: who may come in. Works on the database, so that the first token can be made, and a lost one too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automata.cli.local import myself, on_database
from automata.cli.options import Output
from automata.cli.output import Format, emit, moment, say, table
from automata.errors import Usage

if TYPE_CHECKING:
    from automata.store.database import Database

app = typer.Typer(no_args_is_help=True, help="Make, list and take back the tokens that let people and programs in.")

Key = Annotated[str, typer.Argument(metavar="TOKEN", help="Its name or id, not its text.", show_default=False)]
Days = Annotated[int, typer.Option("--days", min=1, max=366, help="For how long it is good.")]


@app.command(epilog="Example: automata token create ci --role operator --label team=billing")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What lists and the log call it.", show_default=False)],
    role: Annotated[
        str, typer.Option("--role", help="viewer, operator, author, reviewer or admin: each may what those before may.")
    ] = "viewer",
    days: Days = 90,
    mail: Annotated[
        str,
        typer.Option(
            "--mail",
            help="Who commits and approvals are by. A token without one approves nothing.",
            show_default="NAME@automata",
        ),
    ] = "",
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY=VALUE", help="Only for flows with this label; several: with all of them."),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Make a token and show its text, this once. What is kept of it is a digest."""

    async def work(db: Database) -> dict[str, Any]:
        from automata.access.principal import Role
        from automata.access.tokens import NewToken, create, token_facts

        new = NewToken(name, Role.read(role), mail, _labels(label or ()), days)
        async with db.transaction() as conn:
            text, row = await create(conn, myself(), new)
        return token_facts(row) | {"token": text}

    _tell(on_database(work), output)


@app.command("list", epilog="Example: automata token list --revoked")
def list_(
    revoked: Annotated[bool, typer.Option("--revoked", help="Those that were taken back too.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """List tokens by name, without their texts."""

    async def work(db: Database) -> list[dict[str, Any]]:
        from automata.access.tokens import token_facts
        from automata.store.tokens import list_tokens

        tokens: list[dict[str, Any]] = []
        after = None
        async with db.connection() as conn:
            while True:
                page = await list_tokens(conn, revoked=revoked, after=after)
                tokens += (token_facts(row) for row in page.items)
                if not (after := page.next):
                    return tokens

    emit({"items": on_database(work)}, output, _table)


@app.command(epilog="Example: automata token rotate ci --days 30")
def rotate(key: Key, days: Days = 90, output: Output = Format.TABLE) -> None:
    """Give a token another text, shown this once; the one before is refused within five seconds."""

    async def work(db: Database) -> dict[str, Any]:
        from automata.access.tokens import rotate, token_facts

        async with db.transaction() as conn:
            text, row = await rotate(conn, myself(), key, days)
        return token_facts(row) | {"token": text}

    _refuse_text(key)
    _tell(on_database(work), output)


@app.command(epilog="Example: automata token revoke ci")
def revoke(key: Key, output: Output = Format.TABLE) -> None:
    """Take a token back: it is refused within five seconds, and the sessions that it opened end. Twice is fine."""

    async def work(db: Database) -> dict[str, Any]:
        from automata.access.tokens import revoke, token_facts

        async with db.transaction() as conn:
            return token_facts(await revoke(conn, myself(), key))

    _refuse_text(key)
    revoked = on_database(work)
    if output is Format.TABLE:
        say(f"The token {revoked['name']} is refused from now on.")
    else:
        emit(revoked, output, lambda _: "")


def _labels(labels: Sequence[str]) -> dict[str, str]:
    """Raises Usage."""
    for label in labels:
        if not label.isprintable() or "=" not in label[1:]:
            raise Usage(f"--label {label[:60]!r} is not KEY=VALUE.", code="bad_label")
    return dict(label.split("=", 1) for label in labels)


def _refuse_text(key: str) -> None:
    """A token that somebody pasted here is in their shell's history now, and must not get into messages as well."""
    from automata.access.token_text import PREFIX

    if key.startswith(PREFIX):
        raise Usage("That is a token's text.", hint="Name it: `automata token list` shows how it is called.")


def _tell(created: dict[str, Any], output: Format) -> None:
    if output is not Format.TABLE:
        emit(created, output, lambda _: "")
        return
    until = moment(created["expires_at"])
    say(f"{created['name']} is a {created['role']} until {until}. Its text is shown this once:", stderr=True)
    say(created["token"])
    if created["role"] in ("reviewer", "admin") and created["mail"].endswith("@automata"):
        say("It approves no proposal: make it with --mail, the address of whoever holds it, for that.", stderr=True)


def _table(data: dict[str, Any]) -> Any:
    rows = (
        (
            item["name"],
            item["role"],
            item["mail"],
            ", ".join(f"{name}={value}" for name, value in item["labels"].items()) or None,
            moment(item["expires_at"]),
            moment(item["used_at"]),
            moment(item["revoked_at"]),
        )
        for item in data["items"]
    )
    return table("NAME", "ROLE", "MAIL", "ONLY", "EXPIRES", "USED", "REVOKED", rows=rows)
