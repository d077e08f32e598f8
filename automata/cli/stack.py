"""`make up`, `make nodes` and `make down`: all of Automata, or PostgreSQL and RabbitMQ alone to develop on.

With Docker Compose where an engine runs, else as private nodes and a process a part. These belong to a keeper, a
process of its own that ends with `down`. Where things are is in `build/stack/env`, in the form that a shell reads; the
file is there exactly while they run. A keeper that was killed takes RabbitMQ and the parts with it and leaves
PostgreSQL to the next `up`, which finds it by its data folder.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from automata.cli.exits import guarded
from automata.cli.output import say
from automata.errors import Unavailable, Usage
from automata.interpreter import python_command

PLACE = Path("build/stack")
COMPOSE = Path("deploy/docker-compose.yml")
START_SEC = 180.0
STOP_SEC = 60.0
ENGINE_SEC = 10.0
PULL_SEC = 900.0
PARTS = ("api", "scheduler", "orchestrator", "worker", "controller")
READY_SEC = 60.0


def main() -> int:
    """Do what the one word of the command line says. Raises Usage, Unavailable."""
    verbs = {"up": lambda: up(parts=True), "nodes": lambda: up(parts=False), "down": down}
    match sys.argv[1:]:
        case ["keep", ("up" | "nodes") as what]:
            keep(parts=what == "up")
        case [verb] if verb in verbs:
            verbs[verb]()
        case _:
            raise Usage("It takes one word: up, nodes or down.", hint="make up, make nodes, make down")
    return 0


def up(*, parts: bool) -> None:
    """Start what is asked for and say where it is; says it again when it runs already. Raises Unavailable."""
    if not (state := running()):
        PLACE.mkdir(parents=True, exist_ok=True)
        state = _with_compose(parts) if has_engine() else _with_keeper(parts)
    kind = "containers" if state["STACK"] == "compose" else "private nodes of this machine"
    say(f"PostgreSQL and RabbitMQ run as {kind}, until make down.")
    for name in ("AUTOMATA_DATABASE_URL", "AUTOMATA_AMQP_URL"):
        say(f"  export {name}={shlex.quote(state[name])}")
    if url := state.get("AUTOMATA_API_URL"):
        say(f"Automata runs on them: {url}")
    elif parts:
        raise Usage("Only PostgreSQL and RabbitMQ run, since make nodes.", hint="make down first, then make up")
    else:
        say("make run, make dev-api and the others, and make db-shell use them as long as they run.")


def down() -> None:
    """Stop what `up` started; its data stays. Raises Unavailable when it does not end."""
    if not (state := running()):
        say("Nothing runs.")
        return
    if state["STACK"] == "compose":
        _compose("--profile", "all", "down", timeout_sec=STOP_SEC * 2)
        _forget()
    else:
        keeper = int(state["STACK"])
        os.kill(keeper, signal.SIGTERM)
        until = time.monotonic() + STOP_SEC
        while running():
            if time.monotonic() > until:
                raise Unavailable(f"the keeper, process {keeper}, does not end", hint=f"See {PLACE / 'keeper.log'}")
            time.sleep(0.1)
    say("All is stopped.")


def keep(*, parts: bool) -> None:
    """What the keeper does: both nodes, and the parts on them, until SIGTERM."""
    from automata.cli.rabbitmq_node import RabbitNode
    from automata.store.embedded import start_embedded

    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    # The broker's user must be able to reach its folder; and it holds nothing that may not be lost.
    home = Path(tempfile.mkdtemp(prefix="automata-rabbitmq-"))
    try:
        with start_embedded(PLACE / "data") as database, RabbitNode(home) as node, ExitStack() as more:
            urls = {"AUTOMATA_DATABASE_URL": database.url, "AUTOMATA_AMQP_URL": node.url()}
            api = more.enter_context(_parts(urls)) if parts else {}
            _remember({"STACK": str(os.getpid()), **urls, **api})
            while not stop:
                time.sleep(0.1)
    finally:
        _forget()


@contextmanager
def _parts(urls: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """A process a part, on ports of their own unless AUTOMATA_PORT names the API's, all ready."""
    from automata.cli.demo.child_process import Child
    from automata.cli.demo.fleet import wait_ready
    from automata.store.migrate import upgrade

    upgrade(urls["AUTOMATA_DATABASE_URL"])
    # This checkout's own flows, unless the caller has a repository: as in deploy/docker-compose.yml.
    ours = {} if "AUTOMATA_REPO" in os.environ else {"AUTOMATA_REPO": ".", "AUTOMATA_REPO_PATH": "flows-example"}
    env = {**os.environ, **ours, **urls}
    with ExitStack() as children:

        def start(part: str) -> Child:
            port = os.environ.get("AUTOMATA_PORT", "8080") if part == "api" else "0"
            words = ["automata.cli.demo.server", part, "--port", port, "-o", "json"]
            return children.enter_context(Child(part, words, PLACE / f"{part}.log", env))

        started = [(part, start(part)) for part in PARTS]
        addresses = {part: str(child.event(READY_SEC)["url"]) for part, child in started}
        for part, address in addresses.items():
            wait_ready(part, address)
        yield {"AUTOMATA_API_URL": addresses["api"]}


