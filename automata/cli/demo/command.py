"""`automata demo`: everything at work on one machine, against a real HTTP service, with nothing left behind."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automata.cli.interruption import term_as_interrupt
from automata.cli.output import say
from automata.errors import Usage

if TYPE_CHECKING:
    from automata.cli.demo.child_process import Child

READY_SEC = 90.0  # an initdb and the first start of PostgreSQL on a slow disk
ANSWER_SEC = 10.0


def demo(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Work in this new folder and keep it.", show_default=False)
    ] = None,
    stay: Annotated[
        bool, typer.Option("--stay", "--keep", help="Stay up until Ctrl-C, with the console and the runs in it.")
    ] = False,
    amqp: Annotated[
        bool, typer.Option("--amqp", help="With RabbitMQ, and each service a process of its own, as in production.")
    ] = False,
) -> None:
    """Show everything at work: a real shop, a Git repository, a database, four runs, and a change that is proved first.

    Needs nothing but this program, and leaves nothing behind. Exits 1 when the shop counted anything else than the
    runs claim. With --amqp it uses the RabbitMQ of AUTOMATA_AMQP_URL, else a node of its own.
    """
    from automata.cli.demo.child_process import end_all

    began = time.monotonic()
    # SIGTERM ends the demo as Ctrl-C does: children first, their folder last.
    with term_as_interrupt(), _workspace(folder) as place:
        try:
            good = _perform(context.find_root().command, place, stay, amqp, began)
        finally:
            end_all()
    if not good:
        raise typer.Exit(1)


def _perform(program: Callable[..., Any], place: Path, stay: bool, amqp: bool, began: float) -> bool:
    import httpx

    from automata.cli.client import Api
    from automata.cli.demo import change
    from automata.cli.demo.example import make_bare_repository
    from automata.cli.demo.story import checks, play, print_outcome

    with _shop(place) as shop:
        shop_url = shop.event(ANSWER_SEC)["url"]
        _say_line("shop", f"CRM, ERP, shipping and bank on {shop_url}")
        repository = place / "flows.git"
        commit = make_bare_repository(repository, shop_url)
        _say_line("repository", f"{repository}, commit {commit[:12]}")
        with _as_a_fleet(place, repository) if amqp else _in_one_process(place, repository) as site:

            def counted() -> dict[str, Any]:
                # Straight, not through a proxy that the environment may name: the shop is on this machine.
                return dict(httpx.get(f"{shop_url}/ledger", trust_env=False).raise_for_status().json())

            with Api(site.url) as api:
                runs = play(api)
                outcomes = [*checks(runs, counted())]
                outcome = change.change(program, api, repository, place)
            site.report()
            ledger = counted()
            good = print_outcome(iter([*outcomes, *change.checks(outcome, ledger)]), ledger)
            say(f"\n{'All as promised' if good else 'NOT as promised'}, after {time.monotonic() - began:.1f} s.")
            if stay:
                _stay_up(site.url, repository)
            else:
                say(f"The console was at {site.url} meanwhile. `automata demo --stay` keeps it up, with these runs.")
    return good


def _shop(place: Path) -> Child:
    from automata.cli.demo.child_process import Child

    arguments = ["automata.cli.demo.shop", "--end-with-stdin"]
    return Child("shop", arguments, place / "shop.log", _environment())


@dataclass(frozen=True, slots=True)
class _Site:
    """Where the API is, and what there is to say of the services once the runs are through."""

    url: str
    report: Callable[[], None]


@contextmanager
def _in_one_process(place: Path, repository: Path) -> Iterator[_Site]:
    """All of it in one process."""
    from automata.cli.demo.child_process import Child

    options = ["--repo", str(repository), "--port", "0", "--data-dir", str(place / "data"), "--allow-loopback"]
    arguments = ["automata.cli.demo.server", "up", *options, "-o", "json"]
    with Child("server", arguments, place / "server.log", _environment()) as server:
        while (event := server.event(READY_SEC))["event"] != "ready":
            _say_line(event["event"], event["message"])
        _say_line(event["event"], event["message"])
        yield _Site(str(event["url"]), lambda: None)


@contextmanager
def _as_a_fleet(place: Path, repository: Path) -> Iterator[_Site]:
    """A process each, with RabbitMQ between them."""
    from automata.cli.demo.fleet import fleet, messages

    with fleet(place, repository, _environment(), os.environ.get("AUTOMATA_AMQP_URL"), _say_line) as addresses:
        yield _Site(addresses[0], lambda: say(f"\n{messages(addresses)}"))


def _environment() -> dict[str, str]:
    """Ours without the settings of another Automata: the demo shall never touch a database of yours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AUTOMATA_")}


def _say_line(name: str, words: Any) -> None:
    say(f"{name:<13}{words}")


def _stay_up(url: str, repository: Path) -> None:
    try:
        say(f"\nStill running, until Ctrl-C. The console, with these runs in it:\n  {url}")
        say(f"Or on the command line:\n  export AUTOMATA_API_URL={url}\n  automata run list")
        say(f"  automata flow show sync-orders\n  automata proposal list --all --repo {repository}")
        signal.pause()
    except KeyboardInterrupt:
        say()


@contextmanager
def _workspace(folder: Path | None) -> Iterator[Path]:
    """A folder to work in: the given one, which stays, or one of our own, which goes."""
    if folder:
        folder = folder.absolute()
        if folder.exists() and any(folder.iterdir()):
            raise Usage(f"{folder} is not empty", hint="Name a new folder with --dir, or leave it out.")
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="automata-demo-", ignore_cleanup_errors=True) as name:
        # PostgreSQL runs as another user when we are root, and must be able to pass.
        Path(name).chmod(0o755)
        yield Path(name)
