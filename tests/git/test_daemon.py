"""`git daemon` on loopback: followed, pushed to while others push, and gone half way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from automata.errors import Conflict, Missing, Unavailable
from automata.git.branches import Person, commit_files, move
from automata.git.mirror import Mirror

ADA = Person("Ada", "ada@example.com")


SAFE = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}


class Daemon:
    def __init__(self, root: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"git://127.0.0.1:{self.port}"
        # Its own binary: `git daemon` would leave a child behind when it is killed.
        path = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
        self.process = subprocess.Popen(
            [f"{path}/git-daemon", f"--base-path={root}", "--export-all", "--enable=receive-pack", "--reuseaddr",
             "--listen=127.0.0.1", f"--port={self.port}", str(root)],
            env={**os.environ, **SAFE},
            start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        self.stop()
        raise AssertionError("git daemon does not listen")

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def site(make_repo: Any, tmp_path: Path) -> Iterator[tuple[Any, Daemon, Path]]:
    work = make_repo("work")
    work.commit({"flows/a.yaml": "0"})
    work.git("clone", "-q", "--bare", str(work.path), str(tmp_path / "bare.git"))
    daemon = Daemon(tmp_path)
    try:
        yield work, daemon, tmp_path
    finally:
        daemon.stop()


def opened(daemon: Daemon, place: Path, name: str = "bare.git") -> Mirror:
    mirror = Mirror.open(f"{daemon.url}/{name}", place / "mirrors")
    mirror.fetch()
    return mirror


def test_it_is_followed_through_pushes_and_a_rewrite(site: Any) -> None:
    work, daemon, place = site
    mirror = opened(daemon, place)
    for words in ({"flows/a.yaml": "1"}, {"flows/b.yaml": "1"}):
        work.commit(words)
        work.git("push", "-q", f"{daemon.url}/bare.git", "main")
        mirror.fetch()
        assert mirror.resolve("main") == work.git("rev-parse", "main")
    work.git("reset", "-q", "--hard", "HEAD~2")
    work.git("push", "-q", "--force", f"{daemon.url}/bare.git", "main")
    mirror.fetch()
    assert mirror.resolve("main") == work.git("rev-parse", "main")


def test_a_branch_moves_there_from_what_was_expected_or_not_at_all(site: Any) -> None:
    work, daemon, place = site
    mirror = opened(daemon, place)
    start = mirror.resolve("main")
    made = commit_files(mirror, start, {"flows/a.yaml": b"ours"}, ADA, "Change")
    work.commit({"flows/a.yaml": "theirs"})
    work.git("push", "-q", f"{daemon.url}/bare.git", "main")
    with pytest.raises(Conflict):
        move(mirror, "main", start, made)
    mirror.fetch()
    theirs = mirror.resolve("main")
    assert theirs == work.git("rev-parse", "main")
    move(mirror, "main", theirs, commit_files(mirror, theirs, {"flows/a.yaml": b"ours"}, ADA, "Change"))
    mirror.fetch()
    assert mirror.resolve("main") != theirs


def test_what_is_pushed_by_another_process_at_the_same_time_stays_whole(site: Any) -> None:
    work, daemon, place = site
    pushes = (
        "import subprocess, sys\n"
        "who = ['git', '-c', 'user.name=t', '-c', 'user.email=t@e']\n"
        "run = lambda *words: subprocess.run([*who, *words], check=True)\n"
        "for n in range(1, 16):\n"
        "    open('flows/a.yaml', 'w').write(str(n))\n"
        "    run('commit', '-qam', str(n)); run('push', '-q', sys.argv[1], 'main:side')\n"
    )
    other = subprocess.Popen([sys.executable, "-c", pushes, f"{daemon.url}/bare.git"], cwd=work.path)
    mirror = opened(daemon, place)
    seen, at = set(), mirror.resolve("main")
    while other.poll() is None:
        made = commit_files(mirror, at, {"flows/c.yaml": str(time.monotonic()).encode()}, ADA, "Change")
        move(mirror, "main", at, made)
        at = made
        mirror.fetch()
        assert mirror.resolve("main") == made
        if "side" in mirror.branches():
            head = mirror.resolve("side")
            seen.add(head)
            listed = mirror.tree(head, "flows").list("flows")
            assert listed is not None  # a commit that is seen has all its files
            assert all(mirror.tree(head, "flows").data(entry) for entry in listed.files)
    assert other.returncode == 0
    assert seen
    mirror.fetch()
    assert mirror.resolve("side") == work.git("rev-parse", "main")


def test_a_daemon_that_is_gone_or_has_no_such_repository_says_so_and_leaves_the_mirror(site: Any) -> None:
    _, daemon, place = site
    mirror = opened(daemon, place)
    before = mirror.resolve("main")
    with pytest.raises((Missing, Unavailable)) as told:
        opened(daemon, place, "nothing.git")
    assert "nothing.git" in str(told.value)
    daemon.stop()
    with pytest.raises(Unavailable):
        mirror.fetch()
    with pytest.raises(Unavailable):
        move(mirror, "main", before, commit_files(mirror, before, {"flows/a.yaml": b"x"}, ADA, "Change"))
    assert mirror.resolve("main") == before
