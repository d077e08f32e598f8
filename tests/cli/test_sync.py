"""`automata sync` and `automata init`, as a person at a shell meets them: words, JSON, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from automata.cli.app import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    fresh_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Call it with arguments for (exit code, stdout, stderr)."""
    for name in ("AUTOMATA_REPO", "AUTOMATA_BRANCH", "AUTOMATA_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AUTOMATA_DATABASE_URL", fresh_database_url)
    monkeypatch.setenv("AUTOMATA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["automata", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


@pytest.fixture
def place(run: Run) -> Path:
    assert run("init", "flows-repo")[0] == 0
    return Path("flows-repo")


def commit(place: Path, message: str = "change") -> None:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run(["git", "-C", str(place), "add", "-A"], check=True)
    subprocess.run(["git", "-C", str(place), *identity, "commit", "-q", "-m", message], check=True)


def test_a_clone_that_ci_made_is_synced_by_its_origin(run: Run, place: Path) -> None:
    subprocess.run(["git", "clone", "-q", str(place), "clone"], check=True)
    subprocess.run(["git", "-C", "clone", "checkout", "-q", "--detach"], check=True)
    subprocess.run(["git", "-C", "clone", "branch", "-q", "-D", "main"], check=True)
    code, out, err = run("sync", "--repo", "clone")
    assert (code, err, "2 created" in out) == (0, "", True)


def test_a_new_repository_validates_and_syncs(run: Run, place: Path) -> None:
    assert run("validate", str(place))[0] == 0
    code, out, err = run("sync", "--repo", str(place))
    assert (code, err) == (0, "")
    assert "create  hello" in out
    assert "2 created" in out
    code, out, _ = run("sync", "--repo", str(place))
    assert code == 0
    assert "unchanged" in out


def test_init_says_what_it_made_and_refuses_a_full_folder(run: Run, place: Path) -> None:
    code, _, err = run("init", str(place))
    assert code == 3
    assert "[not_empty]" in err
    code, out, _ = run("init", "other", "-o", "json")
    made = json.loads(out)
    assert (code, len(made["commit"]), "automata.yaml" in made["files"]) == (0, 40, True)


def test_json_has_the_report_and_only_that_on_stdout(run: Run, place: Path) -> None:
    code, out, err = run("sync", "--repo", str(place), "-o", "json", "--dry-run")
    report: dict[str, Any] = json.loads(out)
    assert (code, err, report["status"], report["counts"]["create"]) == (0, "", "planned", 2)
    assert [action["flow"] for action in report["actions"]] == ["hello", "sync-orders"]


def test_an_invalid_flow_is_exit_code_1_with_file_line_and_column(run: Run, place: Path) -> None:
    (place / "flows/broken.yaml").write_text("name: broken\nsteps:\n  - {id: a, type: htpp}\n")
    commit(place)
    code, out, err = run("sync", "--repo", str(place), "-o", "json")
    failure = json.loads(out)
    assert (code, failure["status"], failure["code"], failure["details"]["step"]) == (
        1, "failed", "invalid_flows", "validate",
    )  # fmt: skip
    assert failure["diagnostics"][0]["line"] == 3
    assert "flows/broken.yaml:3:" in err


def test_a_refused_prune_is_exit_code_5_and_says_how_to_confirm_it(run: Run, place: Path) -> None:
    run("sync", "--repo", str(place))
    for file in (place / "flows").rglob("*.yaml"):
        file.write_text("")
        file.unlink()
    (place / "flows" / ".gitkeep").write_text("")
    commit(place)
    code, out, err = run("sync", "--repo", str(place), "-o", "json")
    failure = json.loads(out)
    assert (code, failure["status"]) == (5, "refused")
    assert failure["details"]["flows"] == ["hello", "sync-orders"]
    word = failure["details"]["confirm"]
    assert f"--confirm-deletes {word}" in err
    code, out, _ = run("sync", "--repo", str(place), "--confirm-deletes", word)
    assert code == 0
    assert "2 archived" in out


def test_the_repository_may_come_from_the_environment(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = run("sync")
    assert (code, "[no_repository]" in err) == (3, True)
    monkeypatch.setenv("AUTOMATA_REPO", str(place))
    monkeypatch.setenv("AUTOMATA_ENVIRONMENT", "prod")
    assert run("sync")[0] == 0
    monkeypatch.setenv("AUTOMATA_BRANCH", "mian")
    code, _, err = run("sync")
    assert (code, "Did you mean 'main'?" in err) == (3, True)
    assert run("sync", "--branch", "main")[0] == 0


def test_a_hostile_name_cannot_drive_the_terminal(run: Run, place: Path) -> None:
    code, _, err = run("sync", "--repo", str(place), "--branch", "\x1b[31mred")
    assert code == 3
    assert "\x1b" not in err


def test_an_unreachable_database_is_exit_code_4(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMATA_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert run("sync", "--repo", str(place))[0] == 4
