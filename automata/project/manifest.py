"""`automata.yaml` and `environments/*.yaml`: what they say, every problem reported with its place (codes AF30x)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from automata.errors import AutomataError, Diagnostic, Usage
from automata.flow.findings import Findings, Positions, child
from automata.flow.shape import Shape
from automata.flow.yaml12 import parse_yaml
from automata.git.names import check_branch, check_folder, nearest, shown
from automata.git.tree import joined
from automata.project.schemas import ENVIRONMENT_SCHEMA, PROJECT_SCHEMA, REQUIRED_STAGES
from automata.project.tree import Tree
from automata.steps.notification_message import check_rule
from automata.steps.policy import Rule

FILE = "automata.yaml"
EMPTY_FILE = "AF011"
Prune = Literal["archive", "confirm", "never"]


@dataclass(frozen=True, slots=True)
class Policy:
    """When flows that left the repository are archived. A limit that is None does not hold.

    `heal`: what somebody changed in the database is put back to what the commit says.
    """

    prune: Prune = "archive"
    max_count: int | None = 5
    max_percent: float | None = 20
    heal: bool = False


@dataclass(frozen=True, slots=True)
class EnvironmentEntry:
    """One environment as the project names it; what it does not name is None."""

    name: str
    branch: str | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """`flows` are folders below the project's folder; `positions` are those of `file`, for later findings."""

    file: str = ""
    flows: tuple[str, ...] = ("flows",)
    environments: Mapping[str, EnvironmentEntry] = field(default_factory=dict)
    policy: Policy = Policy()
    checks: Mapping[str, Any] = field(default_factory=dict)
    masked: tuple[str, ...] = ()
    positions: Positions = field(default_factory=Positions, compare=False)

    @property
    def required_stages(self) -> tuple[str, ...]:
        """The stages of `automata check` that decide about a change of the project."""
        return tuple(self.checks.get("required", REQUIRED_STAGES))


@dataclass(frozen=True, slots=True)
class Environment:
    """What one environment gives its flows. `secrets` are names, None when its file lists none.

    `recording` is for flows that do not say it themselves; `masked` are the project's names for all of them. `egress`
    has `allow` and `deny`; each of `notifications` has a name of its own.
    """

    name: str
    file: str = ""
    vars: Mapping[str, Any] = field(default_factory=dict)
    secrets: frozenset[str] | None = None
    recording: bool = False
    masked: tuple[str, ...] = ()
    egress: Mapping[str, Any] = field(default_factory=dict)
    notifications: tuple[Mapping[str, Any], ...] = ()


def read_project(tree: Tree) -> tuple[Project, list[Diagnostic]]:
    """The project of a tree; the defaults when it has no `automata.yaml` or a wrong one."""
    path = joined(tree.folder, FILE)
    value, findings = _read(tree, path, PROJECT_SCHEMA)
    if value is None:
        return Project(positions=findings.positions), list(findings.done())
    project = Project(
        file=path,
        flows=_folders(value.get("flows", ["flows"]), findings),
        environments=_environments(value.get("environments", {}), findings),
        policy=_policy(value.get("sync", {})),
        checks=value.get("checks", {}),
        masked=tuple(sorted(value.get("masking", {}).get("fields", ()))),
        positions=findings.positions,
    )
    return project, list(findings.done())


def read_environment(tree: Tree, project: Project, name: str) -> tuple[Environment, list[Diagnostic]]:
    """The variables of one environment. Raises Usage (code `environment_unknown`) when the project has others only."""
    entry = project.environments.get(name)
    if entry is None and project.environments:
        raise Usage(
            f"{project.file} has no environment {shown(name)}.",
            code="environment_unknown",
            hint=nearest(name, project.environments) or f"It has {', '.join(sorted(project.environments))}.",
        )
    named = entry.file if entry else None
    path = joined(tree.folder, named or f"environments/{name}.yaml")
    value, findings = _read(tree, path, ENVIRONMENT_SCHEMA)
    if value is None:
        if named and not findings.found and tree.find(path)[0] is None:
            findings = Findings(project.file, project.positions)
            findings.add("AF303", f"the file {shown(path)} does not exist", f"{child('/environments', name)}/file")
        return Environment(name, masked=project.masked), list(findings.done())
    secrets = frozenset(value["secrets"]) if "secrets" in value else None
    recording = value.get("recording") == "on"
    environment = Environment(
        name,
        path,
        value.get("vars", {}),
        secrets,
        recording,
        project.masked,
        _egress(value.get("egress", {}), findings),
        _notifications(value.get("notifications", ()), secrets, findings),
    )
    return environment, list(findings.done())


