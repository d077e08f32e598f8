"""A bare repository with three flows, to which somebody pushes with git."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

POLICY = "checks: {required: [validate], approvals: 1}\n"


def text(name: str, value: Any = 1, **extra: Any) -> str:
    step = {"id": "say", "type": "transform", "config": {"mappings": {"value": value}}}
    return json.dumps({"name": name, "steps": [step], **extra}, indent=1)


class Repo:
    """A bare repository that somebody pushes to with git."""

    def __init__(self, place: Path) -> None:
        self.work, self.bare = place / "work", place / "flows.git"
        self.work.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    @classmethod
    def made(cls, place: Path) -> Repo:
        """With a policy and three flows on main."""
        repo = cls(place)
        files = {"automata.yaml": POLICY, **{f"flows/{name}.yaml": text(name) for name in ("orders", "stock", "other")}}
        for name, content in files.items():
            (repo.work / name).parent.mkdir(exist_ok=True)
            (repo.work / name).write_text(content)
        repo.git("add", "-A")
        repo.git("commit", "-q", "-m", "flows")
        repo.git("clone", "-q", "--bare", str(repo.work), str(repo.bare))
        return repo

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *words], cwd=self.work, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def push(self, branch: str, files: dict[str, str | None], off: str | None = None) -> str:
        """A commit on a branch, new or not, pushed."""
        if off:
            self.git("checkout", "-q", "-B", branch, off)
        else:
            self.git("checkout", "-q", branch)
        for name, content in files.items():
            place = self.work / name
            if content is None:
                place.unlink()
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(content)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", f"change {branch}")
        self.git("push", "-q", "--force", str(self.bare), branch)
        return self.git("rev-parse", "HEAD")

    def pull(self) -> None:
        self.git("checkout", "-q", "main")
        self.git("pull", "-q", "--no-rebase", str(self.bare), "main")
