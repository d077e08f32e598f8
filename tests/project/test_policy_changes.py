"""What a change of `automata.yaml` or of an environment means: weaker is security, stricter is behaviour."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from automata.flow.yamldump import to_yaml
from automata.project.manifest import FILE
from automata.project.policy_changes import policy_changes
from automata.project.schemas import ENVIRONMENT_SCHEMA, PROJECT_SCHEMA

PROJECT: dict[str, Any] = {
    "flows": ["flows"],
    "environments": {"prod": {"branch": "main", "file": "environments/prod.yaml"}, "dev": {"branch": "develop"}},
    "sync": {"prune": "confirm", "max_delete": {"count": 5, "percent": 20}, "heal": True},
    "masking": {"fields": ["iban"]},
    "checks": {
        "required": ["validate", "test"],
        "approvals": 2,
        "replay": {"last": 20, "ignore": ["$.at"], "unordered": ["$.rows"], "tolerance": 0.1},
    },
}
ENVIRONMENT: dict[str, Any] = {
    "vars": {"url": "https://a.example.com"},
    "secrets": ["KEY"],
    "notifications": [{"name": "ops", "on": ["run.failed"], "url": "https://ops.example.com/hook", "secret": "KEY"}],
}
WEAKER = [
    ("checks/required", ["validate"], "checks.required", "the stage `test` decides about changes no more"),
    ("checks/required", [], "checks.required", "the stage `validate` decides"),
    ("checks/approvals", 1, "checks.approvals", "2 → 1"),
    ("checks/approvals", None, "checks.approvals", "2 → 0"),
    ("checks", None, "checks.approvals", "2 → 0"),
    ("checks/replay/last", 5, "checks.replay.last", "20 → 5"),
    ("checks/replay/ignore", ["$.at", "$.total"], "checks.replay.ignore", "`$.total` do not count"),
    ("checks/replay/unordered", ["$.rows", "$writes"], "checks.replay.unordered", "`$writes` may be in any order"),
    ("checks/replay/tolerance", 0.5, "checks.replay.tolerance", "0.1 → 0.5"),
    ("masking/fields", [], "masking.fields", "mask `iban` no more"),
    ("masking", None, "masking.fields", "mask `iban` no more"),
    ("sync/prune", "archive", "sync.prune", "confirm → archive"),
    ("sync/max_delete/count", 50, "sync.max_delete.count", "5 → 50"),
    ("sync/max_delete/count", None, "sync.max_delete.count", "5 → any number"),
    ("sync/max_delete/percent", 90, "sync.max_delete.percent", "20 → 90"),
    ("sync/heal", False, "sync.heal", "stays as it is"),
    ("environments/prod/branch", "mine", "environments.prod.branch", "'mine', where it was 'main'"),
    ("environments/prod/file", "environments/dev.yaml", "environments.prod.file", "environments/dev.yaml"),
    ("environments/dev", None, "environments.dev", "is gone"),
    ("environments/staging", {"branch": "next"}, "environments.staging", "is new"),
]
STRICTER = [
    ("checks/required", ["validate", "test", "replay"], "checks.required", "`replay` decides about changes"),
    ("checks/approvals", 3, "checks.approvals", "2 → 3"),
    ("checks/replay/last", 50, "checks.replay.last", "20 → 50"),
    ("checks/replay/ignore", [], "checks.replay.ignore", "no more"),
    ("checks/replay/unordered", [], "checks.replay.unordered", "no more"),
    ("checks/replay/tolerance", None, "checks.replay.tolerance", "0.1 → 0"),
    ("masking/fields", ["iban", "pin"], "masking.fields", "mask `pin`"),
    ("sync/prune", "never", "sync.prune", "confirm → never"),
    ("sync/max_delete/count", 1, "sync.max_delete.count", "5 → 1"),
    ("sync/max_delete/percent", 10, "sync.max_delete.percent", "20 → 10"),
    ("flows", ["flows", "more"], "flows", "more"),
]
ENVIRONMENTS = [
    ("secrets", ["KEY", "OTHER"], "security", "`OTHER` may be used"),
    ("secrets", None, "security", "every secret may be used"),
    ("secrets", [], "behaviour", "`KEY` may be used no more"),
    ("notifications/0/url", "https://evil.example.net/", "security", "`ops` differs"),
    ("notifications", [], "security", "`ops` is gone"),
    ("notifications/0/on", ["run.failed", "sync.blocked"], "security", "`ops` differs"),
]


class Files:
    """A tree of these two files."""

    def __init__(self, project: Any, environment: Any = ENVIRONMENT) -> None:
        self.texts = {FILE: to_yaml(project).encode(), "environments/prod.yaml": to_yaml(environment).encode()}
        self.folder, self.commit, self.tree = "", "a" * 40, None

    def find(self, path: str) -> tuple[Any, Any]:
        return (path if path in self.texts else None), Nothing()

    def data(self, entry: Any) -> bytes:
        return self.texts[entry]


class Nothing:
    diagnostics: tuple[Any, ...] = ()


def edited(document: dict[str, Any], edit: str, value: Any) -> dict[str, Any]:
    """With another value at a path; None takes it away."""
    new = copy.deepcopy(document)
    *path, last = (int(word) if word.isdigit() else word for word in edit.split("/"))
    place: Any = new
    for word in path:
        place = place[word]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return new


def told(before: Files, after: Files) -> list[tuple[str, str, str, str]]:
    found = policy_changes(before, after, "prod")  # type: ignore[arg-type]
    return [(item.file, item.change.kind, item.change.path, item.change.message) for item in found]


@pytest.mark.parametrize(
    ("edit", "value", "path", "says", "kind"),
    [(*case, "security") for case in WEAKER] + [(*case, "behaviour") for case in STRICTER],
)
def test_each_change_of_the_policy_is_told_as_what_it_is(
    edit: str, value: Any, path: str, says: str, kind: str
) -> None:
    found = told(Files(PROJECT), Files(edited(PROJECT, edit, value)))
    assert found, "it is told as nothing"
    file, its_kind, its_path, message = next(item for item in found if says in item[3])
    assert (file, its_kind, its_path) == (FILE, kind, path), message


@pytest.mark.parametrize(("edit", "value", "kind", "says"), ENVIRONMENTS)
def test_what_an_environment_gives_and_tells_is_told(edit: str, value: Any, kind: str, says: str) -> None:
    found = told(Files(PROJECT), Files(PROJECT, edited(ENVIRONMENT, edit, value)))
    assert any(item[:2] == ("environments/prod.yaml", kind) and says in item[3] for item in found), found


def test_nothing_changed_is_nothing() -> None:
    assert told(Files(PROJECT), Files(PROJECT)) == []
    assert told(Files({}), Files({"flows": ["flows"], "checks": {"required": ["validate", "test"]}})) == []


def test_a_first_policy_is_told_too_and_the_worst_comes_first() -> None:
    kinds = [kind for _, kind, _, _ in told(Files({}), Files(PROJECT))]
    assert kinds == sorted(kinds, key=["breaking", "security", "behaviour", "neutral"].index)
    assert "behaviour" in kinds


def test_every_key_of_the_files_is_told_here_or_flow_by_flow() -> None:
    """One that is added to a schema is to be told too."""
    cases = {case[0].split("/")[0] for case in (*WEAKER, *STRICTER)}
    assert set(PROJECT_SCHEMA["properties"]) - {"$schema"} == cases
    by_flow = {"vars", "recording", "egress"}
    assert (
        set(ENVIRONMENT_SCHEMA["properties"]) - {"$schema"}
        == {case[0].split("/")[0] for case in ENVIRONMENTS} | by_flow
    )
