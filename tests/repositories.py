"""Real repositories, made by the git binary (which the product itself never calls)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
}


class GitRepo:
    """A repository with a working tree at `path`; every method returns what git printed or the new commit."""

    def __init__(self, path: Path, *options: str) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main", *options)

    def git(self, *arguments: str, stdin: bytes | None = None, **environment: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            env=ENVIRONMENT | environment,
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode(errors="replace").strip()

    def write(self, files: dict[str, str | bytes]) -> None:
        for name, content in files.items():
            place = self.path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(
        self, files: dict[str, str | bytes] | None = None, message: str = "change", *, author: str = "Ada"
    ) -> str:
        self.write(files or {})
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message, GIT_AUTHOR_NAME=author)
        return self.git("rev-parse", "HEAD")

    def remove(self, *names: str, message: str = "remove") -> str:
        self.git("rm", "-q", *names)
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def commit_raw(self, entries: list[tuple[str, str, bytes]], message: str = "crafted") -> str:
        """Commit a tree that no checkout could make: (mode, object id, raw name) entries, unsorted is fine."""
        line = b"".join(f"{mode} {_kind(mode)} {blob}\t".encode() + name + b"\0" for mode, blob, name in entries)
        tree = self.git("mktree", "-z", "--missing", stdin=line)
        return self.commit_tree(tree, message)

    def commit_tree(self, tree: str, message: str = "crafted") -> str:
        commit = self.git("commit-tree", tree, "-m", message)
        self.git("update-ref", "refs/heads/main", commit)
        return commit

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", stdin=content)

    def tree(self, *entries: tuple[str, str, bytes]) -> str:
        line = b"".join(f"{mode} {_kind(mode)} {blob}\t".encode() + name + b"\0" for mode, blob, name in entries)
        return self.git("mktree", "-z", "--missing", stdin=line)


def _kind(mode: str) -> str:
    return {"040000": "tree", "160000": "commit"}.get(mode, "blob")


@pytest.fixture
def make_repo(tmp_path: Path) -> Callable[..., GitRepo]:
    def make(name: str = "repo", *options: str) -> GitRepo:
        return GitRepo(tmp_path / name, *options)

    return make


@pytest.fixture
def repo(make_repo: Callable[..., GitRepo]) -> GitRepo:
    return make_repo()


def flow_text(name: str, value: Any = 1, **extra: Any) -> str:
    """A small valid flow (JSON is YAML); `value` is what makes one version differ from another."""
    step = {"id": "say", "type": "transform", "config": {"mappings": {"value": value}}}
    return json.dumps({"name": name, "steps": [step], **extra}, indent=1)


@pytest.fixture
def flow() -> Callable[..., str]:
    return flow_text


@pytest.fixture
def flows() -> Callable[..., dict[str, str]]:
    """`flows(20)` is twenty files below `flows/`: flow-00 and so on."""

    def make(number: int, value: Any = 1) -> dict[str, str]:
        return {f"flows/flow-{index:02d}.yaml": flow_text(f"flow-{index:02d}", value) for index in range(number)}

    return make
