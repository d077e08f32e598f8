"""How a run looks: as a tree of its steps, and while it moves."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from automata.cli.output import console, printable, say, status, took

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text
    from rich.tree import Tree

Json = Mapping[str, Any]

FINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})
GUIDE = 4  # columns that one level of a rich tree takes
POLL_SEC = 1.0
LIVE_LINES = 15  # of a fan-out of 1,000 only what moves fits a screen


class Runs(Protocol):
    """What following a run needs of the API."""

    def get(self, *path: str, wait_sec: float = 0, **query: Any) -> Any: ...


class View(Protocol):
    def __enter__(self) -> View: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def show(self, run: Json, tasks: Sequence[Json]) -> None: ...


def follow(api: Runs, run_id: str, view: View) -> tuple[Json, Sequence[Json]]:
    """Show the run in `view` until it is finished; returns it with its tasks."""
    with view:
        while True:
            run = api.get("runs", run_id, wait_sec=POLL_SEC)
            tasks = api.get("runs", run_id, "tasks")["items"]
            view.show(run, tasks)
            if run["status"] in FINAL:
                return run, tasks


def tree(run: Json, tasks: Sequence[Json]) -> Tree:
    """The run and its steps, nested as `parallel.branch.step` says, with timings and what went wrong."""
    from rich.tree import Tree

    root = Tree(_headline(run), guide_style="dim", highlight=False)
    width = max((len(_leaf(task)) + GUIDE * _depth(task) for task in tasks), default=0)
    nodes: dict[str, Tree] = {"": root}
    for task in sorted(tasks, key=lambda task: (_depth(task), task["plan"])):
        node = _node(nodes, _parent(task["step"]))
        branch = node.add(_line(task, _leaf(task).ljust(width - GUIDE * _depth(task))))
        nodes[task["step"]] = branch
        if words := message(task["error"]):
            branch.add(_red(words))
    if run["status"] == "FAILED" and not any(task["status"] == "FAILED" for task in tasks):
        root.add(_red(message(run["error"]) or "failed"))
    return root


def message(error: Any) -> str:
    """What a run's or a task's error says, empty when there is none."""
    if not isinstance(error, Mapping):
        return str(error or "")
    return str(error.get("message") or error.get("code") or "failed")


def progress(*, plain: bool) -> View:
    """A live view on a terminal; elsewhere a line a change, or nothing with `plain` False. All on stderr."""
    if sys.stderr.isatty():
        return LiveView()
    return PlainView(silent=not plain)


class PlainView:
    """One line for each change of a step, for logs and pipes."""

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent
        self._seen: dict[str, tuple[str, int]] = {}

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, run: Json, tasks: Sequence[Json]) -> None:
        if self._silent:
            return
        for task in tasks:
            state = (task["status"], task["attempt"])
            if self._seen.get(task["step"]) != state:
                self._seen[task["step"]] = state
                say(" ".join(_words(task)), stderr=True)


class LiveView:
    """The steps that move, redrawn in place; gone when the run is over."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(console=console(stderr=True), transient=True, refresh_per_second=8)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, run: Json, tasks: Sequence[Json]) -> None:
        self._live.update(_screen(run, tasks), refresh=True)


def _screen(run: Json, tasks: Sequence[Json]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    done = sum(task["status"] in FINAL or task["status"] == "SKIPPED" for task in tasks)
    # How many a run will have is not known: a condition or a list may be yet to come.
    counted = f"  {done} steps ended, {len(tasks) - done} under way"
    moving = sorted(tasks, key=lambda task: (task["status"] != "RUNNING", task["status"] in FINAL))
    shown = moving[:LIVE_LINES]
    width = max((len(task["step"]) for task in shown), default=0)
    hidden = len(tasks) - len(shown)
    return Group(
        Text.assemble(_headline(run), counted),
        *(_line(task, task["step"].ljust(width)) for task in shown),
        *([Text(f"and {hidden} more", style="dim")] if hidden else []),
    )


def _headline(run: Json) -> Text:
    from rich.text import Text

    elapsed = took(run["started_at"] or run["created_at"], run["finished_at"])
    return Text.assemble(
        (f"{run['flow']} v{run['version']}", "bold"),
        "  ",
        status(run["status"]),
        f"  {elapsed}" if elapsed else "",
        (f"  {run['id']}", "dim"),
    )


def _line(task: Json, label: str) -> Text:
    from rich.text import Text

    _, word, *rest = _words(task)
    return Text.assemble(label, "  ", status(word.ljust(9)), *(f"  {part}" for part in rest))


def _words(task: Json) -> list[str]:
    """Step, status, and where they say something: time taken by all attempts, which attempt runs or how many ran."""
    words = [task["step"], task["status"]]
    if elapsed := _elapsed(task):
        words.append(elapsed)
    if (attempt := task["attempt"]) > 1:
        words.append(f"{attempt} attempts" if task["finished_at"] else f"attempt {attempt}")
    return words


def _elapsed(task: Json) -> str | None:
    if task["status"] in ("SKIPPED", "QUEUED") or not task["started_at"]:
        return None
    return took(task["started_at"], task["finished_at"])


def _parent(step: str) -> str:
    """The path of the group around a step: `split.left` of `split.left.pay`, `load` of `load[3]`."""
    return step.rpartition("[" if step.endswith("]") else ".")[0]


def _leaf(task: Json) -> str:
    step = str(task["step"])
    return step[step.rindex("[") :] if step.endswith("]") else step.rpartition(".")[2]


def _depth(task: Json) -> int:
    return int(task["step"].count(".") + task["step"].count("["))


def _node(nodes: dict[str, Tree], path: str) -> Tree:
    """The node of a group or of a branch; a branch has no task of its own and is made when it is first named."""
    if path not in nodes:
        parent, _, name = path.rpartition(".")
        nodes[path] = _node(nodes, parent).add(_dim(name))
    return nodes[path]


def _dim(text: str) -> Text:
    from rich.text import Text

    return Text(text, style="dim")


def _red(text: str) -> Text:
    from rich.text import Text

    return Text(printable(text), style="red")
