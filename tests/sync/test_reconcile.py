"""Whole syncs: real repositories, a real database."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from automata.errors import AutomataError, Conflict, Invalid, Missing, Refused, Unavailable, Usage
from automata.flow.model import Flow
from automata.git.mirror import Mirror
from automata.project import flows as reader
from automata.project.source import Source
from automata.store.database import Database
from automata.store.flows import put_api_flow
from automata.sync import steps
from automata.sync.reconcile import sync_once
from automata.sync.report import SyncReport


class Place:
    """A database and a repository; `sync` is one attempt, the rest looks at what came of it."""

    def __init__(self, url: str, repo: Any, mirrors: Path) -> None:
        self.url = url
        self.repo = repo
        self.mirrors = mirrors

    async def sync(self, repo: str | None = None, **options: Any) -> SyncReport:
        given = {
            name: options.pop(name) for name in ("branch", "environment", "path", "working_tree") if name in options
        }
        source = Source(repo or str(self.repo.path), **given, mirrors=self.mirrors)
        async with await Database.open(self.url, max_size=3) as db:
            return await sync_once(db, source, **options)

    def rows(self, statement: str) -> list[dict[str, Any]]:
        with psycopg.connect(self.url, row_factory=dict_row) as conn:
            return conn.execute(statement).fetchall()

    def flows(self) -> dict[str, tuple[int | None, bool]]:
        """Name -> (current version, archived)."""
        rows = self.rows(
            "SELECT name, number, archived_at IS NOT NULL AS gone FROM flows"
            " LEFT JOIN flow_versions v ON v.id = current_version_id ORDER BY name"
        )
        return {row["name"]: (row["number"], row["gone"]) for row in rows}

    def attempts(self) -> list[str]:
        return [row["status"] for row in self.rows("SELECT status FROM sync_attempts ORDER BY id")]

    def snapshot(self) -> list[Any]:
        """Everything that a sync may write, but the attempts."""
        tables = ("flows", "flow_versions", "schedules")
        return [self.rows(f"SELECT * FROM {table} ORDER BY id") for table in tables]


@pytest.fixture
def place(fresh_database_url: str, repo: Any, tmp_path: Path) -> Place:
    return Place(fresh_database_url, repo, tmp_path / "mirrors")


def counts(report: SyncReport) -> dict[str, int]:
    return {kind: number for kind, number in report.counts.items() if number}


# --- what becomes of a commit --------------------------------------------------------------------------------------


async def test_a_commit_becomes_versions_with_their_provenance(place: Place, flow: Callable[..., str]) -> None:
    first = place.repo.commit(
        {"flows/a.yaml": flow("a"), "flows/deep/b.json": flow("b")}, "Add two\n\nBody", author="Bob"
    )
    head = place.repo.commit({"README.md": "x"})
    report = await place.sync()
    assert (report.status, report.sha, report.branch, counts(report)) == ("synced", head, "main", {"create": 2})
    rows = place.rows("SELECT commit_sha, path, author, message, committed_at FROM flow_versions ORDER BY path")
    assert [(row["path"], row["commit_sha"]) for row in rows] == [("flows/a.yaml", first), ("flows/deep/b.json", first)]
    assert {(row["author"], row["message"]) for row in rows} == {("Bob <ada@example.com>", "Add two")}
    assert json.loads(json.dumps(report.to_json()))["actions"][0] == {
        "action": "create", "flow": "a", "path": "flows/a.yaml", "previous": None,
    }  # fmt: skip


async def test_a_version_that_only_variables_made_comes_from_the_commit_that_changed_them(place: Place) -> None:
    reads = json.dumps(
        {"name": "a", "steps": [{"id": "s", "type": "transform", "config": {"mappings": {"r": "{{ vars.rate }}"}}}]}
    )
    first = place.repo.commit({"flows/a.yaml": reads, "environments/prod.yaml": "vars: {rate: 1}\n"}, "Add")
    await place.sync()
    moved = place.repo.commit({"environments/prod.yaml": "vars: {rate: 2}\n"}, "Raise the rate", author="Bob")
    await place.sync()
    rows = place.rows("SELECT commit_sha, path, author FROM flow_versions ORDER BY number")
    assert [row["commit_sha"] for row in rows] == [first, moved]
    assert (rows[1]["path"], rows[1]["author"]) == ("flows/a.yaml", "Bob <ada@example.com>")


async def test_the_second_sync_changes_nothing_and_attempts_do_not_grow(
    place: Place, flows: Callable[..., Any]
) -> None:
    place.repo.commit(flows(3))
    await place.sync()
    before = place.snapshot()
    for _ in range(4):
        assert (await place.sync()).status == "unchanged"
    assert place.snapshot() == before
    assert place.attempts() == ["synced", "unchanged"]


async def test_an_unchanged_commit_is_not_read_again(
    place: Place, flows: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.repo.commit(flows(1))
    await place.sync()
    monkeypatch.setattr(steps, "list_files", lambda *_: pytest.fail("the files did not move"))
    assert (await place.sync()).status == "unchanged"


async def test_a_commit_outside_the_project_only_moves_the_head(place: Place, flow: Callable[..., str]) -> None:
    place.repo.commit({"p/flows/a.yaml": flow("a")})
    await place.sync(path="p")
    head = place.repo.commit({"elsewhere": "1"})
    report = await place.sync(path="p")
    assert (report.status, report.sha) == ("unchanged", head)
    assert place.rows("SELECT head_sha FROM sync_sources") == [{"head_sha": head}]


async def test_a_program_that_makes_other_versions_of_the_same_files_reads_them_again(place: Place) -> None:
    """As after an upgrade: the hashes are those that an earlier program gave."""
    call = {"id": "s", "type": "http", "config": {"url": "https://a.test", "body": {"z": 1, "a": 2}}}
    flows = {name: json.dumps({"name": name, "steps": [call]}) for name in ("a", "b")}
    first = place.repo.commit({"flows/a.yaml": flows["a"], "flows/b.yaml": flows["b"]})
    head = place.repo.commit({"flows/b.yaml": flows["b"].replace("a.test", "b.test")})
    await place.sync()
    tree = place.repo.git("rev-parse", f"{head}^{{tree}}").strip()
    place.rows("UPDATE flow_versions SET content_hash = 'old' || number WHERE path = 'flows/a.yaml' RETURNING id")
    for mark in (tree, f"{tree}/1"):
        place.rows(f"UPDATE sync_sources SET tree_sha = '{mark}' RETURNING id")
        report = await place.sync()
        assert report.sha == head
    assert place.flows() == {"a": (2, False), "b": (1, False)}
    (made,) = place.rows("SELECT commit_sha, author FROM flow_versions WHERE path = 'flows/a.yaml' AND number = 2")
    assert made["commit_sha"] == first, "the commit that last changed the flow made it, not the upgrade"
    assert (await place.sync()).status == "unchanged"


async def test_comments_key_order_and_moved_files_make_no_version(place: Place) -> None:
    step = "{id: s, type: transform, config: {mappings: {v: 1}}}"
    place.repo.commit({"flows/a.yaml": f"name: a\ndescription: d\nsteps: [{step}]\n"})
    await place.sync()
    place.repo.remove("flows/a.yaml")
    place.repo.commit({"flows/other/b.yaml": f"# a comment\nsteps:\n  - {step}\ndescription: d\nname: a\n"})
    report = await place.sync()
    assert (report.status, counts(report)) == ("unchanged", {"unchanged": 1})
    assert place.flows() == {"a": (1, False)}


async def test_only_what_changed_gets_a_version(
    place: Place, flow: Callable[..., str], flows: Callable[..., Any]
) -> None:
    place.repo.commit(flows(5))
    await place.sync()
    place.repo.commit({"flows/flow-03.yaml": flow("flow-03", 2)})
    assert counts(await place.sync()) == {"update": 1, "unchanged": 4}
    assert place.flows()["flow-03"] == (2, False)
    assert len(place.rows("SELECT FROM flow_versions")) == 6


async def test_a_revert_points_back_to_the_old_version(place: Place, flow: Callable[..., str]) -> None:
    for value in (1, 2, 1):
        place.repo.commit({"flows/a.yaml": flow("a", value)})
        await place.sync()
    assert place.flows() == {"a": (1, False)}
    assert len(place.rows("SELECT FROM flow_versions")) == 2


async def test_a_rename_keeps_the_history(place: Place, flow: Callable[..., str]) -> None:
    place.repo.commit({"flows/a.yaml": flow("old")})
    await place.sync()
    identity = place.rows("SELECT id FROM flows")
    place.repo.commit({"flows/a.yaml": flow("new", renamed_from="old")})
    assert counts(await place.sync()) == {"rename": 1}
    assert place.flows() == {"new": (2, False)}
    assert place.rows("SELECT id FROM flows") == identity


async def test_what_left_is_archived_and_what_returns_is_unarchived_with_its_history(
    place: Place, flow: Callable[..., str], flows: Callable[..., Any]
) -> None:
    text = flow("leaver", schedules=[{"name": "often", "cron": "* * * * *"}])
    place.repo.commit({**flows(5), "flows/leaver.yaml": text})
    await place.sync()
    place.repo.remove("flows/leaver.yaml")
    assert counts(await place.sync()) == {"archive": 1, "unchanged": 5}
    assert place.flows()["leaver"] == (1, True)
    assert place.rows("SELECT next_fire_at FROM schedules") == [{"next_fire_at": None}]
    place.repo.commit({"flows/leaver.yaml": text})
    assert counts(await place.sync()) == {"unarchive": 1, "unchanged": 5}
    assert place.flows()["leaver"] == (1, False)
    assert place.rows("SELECT next_fire_at IS NOT NULL AS due FROM schedules") == [{"due": True}]


async def test_schedules_come_and_go_with_their_flow(place: Place, flow: Callable[..., str]) -> None:
    place.repo.commit({"flows/a.yaml": flow("a", schedules=[{"name": "daily", "cron": "0 6 * * *"}])})
    await place.sync()
    assert place.rows("SELECT name, origin FROM schedules") == [{"name": "daily", "origin": "git"}]
    place.repo.commit({"flows/a.yaml": flow("a")})
    await place.sync()
    assert place.rows("SELECT FROM schedules") == []


async def test_a_change_of_variables_makes_versions_of_the_flows_that_read_them(
    place: Place, flow: Callable[..., str]
) -> None:
    place.repo.commit({
        "flows/reads.yaml": flow("reads", "{{ vars.greeting }}"), "flows/not.yaml": flow("not"),
        "environments/prod.yaml": "vars: {greeting: Hello, other: 1}\n",
    })  # fmt: skip
    await place.sync()
    place.repo.commit({"environments/prod.yaml": "vars: {greeting: Hi, other: 2}\n"})
    assert counts(await place.sync()) == {"update": 1, "unchanged": 1}
    variables = place.rows("SELECT number, variables FROM flow_versions WHERE spec->>'name' = 'reads' ORDER BY number")
    assert [row["variables"] for row in variables] == [{"greeting": "Hello"}, {"greeting": "Hi"}]


async def test_a_rewritten_history_is_noticed_and_planned_by_content(place: Place, flow: Callable[..., str]) -> None:
    base = place.repo.commit({"flows/a.yaml": flow("a")})
    place.repo.commit({"flows/a.yaml": flow("a", 2)})
    await place.sync()
    place.repo.git("reset", "-q", "--hard", base)
    place.repo.commit({"flows/a.yaml": flow("a", 3)})
    report = await place.sync()
    assert report.rewritten
    assert place.flows() == {"a": (2, False)}
    place.repo.commit({"flows/a.yaml": flow("a", 4)})
    assert not (await place.sync()).rewritten


# --- all or nothing ------------------------------------------------------------------------------------------------


async def test_one_invalid_file_of_twenty_blocks_them_all_with_its_place(
    place: Place, flows: Callable[..., Any]
) -> None:
    place.repo.commit(flows(20))
    await place.sync()
    before = place.snapshot()
    place.repo.commit({**flows(20, 2), "flows/flow-07.yaml": "name: flow-07\nsteps:\n  - {id: a, type: htpp}\n"})
    with pytest.raises(Invalid) as caught:
        await place.sync()
    assert caught.value.exit_code == 1
    assert {(item.file, item.line) for item in caught.value.diagnostics} == {("flows/flow-07.yaml", 3)}
    assert caught.value.details["step"] == "validate"
    assert place.snapshot() == before
    assert place.attempts() == ["synced", "failed"]
    error = place.rows("SELECT error FROM sync_attempts ORDER BY id DESC LIMIT 1")[0]["error"]
    assert (error["step"], error["transient"], error["diagnostics"][0]["line"]) == ("validate", False, 3)


async def test_the_same_failure_again_does_not_grow_the_attempts(place: Place) -> None:
    place.repo.commit({"flows/a.yaml": "name: ["})
    for _ in range(3):
        with pytest.raises(Invalid):
            await place.sync()
    assert place.attempts() == ["failed"]


async def test_a_newer_commit_supersedes_one_that_failed(place: Place, flow: Callable[..., str]) -> None:
    place.repo.commit({"flows/a.yaml": "nonsense"})
    with pytest.raises(Invalid):
        await place.sync()
    place.repo.commit({"flows/a.yaml": flow("a")})
    assert (await place.sync()).status == "synced"


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"flows/a.yaml": b"\xff\xfe\x00"}, "AF002"),
        ({"flows/a.yaml": b"caf\xe9"}, "AF002"),
        ({"flows/a.yaml": b"x" * 300 * 1024}, "AF313"),
        ({"flows/a.yaml": b""}, "AF011"),
        ({"automata.yaml": b"flows: 3"}, "AF022"),
        ({"environments/prod.yaml": b"vars: 3"}, "AF022"),
    ],
)
async def test_a_file_that_cannot_be_read_is_invalid(
    place: Place, flow: Callable[..., str], files: Any, code: str
) -> None:
    place.repo.commit({"flows/ok.yaml": flow("ok"), **files})
    with pytest.raises(Invalid) as caught:
        await place.sync()
    assert [item.code for item in caught.value.diagnostics] == [code]
    assert place.flows() == {}


async def test_a_text_that_utf8_cannot_keep_is_no_crash(place: Place) -> None:
    text = '{"name": "a", "steps": [{"id": "s", "type": "transform", "config": {"mappings": {"v": "\\ud800"}}}]}'
    place.repo.commit({"flows/a.json": text})
    with pytest.raises(AutomataError):
        await place.sync()
    assert place.flows() == {}


async def test_a_link_in_the_flow_folder_blocks_the_commit(place: Place, flow: Callable[..., str]) -> None:
    place.repo.write({"flows/a.yaml": flow("a")})
    (place.repo.path / "flows/b.yaml").symlink_to("/etc/passwd")
    place.repo.commit()
    with pytest.raises(Invalid) as caught:
        await place.sync()
    assert [(item.code, item.file) for item in caught.value.diagnostics] == [("AF310", "flows/b.yaml")]


async def test_one_name_in_two_files_names_both(place: Place, flow: Callable[..., str]) -> None:
    place.repo.commit({"flows/a.yaml": flow("same"), "flows/b.yaml": flow("same", 2)})
    with pytest.raises(Invalid) as caught:
        await place.sync()
    assert [(item.code, item.file) for item in caught.value.diagnostics] == [("AF114", "flows/b.yaml")]
    assert "flows/a.yaml" in caught.value.diagnostics[0].message


async def test_a_variable_that_the_environment_lacks_blocks_the_commit(place: Place, flow: Callable[..., str]) -> None:
    place.repo.commit(
        {"flows/a.yaml": flow("a", "{{ vars.grating }}"), "environments/prod.yaml": "vars: {greeting: Hi}\n"}
    )
    with pytest.raises(Invalid) as caught:
        await place.sync()
    [finding] = caught.value.diagnostics
    assert (finding.code, finding.suggestion, finding.line > 0) == ("AF320", "did you mean `greeting`?", True)


async def test_a_flow_of_the_api_is_left_alone(place: Place, flow: Callable[..., str]) -> None:
    async with await Database.open(place.url) as db, db.transaction() as conn:
        await put_api_flow(conn, Flow.from_spec(json.loads(flow("mine"))))
    place.repo.commit({"flows/a.yaml": flow("a")})
    assert counts(await place.sync()) == {"create": 1}
    place.repo.commit({"flows/mine.yaml": flow("mine", 2)})
    with pytest.raises(Conflict, match="mine is managed by the API"):
        await place.sync()
    assert place.flows()["mine"] == (1, False)


async def test_a_flow_of_another_source_is_a_conflict(place: Place, make_repo: Any, flow: Callable[..., str]) -> None:
    other = make_repo("other")
    other.commit({"flows/a.yaml": flow("a")})
    await place.sync(str(other.path))
    place.repo.commit({"flows/a.yaml": flow("a", 2)})
    with pytest.raises(Conflict, match=str(other.path)):
        await place.sync()


# --- guards --------------------------------------------------------------------------------------------------------


async def test_many_deletions_need_the_word_for_this_commit_and_list(place: Place, flows: Callable[..., Any]) -> None:
    place.repo.commit(flows(20))
    await place.sync()
    before = place.snapshot()
    place.repo.remove(*list(flows(10)))
    with pytest.raises(Refused) as caught:
        await place.sync()
    assert (caught.value.exit_code, caught.value.code, caught.value.details["step"]) == (5, "prune_blocked", "guard")
    assert len(caught.value.details["flows"]) == 10
    assert place.snapshot() == before
    assert place.attempts() == ["synced", "refused"]
    with pytest.raises(Refused):
        await place.sync(confirm="0" * 16)
    word = caught.value.details["confirm"]
    place.repo.commit(
        {"flows/flow-19.yaml": "name: flow-19\nsteps: [{id: a, type: delay, config: {duration_ms: 1}}]\n"}
    )
    with pytest.raises(Refused) as again:
        await place.sync(confirm=word)
    report = await place.sync(confirm=again.value.details["confirm"])
    assert counts(report) == {"update": 1, "archive": 10, "unchanged": 9}
    assert sum(gone for _, gone in place.flows().values()) == 10


@pytest.mark.parametrize("how", ["no flows", "no folder"])
async def test_a_tree_without_flows_or_their_folder_is_refused(
    place: Place, flow: Callable[..., str], how: str
) -> None:
    place.repo.commit({"flows/a.yaml": flow("a"), "flows/.gitkeep": "", "README.md": "x"})
    await place.sync()
    place.repo.remove("-r", "flows") if how == "no folder" else place.repo.remove("flows/a.yaml")
    with pytest.raises(Refused) as caught:
        await place.sync()
    assert place.flows() == {"a": (1, False)}
    assert counts(await place.sync(confirm=caught.value.details["confirm"])) == {"archive": 1}
    assert place.flows() == {"a": (1, True)}
    assert (await place.sync()).status == "unchanged"


async def test_policy_confirm_asks_for_every_deletion_and_never_keeps(place: Place, flows: Callable[..., Any]) -> None:
    place.repo.commit({**flows(20), "automata.yaml": "sync: {prune: confirm}\n"})
    await place.sync()
    place.repo.remove("flows/flow-00.yaml")
    with pytest.raises(Refused, match="prune: confirm"):
        await place.sync()
    place.repo.commit({"automata.yaml": "sync: {prune: never}\n"})
    report = await place.sync()
    assert (report.status, counts(report)) == ("unchanged", {"unchanged": 19, "kept": 1})
    assert place.flows()["flow-00"] == (1, False)


async def test_a_first_sync_without_a_flow_folder_says_so(place: Place) -> None:
    place.repo.commit({"README.md": "x"})
    with pytest.raises(Invalid) as caught:
        await place.sync()
    assert caught.value.code == "folder_missing"


async def test_a_named_folder_that_is_missing_is_a_warning_while_nothing_leaves(
    place: Place, flow: Callable[..., str]
) -> None:
    place.repo.commit({"automata.yaml": "flows: [flows, more]\n", "flows/a.yaml": flow("a")})
    report = await place.sync()
    assert [(item.code, item.line, item.severity) for item in report.diagnostics] == [("AF304", 1, "warning")]
    assert report.status == "synced"


async def test_an_empty_flow_folder_is_a_beginning(place: Place) -> None:
    place.repo.commit({"flows/.gitkeep": ""})
    report = await place.sync()
    assert (report.status, report.actions) == ("unchanged", ())


# --- dry runs, steps, failures -------------------------------------------------------------------------------------


async def test_a_dry_run_plans_and_writes_nothing(place: Place, flows: Callable[..., Any]) -> None:
    place.repo.commit(flows(2))
    report = await place.sync(dry_run=True)
    assert (report.status, counts(report)) == ("planned", {"create": 2})
    assert report.summary().endswith("2 to create")
    assert place.snapshot() == [[], [], []]
    assert place.rows("SELECT FROM sync_sources") == place.attempts() == []


async def test_the_steps_are_heard_in_order(place: Place, flows: Callable[..., Any]) -> None:
    place.repo.commit(flows(1))
    heard: list[str] = []
    await place.sync(on_step=heard.append)
    assert heard == list(steps.STEPS)


@pytest.mark.parametrize("name", ["nope", "main~1", "-x", "a..b", "HEAD", "refs/heads/main"])
async def test_a_branch_that_is_none_changes_nothing(place: Place, flows: Callable[..., Any], name: str) -> None:
    place.repo.commit(flows(1))
    with pytest.raises((Usage, Missing)) as caught:
        await place.sync(branch=name)
    assert caught.value.exit_code == 3
    assert place.flows() == {}


async def test_a_wrong_address_leaves_no_source_behind(place: Place, tmp_path: Path) -> None:
    with pytest.raises(Missing):
        await place.sync(str(tmp_path / "nowhere"))
    assert place.rows("SELECT FROM sync_sources") == []


async def test_an_unreachable_remote_is_recorded_as_transient_without_its_credentials(place: Place) -> None:
    with pytest.raises(Unavailable):
        await place.sync("https://robot:S3CRET@127.0.0.1:1/flows.git")
    [attempt] = place.rows(
        "SELECT status, error::text AS error, url FROM sync_attempts JOIN sync_sources s ON s.id = source_id"
    )
    assert attempt["url"] == "https://127.0.0.1:1/flows.git"
    assert (attempt["status"], json.loads(attempt["error"])["transient"]) == ("failed", True)
    assert "S3CRET" not in str(attempt)


async def test_a_failure_of_the_database_changes_nothing(
    place: Place, flows: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise Unavailable("cut")

    place.repo.commit(flows(2))
    with monkeypatch.context() as patch:
        patch.setattr("automata.store.sync.declare_schedules", fail)
        with pytest.raises(Unavailable):
            await place.sync()
    assert place.flows() == {}
    assert place.attempts() == ["failed"]
    assert counts(await place.sync()) == {"create": 2}


async def test_what_nobody_expected_is_recorded_and_not_swallowed(
    place: Place, flows: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.repo.commit(flows(1))
    monkeypatch.setattr(steps, "make_plan", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await place.sync()
    error = place.rows("SELECT error FROM sync_attempts")[0]["error"]
    assert (error["code"], error["step"], error["transient"]) == ("internal", "plan", False)
    assert "ZeroDivisionError" in error["message"]
    assert error["hint"]


async def test_a_sync_that_was_overtaken_starts_over_with_the_newest_commit(
    place: Place, flow: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.repo.commit({"flows/a.yaml": flow("a", 1)})
    original, calls = steps.versions, []

    def slow(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:  # Between plan and apply of the first one, somebody pushes and another sync goes through.
            place.repo.commit({"flows/a.yaml": flow("a", 2)})
            asyncio.run(place.sync())
        return original(*arguments)

    monkeypatch.setattr(steps, "versions", slow)
    report = await place.sync()
    assert (report.status, report.sha) == ("unchanged", place.repo.git("rev-parse", "HEAD"))
    assert place.flows() == {"a": (1, False)}
    assert place.rows("SELECT spec->'steps'->0->'config'->'mappings'->'value' AS v FROM flow_versions") == [{"v": 2}]


async def test_ten_syncs_at_once_make_one_set_of_versions(place: Place, flows: Callable[..., Any]) -> None:
    place.repo.commit(flows(10))
    source = Source(str(place.repo.path), mirrors=place.mirrors)

    async with await Database.open(place.url, max_size=10) as db:
        reports = await asyncio.gather(*(sync_once(db, source) for _ in range(10)))
    assert [report.status for report in reports].count("synced") == 1
    assert set(place.flows().values()) == {(1, False)}
    assert len(place.rows("SELECT FROM flow_versions")) == 10


# --- sources -------------------------------------------------------------------------------------------------------


async def test_a_remote_is_followed_through_a_mirror(place: Place, flow: Callable[..., str]) -> None:
    place.repo.commit({"flows/a.yaml": flow("a")})
    remote = f"file://{place.repo.path}"
    assert counts(await place.sync(remote)) == {"create": 1}
    place.repo.commit({"flows/a.yaml": flow("a", 2)})
    assert counts(await place.sync(remote)) == {"update": 1}
    assert (await place.sync(remote)).status == "unchanged"


async def test_one_folder_of_a_bigger_repository_is_a_project(place: Place, flow: Callable[..., str]) -> None:
    place.repo.commit({"p/flows/a.yaml": flow("a"), "p/automata.yaml": "", "flows/b.yaml": flow("b"), "x/y": "1"})
    assert counts(await place.sync(path="./p/")) == {"create": 1}
    assert place.rows("SELECT path FROM flow_versions") == [{"path": "p/flows/a.yaml"}]
    with pytest.raises(Missing):
        await place.sync(path="q")


async def test_without_a_branch_the_environment_says_which(place: Place, flow: Callable[..., str]) -> None:
    place.repo.commit(
        {"flows/a.yaml": flow("a"), "automata.yaml": "environments: {prod: {}, dev: {branch: develop}}\n"}
    )
    place.repo.git("branch", "develop")
    assert (await place.sync(branch=None)).branch == "main"
    with pytest.raises(Conflict):
        await place.sync(branch=None, environment="dev")  # One database holds one environment: the names are taken.
    assert {row["branch"] for row in place.rows("SELECT branch FROM sync_sources")} == {"main", "develop"}


async def test_an_empty_repository_and_one_without_the_branch_say_so(place: Place) -> None:
    for options, code in (({}, "repository_empty"), ({"branch": None}, "repository_empty")):
        with pytest.raises(Missing) as caught:
            await place.sync(**options)
        assert caught.value.code == code
    place.repo.commit({"x": "1"})
    with pytest.raises(Missing) as caught:
        await place.sync(branch="prod")
    assert caught.value.code == "branch_not_found"


async def test_a_working_tree_is_synced_before_it_is_committed(place: Place, flow: Callable[..., str]) -> None:
    head = place.repo.commit({"flows/a.yaml": flow("a")})
    assert (await place.sync(working_tree=True)).sha == head
    place.repo.write({"flows/a.yaml": flow("a", 2), "flows/b.yaml": flow("b")})
    report = await place.sync(working_tree=True)
    assert (report.sha, counts(report)) == (f"{head}-dirty", {"update": 1, "create": 1})
    rows = place.rows("SELECT commit_sha, message FROM flow_versions WHERE number > 1 OR path = 'flows/b.yaml'")
    assert {(row["commit_sha"], row["message"]) for row in rows} == {(f"{head}-dirty", "not committed")}
    place.repo.write({"flows/b.yaml": "name: ["})
    with pytest.raises(Invalid):
        await place.sync(working_tree=True)
    committed = await place.sync()
    assert committed.sha == head
    assert place.flows() == {"a": (1, False), "b": (1, True)}


# --- cost ----------------------------------------------------------------------------------------------------------


async def test_after_one_change_of_many_only_that_file_is_parsed(
    place: Place, flow: Callable[..., str], flows: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    original = reader.validate_text

    def count(text: Any, file: str, *more: Any) -> Any:
        parsed.append(file)
        return original(text, file, *more)

    place.repo.commit(flows(50, f"unique {time.monotonic_ns()}"))
    monkeypatch.setattr(reader, "validate_text", count)
    await place.sync()
    assert len(parsed) == 50
    parsed.clear()
    place.repo.commit({"flows/flow-31.yaml": flow("flow-31", f"other {time.monotonic_ns()}")})
    await place.sync()
    assert parsed == ["flows/flow-31.yaml"]


def test_the_cache_forgets_the_oldest_first() -> None:
    cache = reader.ValidationCache(room=2)
    checked = reader.CheckedFile(None, ())
    for name in ("a", "b"):
        cache.put((name, "", ""), checked)
    assert cache.get(("a", "", "")) is checked
    cache.put(("c", "", ""), checked)
    assert [cache.get((name, "", "")) is not None for name in ("a", "b", "c")] == [True, False, True]


async def test_no_transaction_is_open_while_git_is_read(
    place: Place, flows: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.repo.commit(flows(1))
    seen: list[int] = []
    original = Mirror.fetch

    def look(mirror: Mirror) -> None:
        # Of this database: other tests have theirs on the same server.
        idle = (
            "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%%'"
        )
        rows = place.rows(idle)
        seen.append(rows[0]["n"])
        original(mirror)

    monkeypatch.setattr(Mirror, "fetch", look)
    await place.sync()
    assert seen == [0]


async def test_flows_that_call_each_other_in_a_circle_block_the_commit(place: Place) -> None:
    def calling(name: str, other: str) -> str:
        return f"name: {name}\nsteps:\n  - {{id: c, type: flow, config: {{flow: {other}}}}}\n"

    place.repo.commit({"flows/a.yaml": calling("a", "b"), "flows/b.yaml": calling("b", "a")})
    with pytest.raises(Invalid) as caught:
        await place.sync()
    (finding,) = caught.value.diagnostics
    assert (finding.code, finding.file, finding.line) == ("AF331", "flows/a.yaml", 3)
    assert "`a` → `b` → `a`" in finding.message
    assert place.flows() == {}


async def test_a_call_of_a_flow_that_is_not_in_the_repository_is_a_warning(place: Place) -> None:
    place.repo.commit({"flows/a.yaml": "name: a\nsteps:\n  - {id: c, type: flow, config: {flow: elsewhere}}\n"})
    report = await place.sync()
    assert [one.code for one in report.diagnostics] == ["AF330"]
    assert place.flows() == {"a": (1, False)}