def running() -> dict[str, str]:
    """What the file says, empty when nothing runs; one that a killed keeper left is removed."""
    try:
        lines = (PLACE / "env").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    state = dict(word.split("=", 1) for line in lines for word in shlex.split(line))
    if state["STACK"] != "compose" and not _is_keeper(int(state["STACK"])):
        _forget()
        return {}
    return state


def has_engine() -> bool:
    """Whether a container engine answers and has Compose."""
    if not shutil.which("docker"):
        return False
    return _answers("docker", "info") and _answers("docker", "compose", "version")


def _answers(*command: str) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, timeout=ENGINE_SEC, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _with_compose(parts: bool) -> dict[str, str]:
    say("Starting containers; the first time pulls their images ...", stderr=True)
    profile, build = (("--profile", "all"), ("--build",)) if parts else ((), ())
    _compose(*profile, "up", "--detach", "--wait", *build, timeout_sec=PULL_SEC)
    api = {"AUTOMATA_API_URL": f"http://127.0.0.1:{os.environ.get('AUTOMATA_PORT', 8080)}"} if parts else {}
    database, broker = os.environ.get("AUTOMATA_POSTGRES_PORT", 5432), os.environ.get("AUTOMATA_RABBITMQ_PORT", 5672)
    return _remember(
        {
            "STACK": "compose",
            "AUTOMATA_DATABASE_URL": f"postgresql://automata:automata@127.0.0.1:{database}/automata",
            "AUTOMATA_AMQP_URL": f"amqp://automata:automata@127.0.0.1:{broker}/",
            **api,
        }
    )


def _compose(*words: str, timeout_sec: float) -> None:
    command = ["docker", "compose", "--file", str(COMPOSE), *words]
    done = subprocess.run(command, timeout=timeout_sec, check=False)  # noqa: S603
    if done.returncode:
        raise Unavailable(f"{shlex.join(command)} failed, as it says above")


def _with_keeper(parts: bool) -> dict[str, str]:
    log = PLACE / "keeper.log"
    say("Starting private nodes ...", stderr=True)
    with log.open("wb") as words:
        keeper = subprocess.Popen(  # noqa: S603 - this module, no shell
            python_command("-m", "automata.cli.stack", "keep", "up" if parts else "nodes"),
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            start_new_session=True,
        )
    until = time.monotonic() + START_SEC
    while not (state := running()):
        if keeper.poll() is not None:
            raise Unavailable(f"the nodes did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")
        if time.monotonic() > until:
            keeper.terminate()
            raise Unavailable(f"the nodes did not start within {START_SEC:.0f} s", hint=f"See {log}")
        time.sleep(0.1)
    return state


def _remember(state: Mapping[str, str]) -> dict[str, str]:
    """Write the file, which holds passwords, in one piece."""
    new = PLACE / "env.new"
    new.touch(mode=0o600)
    new.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in state.items()), encoding="utf-8")
    new.rename(PLACE / "env")
    return dict(state)


def _forget() -> None:
    (PLACE / "env").unlink(missing_ok=True)


def _is_keeper(pid: int) -> bool:
    """Not another process that got the number of one that was killed."""
    import psutil

    try:
        return "keep" in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False


if __name__ == "__main__":
    sys.exit(guarded(main))
