"""A repository that is at another address now: the refusal names the way, and on it nothing is lost."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from automata.cli.app import main

Run = Callable[..., tuple[int, str, str]]
VERSIONS = "SELECT flows.id, flows.name, count(*) FROM flows JOIN flow_versions ON flow_id = flows.id GROUP BY 1"
Rows = Callable[[str], list[Any]]


@pytest.fixture
def run(
    fresh_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Call it with arguments for (exit code, stdout, stderr)."""
    for name in ("AUTOMATA_REPO", "AUTOMATA_BRANCH", "AUTOMATA_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AUTOMATA_DATABASE_URL", fresh_database_url)
    monkeypatch.setenv("AUTOMATA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["automata", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


@pytest.fixture
def rows(fresh_database_url: str) -> Rows:
    def read(query: str) -> list[Any]:
        with psycopg.connect(fresh_database_url) as conn:
            return conn.execute(query.encode()).fetchall()

    return read


@pytest.fixture
def old(run: Run, tmp_path: Path) -> Path:
    """A repository that was synced."""
    assert run("init", "old")[0] == 0
    assert run("sync", "--repo", "old")[0] == 0
    return tmp_path / "old"


def git(place: Path, *words: str) -> None:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run(["git", "-C", str(place), *identity, *words], check=True, capture_output=True)


def command_in(text: str) -> list[str]:
    """The arguments of the command that a message names."""
    return shlex.split(text[text.index("automata sync move") :].splitlines()[0])[1:]


def new_address(old: Path, how: str) -> str:
    place = old.parent / "new"
    if how == "moved":
        old.rename(place)
    elif how == "copied":
        shutil.copytree(old, place)
    else:
        git(old, "clone", "--bare", str(old), str(place))
    return f"file://{place}" if how == "url" else str(place)


@pytest.mark.parametrize("how", ["moved", "copied", "cloned", "url"])
def test_the_refusal_names_the_command_and_it_loses_nothing(run: Run, rows: Rows, old: Path, how: str) -> None:
    before = rows(
        "SELECT flows.id, flows.name, count(*) FROM flows JOIN flow_versions ON flow_id = flows.id GROUP BY 1"
    )
    new = new_address(old, how)
    code, _, err = run("sync", "--repo", new)
    assert (code, "[name_taken]" in err, "same repository" in err) == (6, True, True)
    code, out, err = run(*command_in(err), "-o", "json")
    assert (code, err, json.loads(out)["url"]) == (0, "", new)
    code, out, _ = run("sync", "--repo", new)
    assert (code, "unchanged" in out) == (0, True)
    after = rows(VERSIONS)
    assert after == before
    assert rows("SELECT url FROM sync_sources") == [(new,)]
    assert rows("SELECT action FROM audit_log WHERE action = 'sync.move'") == [("sync.move",)]


def test_a_folder_that_moved_inside_its_repository_is_followed(run: Run, rows: Rows, old: Path) -> None:
    (old / "team").mkdir()
    for name in ("flows", "automata.yaml", "environments", "tests"):
        git(old, "mv", name, "team")
    git(old, "commit", "-q", "-m", "move")
    code, _, err = run("sync", "--repo", "old", "--path", "team")
    assert code == 6
    assert run(*command_in(err))[0] == 0
    assert run("sync", "--repo", "old", "--path", "team")[0] == 0
    assert rows("SELECT path FROM sync_sources") == [("team",)]


@pytest.mark.parametrize("written", ["with", "without"])
def test_a_slash_at_the_end_makes_no_other_source(run: Run, rows: Rows, old: Path, written: str) -> None:
    url = f"file://{old}"
    assert run("sync", "move", "--from", "old", "--to", url)[0] == 0
    if written == "with":  # as an earlier version did
        rows(f"UPDATE sync_sources SET url = '{url}/' RETURNING 1")
    for address in (f"{url}/", url, f"{url}//"):
        code, out, _ = run("sync", "--repo", address)
        assert (code, "unchanged" in out) == (0, True)
    assert rows("SELECT url FROM sync_sources") == [(url,)]


def test_another_repository_is_refused_unless_it_is_meant(run: Run, rows: Rows, old: Path) -> None:
    shutil.copytree(old, old.parent / "other", ignore=shutil.ignore_patterns(".git"))
    git(old.parent / "other", "init", "-q", "-b", "main")
    git(old.parent / "other", "add", "-A")
    git(old.parent / "other", "commit", "-q", "-m", "another history")
    words = ("sync", "move", "--from", "old", "--to", "other")
    code, _, err = run(*words)
    assert (code, "[other_repository]" in err) == (5, True)
    code, _, err = run("sync", "--repo", "other")
    assert (code, "same repository" in err, "--from OLD --to NEW" in err) == (6, False, True)
    assert rows("SELECT url FROM sync_sources WHERE head_sha IS NOT NULL") == [(str(old),)]
    assert run(*words, "--unrelated")[0] == 0
    assert run("sync", "--repo", "other")[0] == 0


def test_a_history_that_was_written_anew_is_known_by_its_first_commit(run: Run, old: Path) -> None:
    (old / "flows/more.yaml").write_text((old / "flows/hello.yaml").read_text().replace("hello", "more"))
    git(old, "add", "-A")
    git(old, "commit", "-q", "-m", "more")
    assert run("sync", "--repo", "old")[0] == 0
    git(old, "clone", str(old), str(old.parent / "new"))
    git(old.parent / "new", "reset", "--hard", "HEAD~1")
    git(old.parent / "new", "commit", "-q", "--allow-empty", "-m", "other")
    git(old.parent / "new", "reflog", "expire", "--expire=all", "--all")
    git(old.parent / "new", "branch", "-r", "-d", "origin/main", "origin/HEAD")
    git(old.parent / "new", "gc", "-q", "--prune=now")
    assert run("sync", "move", "--from", "old", "--to", "new")[0] == 0


def test_what_cannot_be_moved_is_said_and_changes_nothing(run: Run, rows: Rows, old: Path) -> None:
    assert run("init", "second")[0] == 0
    for file in (old.parent / "second/flows").rglob("*.yaml"):
        file.write_text(file.read_text().replace("name: ", "name: second-", 1))
    git(old.parent / "second", "commit", "-q", "-a", "-m", "other names")
    assert run("sync", "--repo", "second")[0] == 0
    before = rows("SELECT url, head_sha FROM sync_sources ORDER BY url")
    for words, code, told in [
        (("--from", "nowhere", "--to", "old"), 3, "no_source"),
        (("--from", "old", "--to", "nowhere"), 3, "repository_not_found"),
        (("--from", "old", "--to", "second", "--unrelated"), 6, "address_taken"),
        (("--from", "old", "--to", "second", "--env", "dev"), 3, "no_source"),
    ]:
        ended, _, err = run("sync", "move", *words)
        assert (ended, f"[{told}]" in err) == (code, True), err
    assert rows("SELECT url, head_sha FROM sync_sources ORDER BY url") == before
