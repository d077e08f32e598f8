"""What a change of `automata.yaml` or of an environment's file means for whoever relies on them.

What makes a later check see less, lets more through or tells somebody else is of the class security; the opposite is
behaviour. Variables, egress lists and recording are told flow by flow (flow/changes.py), for they are part of versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from automata.errors import Usage
from automata.flow.changes import CLASSES, Change, shown
from automata.git.tree import joined
from automata.project.manifest import (
    FILE,
    Environment,
    EnvironmentEntry,
    Policy,
    Project,
    read_environment,
    read_project,
)
from automata.project.schemas import REPLAY_LAST
from automata.project.tree import Tree

_STRICTNESS = ("archive", "confirm", "never")  # of `prune`: what it takes until a flow that left is archived


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A change, and the file that it is written in."""

    file: str
    change: Change


def policy_changes(before: Tree, after: Tree, environment: str) -> list[PolicyChange]:
    """All that differs for a project and one of its environments, the worst first; empty when nothing does."""
    old, new = read_project(before)[0], read_project(after)[0]
    file = joined(after.folder, FILE)
    changes = [PolicyChange(file, change) for change in project_changes(old, new)]
    stages = [_environment(tree, project, environment) for tree, project in ((before, old), (after, new))]
    changes += [PolicyChange(stages[1].file or file, change) for change in environment_changes(*stages)]
    return sorted(changes, key=lambda item: CLASSES.index(item.change.kind))


def project_changes(old: Project, new: Project) -> Iterator[Change]:
    """What differs between two `automata.yaml`."""
    yield from _stages(old, new)
    yield from _count("checks.approvals", "people other than the author who must approve", old.checks, new.checks)
    yield from _replay(old.checks.get("replay", {}), new.checks.get("replay", {}))
    for name in sorted(set(old.masked) - set(new.masked)):
        yield Change("security", "masking.fields", f"recordings mask `{name}` no more", name, None)
    for name in sorted(set(new.masked) - set(old.masked)):
        yield Change("behaviour", "masking.fields", f"recordings mask `{name}`", None, name)
    yield from _sync(old.policy, new.policy)
    yield from _environments(old.environments, new.environments)
    if old.flows != new.flows:
        message = f"flows are read from {', '.join(new.flows)}, where it was {', '.join(old.flows)}"
        yield Change("behaviour", "flows", message, list(old.flows), list(new.flows))


def environment_changes(old: Environment, new: Environment) -> Iterator[Change]:
    """What differs between two files of one environment, beside what is part of versions."""
    if old.secrets is not None and new.secrets is None:
        yield Change("security", "secrets", "every secret may be used, where a list said which", sorted(old.secrets))
    elif old.secrets is None and new.secrets is not None:
        yield Change("behaviour", "secrets", "only the listed secrets may be used", None, sorted(new.secrets))
    else:
        had, has = old.secrets or frozenset(), new.secrets or frozenset()
        for name in sorted(has - had):
            yield Change("security", "secrets", f"the secret `{name}` may be used", None, name)
        for name in sorted(had - has):
            yield Change("behaviour", "secrets", f"the secret `{name}` may be used no more", name, None)
    yield from _notifications(*({rule["name"]: rule for rule in side.notifications} for side in (old, new)))


def _environment(tree: Tree, project: Project, name: str) -> Environment:
    try:
        return read_environment(tree, project, name)[0]
    except Usage:
        return Environment(name)  # the project did not have it yet, or has it no more


def _stages(old: Project, new: Project) -> Iterator[Change]:
    had, has = set(old.required_stages), set(new.required_stages)
    for name in sorted(had - has):
        yield Change("security", "checks.required", f"the stage `{name}` decides about changes no more", name, None)
    for name in sorted(has - had):
        yield Change("behaviour", "checks.required", f"the stage `{name}` decides about changes", None, name)


def _count(
    path: str, what: str, old: Mapping[str, Any], new: Mapping[str, Any], default: float = 0
) -> Iterator[Change]:
    """A number of which less is weaker."""
    key = path.rpartition(".")[2]
    had, has = old.get(key, default), new.get(key, default)
    if had != has:
        yield Change("security" if has < had else "behaviour", path, f"{what}: {had} → {has}", had, has)


def _replay(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    yield from _count("checks.replay.last", "recorded runs of a flow that are replayed", old, new, REPLAY_LAST)
    for key, what in (("ignore", "differences at `{}` do not count"), ("unordered", "`{}` may be in any order")):
        for path in sorted(set(new.get(key, ())) - set(old.get(key, ()))):
            yield Change("security", f"checks.replay.{key}", f"replay: {what.format(path)}", None, path)
        for path in sorted(set(old.get(key, ())) - set(new.get(key, ()))):
            yield Change("behaviour", f"checks.replay.{key}", f"replay: {what.format(path)}, no more", path, None)
    had, has = old.get("tolerance", 0), new.get("tolerance", 0)
    if had != has:
        message = f"replay: numbers may be apart by {had} → {has} of the larger"
        yield Change("security" if has > had else "behaviour", "checks.replay.tolerance", message, had, has)


def _sync(old: Policy, new: Policy) -> Iterator[Change]:
    if old.prune != new.prune:
        looser = _STRICTNESS.index(new.prune) < _STRICTNESS.index(old.prune)
        message = f"flows that left the repository: {old.prune} → {new.prune}"
        yield Change("security" if looser else "behaviour", "sync.prune", message, old.prune, new.prune)
    limits = (
        (old.max_count, new.max_count, "count", "flows"),
        (old.max_percent, new.max_percent, "percent", "percent"),
    )
    for had, has, key, what in limits:
        if had != has:
            looser = has is None or (had is not None and has > had)
            amounts = " → ".join("any number" if value is None else f"{value:g}" for value in (had, has))
            message = f"how many {what} may leave at once without a question: {amounts}"
            yield Change("security" if looser else "behaviour", f"sync.max_delete.{key}", message, had, has)
    if old.heal != new.heal:
        message = f"what was changed beside Git {'is put back' if new.heal else 'stays as it is'}"
        yield Change("behaviour" if new.heal else "security", "sync.heal", message, old.heal, new.heal)


def _environments(old: Mapping[str, EnvironmentEntry], new: Mapping[str, EnvironmentEntry]) -> Iterator[Change]:
    for name in sorted(old.keys() - new.keys()):
        yield Change("security", f"environments.{name}", f"the environment `{name}` is gone", _entry(old[name]), None)
    for name in sorted(new.keys() - old.keys()):
        yield Change("security", f"environments.{name}", f"the environment `{name}` is new", None, _entry(new[name]))
    for name in sorted(old.keys() & new.keys()):
        for key, what in (("branch", "follows the branch"), ("file", "reads its variables from")):
            had, has = getattr(old[name], key), getattr(new[name], key)
            if had != has:
                message = f"`{name}` {what} {shown(has)}, where it was {shown(had)}"
                yield Change("security", f"environments.{name}.{key}", message, had, has)


def _entry(entry: EnvironmentEntry) -> dict[str, str | None]:
    return {"branch": entry.branch, "file": entry.file}


def _notifications(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Whoever is told something else, or no more, or besides: a URL is where data of runs goes."""
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            verb = "is new" if name not in old else "is gone" if name not in new else "differs"
            message = f"the notification `{name}` {verb}"
            yield Change("security", f"notifications.{name}", message, old.get(name), new.get(name))
