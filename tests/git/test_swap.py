"""A branch of a remote moves from what was expected, or not at all, whatever breaks and whoever is faster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from automata.errors import Conflict, Refused, Unavailable, Usage
from automata.git import swap
from automata.git.branches import Person, commit_files, commit_merge, move
from automata.git.merges import merge
from automata.git.mirror import Mirror
from tests.git.served import TOKEN, USER, GitServer, serving

ADA = Person("Ada", "ada@example.com")


class Site:
    """A bare repository that a server shares, and what `main` was at and shall be at."""

    def __init__(self, repo: Any, server: GitServer, mirrors: Path) -> None:
        self.repo, self.server, self.mirrors = repo, server, mirrors
        self.mirror = self.open()
        self.start = self.mirror.resolve("main")
        self.made = self.commit("2")

    def open(self, name: str = "mirrors", credentials: str = f"{USER}:{TOKEN}@") -> Mirror:
        url = self.server.url.replace("//", f"//{credentials}")
        mirror = Mirror.open(f"{url}/bare.git", self.mirrors / name)
        mirror.fetch()
        return mirror

    def commit(self, content: str) -> str:
        return commit_files(self.mirror, self.start, {"a.txt": content.encode()}, ADA, "Change")

    @property
    def now(self) -> str:
        return str(self.repo.git("rev-parse", "main"))

    def elsewhere(self) -> str:
        """A commit that only the server knows."""
        tree = self.repo.git("rev-parse", "main^{tree}")
        return str(self.repo.git("commit-tree", tree, "-p", self.start, "-m", "elsewhere"))


@pytest.fixture
def site(make_repo: Any, tmp_path: Path) -> Iterator[Site]:
    work = make_repo("work")
    work.commit({"a.txt": "0"})
    work.commit({"a.txt": "1"})
    work.git("clone", "-q", "--bare", str(work.path), str(tmp_path / "bare.git"))
    work.path = tmp_path / "bare.git"
    with serving(tmp_path) as server:
        yield Site(work, server, tmp_path / "data")


def receiving(method: str, path: str) -> bool:
    return method == "POST" and path.endswith("git-receive-pack")


def test_a_branch_is_made_moved_and_merged_over_http(site: Site) -> None:
    move(site.mirror, "main", site.start, site.made)
    move(site.mirror, "next", None, site.made)
    assert (site.now, site.repo.git("rev-parse", "next")) == (site.made, site.made)
    assert site.repo.git("fsck", "--strict") == ""


def test_a_branch_that_was_set_back_is_not_pushed_forward_again(site: Site) -> None:
    """A push without force would take it: what is pushed descends from what the branch was set back to."""
    first = site.repo.git("rev-parse", "main~1")
    site.repo.git("update-ref", "refs/heads/main", first)
    with pytest.raises(Conflict) as told:
        move(site.mirror, "main", site.start, site.made)
    assert told.value.code == "branch_moved"
    assert site.now == first
    file = Mirror.open(f"file://{site.repo.path}", site.mirrors / "file")
    file.fetch()
    behind = commit_files(file, first, {"a.txt": b"3"}, ADA, "Change")
    with pytest.raises(Conflict):
        move(file, "main", site.start, behind)
    assert site.now == first


def test_a_branch_that_somebody_made_meanwhile_is_not_taken_over(site: Site) -> None:
    site.repo.git("branch", "next", site.start)
    with pytest.raises(Conflict):
        move(site.mirror, "next", None, site.made)
    assert site.repo.git("rev-parse", "next") == site.start


def test_a_push_that_comes_first_on_the_server_wins(site: Site) -> None:
    """The server has told us where the branch is, and somebody else is faster with what comes next."""
    theirs = site.elsewhere()

    def faster(method: str, path: str) -> None:
        if receiving(method, path):
            site.repo.git("update-ref", "refs/heads/main", theirs)

    site.server.spoil = faster
    with pytest.raises(Conflict) as told:
        move(site.mirror, "main", site.start, site.made)
    assert told.value.code == "branch_moved"
    assert site.now == theirs


def test_a_push_that_comes_first_in_a_file_wins(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, before = site.elsewhere(), swap.swap
    mirror = Mirror.open(f"file://{site.repo.path}", site.mirrors / "file")
    mirror.fetch()
    made = commit_files(mirror, site.start, {"a.txt": b"3"}, ADA, "Change")

    def faster(*arguments: Any) -> None:
        site.repo.git("update-ref", "refs/heads/main", theirs)
        before(*arguments)

    monkeypatch.setattr(swap, "swap", faster)
    with pytest.raises(Conflict):
        move(mirror, "main", site.start, made)
    assert site.now == theirs
    assert site.repo.git("for-each-ref", "refs/automata") == ""


def test_a_file_remote_with_a_working_tree_is_left_alone(repo: Any, tmp_path: Path) -> None:
    start = repo.commit({"a.txt": "1"})
    mirror = Mirror.open(f"file://{repo.path}", tmp_path / "data")
    mirror.fetch()
    made = commit_files(mirror, start, {"a.txt": b"2"}, ADA, "Change")
    with pytest.raises(Refused) as told:
        move(mirror, "main", start, made)
    assert told.value.code == "not_bare"
    assert repo.git("rev-parse", "main") == start


def test_a_hook_that_says_no_is_named_as_what_it_is(site: Site) -> None:
    hook = site.repo.path / "hooks" / "update"
    hook.write_text("#!/bin/sh\necho protected >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(Refused) as told:
        move(site.mirror, "main", site.start, site.made)
    assert (told.value.code, told.value.exit_code) == ("push_refused", 5)
    assert "hook declined" in str(told.value)
    assert site.now == site.start


def test_an_answer_that_was_lost_is_asked_for(site: Site) -> None:
    site.server.spoil = lambda *request: "mute" if receiving(*request) else None
    move(site.mirror, "main", site.start, site.made)
    assert site.now == site.made


def test_a_lost_answer_of_a_server_that_is_gone_is_said_to_be_unknown(site: Site) -> None:
    sent: list[str] = []

    def dies(method: str, path: str) -> str | None:
        sent.extend([path] if receiving(method, path) else [])
        return "mute" if receiving(method, path) else "refuse" if sent else None

    site.server.spoil = dies
    with pytest.raises(Unavailable) as told:
        move(site.mirror, "main", site.start, site.made)
    assert (told.value.code, told.value.exit_code) == ("push_unknown", 4)
    assert "nothing was changed" not in str(told.value).lower()
    site.server.spoil = lambda *_: None
    site.mirror.fetch()
    assert site.mirror.resolve("main") == site.made


def test_a_server_that_fails_before_the_push_has_changed_nothing(site: Site) -> None:
    for fate in ("refuse", "half", "mute"):
        site.server.spoil = lambda *_, fate=fate: fate  # type: ignore[misc]
        with pytest.raises(Unavailable) as told:
            move(site.mirror, "main", site.start, site.made)
        assert told.value.code == "git_unreachable"
        assert site.now == site.start
    site.server.spoil = lambda *_: None
    move(site.mirror, "main", site.start, site.made)
    assert site.now == site.made


def test_a_push_that_the_server_refused_before_it_read_it_may_be_tried_again(site: Site) -> None:
    site.server.spoil = lambda *request: "refuse" if receiving(*request) else None
    with pytest.raises(Unavailable) as told:
        move(site.mirror, "main", site.start, site.made)
    assert told.value.code == "push_unknown"
    assert site.now == site.start
    site.server.spoil = lambda *_: None
    move(site.mirror, "main", site.start, site.made)
    assert site.now == site.made


@pytest.mark.parametrize("fate", ["refuse", "half", "mute"])
def test_a_fetch_that_breaks_off_leaves_the_mirror_as_it_was(site: Site, fate: str) -> None:
    theirs = site.elsewhere()
    site.repo.git("update-ref", "refs/heads/main", theirs)
    site.server.spoil = lambda method, _: fate if method == "POST" else None
    with pytest.raises(Unavailable) as told:
        site.mirror.fetch()
    assert told.value.code == "git_unreachable"
    assert site.mirror.resolve("main") == site.start
    site.server.spoil = lambda *_: None
    site.mirror.fetch()
    assert site.mirror.resolve("main") == theirs
    assert theirs in site.mirror.repository


def test_a_push_without_credentials_and_with_wrong_ones_says_what_to_set(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOMATA_GIT_TOKEN", TOKEN)
    monkeypatch.setenv("AUTOMATA_GIT_USERNAME", USER)
    mirror = site.open("other", credentials="")
    made = commit_files(mirror, site.start, {"a.txt": b"9"}, ADA, "Change")
    monkeypatch.setenv("AUTOMATA_GIT_TOKEN", "WR0NG")
    for name in ("AUTOMATA_GIT_TOKEN", "AUTOMATA_GIT_USERNAME"):
        with pytest.raises(Usage) as told:
            move(mirror, "main", site.start, made)
        assert told.value.code == "git_access"
        assert "WR0NG" not in str(told.value)
        assert "AUTOMATA_GIT_TOKEN" in str(told.value.hint)
        assert "AUTOMATA_GIT_USERNAME" in str(told.value.hint)
        monkeypatch.delenv(name)
    assert site.now == site.start


def test_what_is_pushed_while_others_push_stays_whole(site: Site) -> None:
    """Six merges by two mirrors that hear of each other only by being refused."""
    mirrors = [site.mirror, site.open("other")]
    lost = 0
    for number in range(6):
        mirror = mirrors[number % 2]
        head = commit_files(mirror, mirror.resolve("main"), {f"{number}.txt": b"x"}, ADA, "Change")
        try:
            move(mirror, "main", mirror.resolve("main"), head)
        except Conflict:
            lost += 1
            mirror.fetch()
            tree = merge(mirror, mirror.resolve("main"), head).tree
            sha = commit_merge(mirror, mirror.resolve("main"), head, tree, ADA, "Merge")
            move(mirror, "main", mirror.resolve("main"), sha)
        mirror.fetch()
    assert lost == 5
    assert len(site.repo.git("ls-tree", "--name-only", "main").split()) == 7