def environment_branches(tree: Tree) -> dict[str, str | None]:
    """The branch of each environment that the project names; None where it names none."""
    return {name: entry.branch for name, entry in read_project(tree)[0].environments.items()}


def _read(tree: Tree, path: str, schema: dict[str, Any]) -> tuple[dict[str, Any] | None, Findings]:
    """The value of a file of a tree; None when it is absent or wrong (then the findings say why)."""
    entry, listing = tree.find(path)
    if entry is None:
        return None, Findings(path, Positions(), found=listing.diagnostics)
    return parse_file(tree.data(entry), path, schema)


def parse_file(data: bytes, path: str, schema: dict[str, Any]) -> tuple[dict[str, Any] | None, Findings]:
    """The value of a file that has the shape of `schema`; None when it has not, and the findings say why.

    An empty file, or one of comments only, is an empty mapping: it asks for the defaults.
    """
    value, positions, problems = parse_yaml(data, path)
    diagnostics = [item for item in problems if item.code != EMPTY_FILE]
    findings = Findings(path, positions, found=diagnostics)
    if not diagnostics:
        value = {} if value is None else value
        Shape({}, findings).check(value, schema)
    return (None if findings.found else value), findings


def _folders(folders: Sequence[str], findings: Findings) -> tuple[str, ...]:
    kept: list[str] = []
    for index, text in enumerate(folders):
        pointer = f"/flows/{index}"
        folder = _checked(check_folder, text, pointer, findings)
        if folder is None:
            continue
        if folder == "":
            findings.add("AF301", "flows need a folder of their own, such as `flows`", pointer)
        elif other := next((other for other in kept if _overlap(folder, other)), None):
            findings.add("AF301", f"the folders {shown(other)} and {shown(folder)} hold the same files", pointer)
        else:
            kept.append(folder)
    return tuple(kept)


def _environments(listed: Mapping[str, Mapping[str, str]], findings: Findings) -> dict[str, EnvironmentEntry]:
    entries = {}
    for name, entry in listed.items():
        pointer = child("/environments", name)
        branch, file = entry.get("branch"), entry.get("file")
        entries[name] = EnvironmentEntry(
            name,
            branch and _checked(check_branch, branch, f"{pointer}/branch", findings),
            file and _checked(check_folder, file, f"{pointer}/file", findings),
        )
    return entries


def _policy(sync: Mapping[str, Any]) -> Policy:
    policy = Policy(sync.get("prune", "archive"), heal=sync.get("heal", False))
    if "max_delete" not in sync:
        return policy
    # Who names one limit means that one: the other does not silently stay.
    limits = sync["max_delete"]
    return replace(policy, max_count=limits.get("count"), max_percent=limits.get("percent"))


def _egress(lists: Mapping[str, Any], findings: Findings) -> Mapping[str, Any]:
    for key in ("allow", "deny"):
        for index, rule in enumerate(lists.get(key, ())):
            try:
                Rule.parse(rule)
            except Usage as error:
                findings.add("AF306", error.message.rstrip("."), f"/egress/{key}/{index}", error.hint)
    return {key: list(lists[key]) for key in ("allow", "deny") if lists.get(key)}


def _notifications(
    listed: Sequence[Mapping[str, Any]], secrets: frozenset[str] | None, findings: Findings
) -> tuple[Mapping[str, Any], ...]:
    rules: list[Mapping[str, Any]] = []
    for index, rule in enumerate(listed):
        pointer = f"/notifications/{index}"
        rule = {"name": f"rule-{index + 1}", **rule}
        if rule["name"] in {other["name"] for other in rules}:
            findings.add("AF307", f"two notifications are called `{rule['name']}`", pointer)
        try:
            secret_names = check_rule(rule)
        except Usage as error:
            findings.add("AF307", error.message.rstrip("."), pointer, error.hint)
            continue
        for name in secret_names if secrets is not None else ():
            if name not in (secrets or ()):
                findings.add("AF321", f"the secret `{name}` is not listed", pointer, severity="warning")
        rules.append(rule)
    return tuple(rules)


def _checked(check: Callable[[str], str], text: str, pointer: str, findings: Findings) -> str | None:
    try:
        return check(text)
    except AutomataError as error:
        findings.add("AF302", error.message.rstrip("."), pointer)
        return None


def _overlap(folder: str, other: str) -> bool:
    return f"{folder}/".startswith(f"{other}/") or f"{other}/".startswith(f"{folder}/")
