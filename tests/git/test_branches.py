"""Commits, merges and moves of branches without a working tree, in real repositories and over a real transport."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from automata.errors import AutomataError, Conflict, Invalid, Refused, Usage
from automata.git.branches import (
    MAX_FILE_BYTES,
    MAX_PATCH_BYTES,
    Person,
    author_of,
    brought,
    commit_files,
    commit_merge,
    contains,
    key_of,
    merge_of,
    move,
    patch,
    writers,
)
from automata.git.changes import changed_paths
from automata.git.merges import merge
from automata.git.mirror import Mirror

ADA = Person("Ada", "ada@example.com")


@pytest.fixture(params=["bare", "remote"])
def place(request: pytest.FixtureRequest, make_repo: Callable[..., Any], tmp_path: Path) -> tuple[Any, Mirror]:
    """A bare repository with a branch, in place and as a remote that is pushed to."""
    work = make_repo("work")
    work.commit({"a.txt": "1\n", "dir/b.txt": "1\n"})
    work.git("clone", "-q", "--bare", str(work.path), str(tmp_path / "bare.git"))
    work.path = tmp_path / "bare.git"
    url = str(work.path) if request.param == "bare" else f"file://{work.path}"
    return work, Mirror.open(url, tmp_path / "mirrors")


def at(place: tuple[Any, Mirror], branch: str = "main") -> str:
    repo, mirror = place
    mirror.fetch()
    found = mirror.resolve(branch)
    assert repo.git("rev-parse", branch) == found
    return found


def test_a_commit_changes_files_and_says_who_it_is_by(place: tuple[Any, Mirror]) -> None:
    repo, mirror = place
    before = at(place)
    made = commit_files(mirror, before, {"a.txt": b"2\n", "new/c.txt": b"x", "dir/b.txt": None}, ADA, "Change")
    move(mirror, "next", None, made)
    assert at(place, "next") == made
    assert at(place) == before
    assert repo.git("log", "-1", "--format=%an <%ae> %s", "next") == "Ada <ada@example.com> Change"
    assert repo.git("ls-tree", "-r", "--name-only", "next").split() == ["a.txt", "new/c.txt"]
    assert changed_paths(mirror, before, made) == {"a.txt", "new/c.txt", "dir/b.txt"}
    assert "+2" in patch(mirror, before, made)
    assert author_of(mirror, made) == ADA
    assert repo.git("fsck", "--strict") == ""


def test_two_changes_merge_and_the_branch_moves_to_them(place: tuple[Any, Mirror]) -> None:
    repo, mirror = place
    start = at(place)
    head = commit_files(mirror, start, {"a.txt": b"2\n"}, ADA, "Mine")
    base = commit_files(mirror, start, {"dir/b.txt": b"2\n"}, ADA, "Theirs")
    move(mirror, "main", start, base)
    made = merge(mirror, base, head)
    assert made.conflicts == ()
    sha = commit_merge(mirror, base, head, made.tree, ADA, "Merge")
    move(mirror, "main", base, sha)
    assert at(place) == sha
    assert repo.git("rev-list", "--parents", "-1", "main").split() == [sha, base, head]
    assert (repo.git("show", "main:a.txt"), repo.git("show", "main:dir/b.txt")) == ("2", "2")
    assert contains(mirror, sha, head)
    assert not contains(mirror, base, head)
    assert merge_of(mirror, sha, head) == (sha, base)
    assert merge_of(mirror, base, head) is None
    assert set(brought(mirror, base, sha)) == {sha, head}


def test_what_conflicts_is_named(place: tuple[Any, Mirror]) -> None:
    _, mirror = place
    start = at(place)
    one = commit_files(mirror, start, {"a.txt": b"2\n", "dir/b.txt": None}, ADA, "One")
    other = commit_files(mirror, start, {"a.txt": b"3\n", "dir/b.txt": b"4\n"}, ADA, "Other")
    assert merge(mirror, one, other).conflicts == ("a.txt", "dir/b.txt")


def test_a_branch_that_moved_is_not_moved(place: tuple[Any, Mirror]) -> None:
    _, mirror = place
    start = at(place)
    first = commit_files(mirror, start, {"a.txt": b"2\n"}, ADA, "First")
    second = commit_files(mirror, start, {"a.txt": b"3\n"}, ADA, "Second")
    move(mirror, "main", start, first)
    with pytest.raises(Conflict) as told:
        move(mirror, "main", start, second)
    assert (told.value.code, told.value.exit_code) == ("branch_moved", 6)
    assert at(place) == first


def test_a_branch_that_is_there_is_not_made_again(place: tuple[Any, Mirror]) -> None:
    _, mirror = place
    start = at(place)
    made = commit_files(mirror, start, {"a.txt": b"2\n"}, ADA, "First")
    move(mirror, "next", None, made)
    other = commit_files(mirror, start, {"a.txt": b"3\n"}, ADA, "Second")
    with pytest.raises(Conflict):
        move(mirror, "next", None, other)
    assert at(place, "next") == made


@pytest.mark.parametrize(
    "name", ["../x", "a..b", "-x", "a b", "x~1", "x^{}", "@{0}", "", "a\u202eb", "a" * 300, "x.lock"]
)
def test_a_branch_of_no_name_is_refused(place: tuple[Any, Mirror], name: str) -> None:
    _, mirror = place
    with pytest.raises(Usage):
        move(mirror, name, None, at(place))


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../b", ".git/config", "a//b", "x/", "a\\b", "a\0b"])
def test_a_path_that_leads_elsewhere_is_refused(place: tuple[Any, Mirror], path: str) -> None:
    _, mirror = place
    with pytest.raises(AutomataError):
        commit_files(mirror, at(place), {path: b"x"}, ADA, "Change")


def test_what_git_cannot_write_down_is_refused(place: tuple[Any, Mirror]) -> None:
    _, mirror = place
    start = at(place)
    with pytest.raises(Invalid, match="Nothing differs"):
        commit_files(mirror, start, {"a.txt": b"1\n"}, ADA, "Same")
    with pytest.raises(Invalid, match="bytes"):
        commit_files(mirror, start, {"a.txt": b"x" * (MAX_FILE_BYTES + 1)}, ADA, "Large")
    for message in ("", " \n", "x" * 10_001, "a\0b"):
        with pytest.raises(Invalid):
            commit_files(mirror, start, {"a.txt": b"2"}, ADA, message)
    for name, mail in (("", "a@b"), ("A<b", "a@b"), ("A", "a\nb"), ("A", "x" * 201)):
        with pytest.raises(Invalid):
            Person(name, mail)


def test_a_person_is_read_as_git_writes_one() -> None:
    assert Person.read(" Ada L  <ada@example.com> ") == Person("Ada L", "ada@example.com")
    assert Person.read("Ada L") == Person("Ada L", "ada-l@localhost")
    assert str(Person.read("<x@y>")) == "x@y <x@y>"


def test_a_branch_that_somebody_stands_on_is_left_alone(repo: Any, tmp_path: Path) -> None:
    start = repo.commit({"a.txt": "1\n"})
    mirror = Mirror.open(str(repo.path), tmp_path / "mirrors")
    made = commit_files(mirror, start, {"a.txt": b"2\n"}, ADA, "Change")
    with pytest.raises(Refused) as told:
        move(mirror, "main", start, made)
    assert told.value.code == "checked_out"
    assert repo.git("status", "--porcelain") == ""
    repo.git("checkout", "-q", "-b", "elsewhere")
    move(mirror, "main", start, made)
    assert repo.git("rev-parse", "main") == made


def test_all_who_had_a_hand_in_a_commit_are_its_writers(repo: Any, tmp_path: Path) -> None:
    repo.commit({"a": "1"})
    start = repo.git("rev-parse", "HEAD")
    repo.write({"a": "2"})
    message = "Change\n\nBody\n\nCo-authored-by: Bob <BOB@example.com>\nCO-AUTHORED-BY:Eve <eve@example.com>\r\n"
    repo.git("commit", "-q", "-a", "-m", message, GIT_COMMITTER_NAME="Cid", GIT_COMMITTER_EMAIL="cid@example.com")
    head = repo.git("rev-parse", "HEAD")
    mirror = Mirror.open(str(repo.path), tmp_path / "mirrors")
    found = writers(mirror, brought(mirror, start, head))
    assert found == {f"{name}@example.com" for name in ("ada", "bob", "cid", "eve")}


def test_somebody_is_one_however_they_are_written() -> None:
    written = ["Bob <bob@example.com>", "Robert <BOB@Example.COM>", "<bob@example.com>", "Bob < bob@example.com >",
               "Bob <\uff42ob@example.com>"]  # fmt: skip
    assert {key_of(text) for text in written} == {"bob@example.com"}
    assert key_of("Bob") == "bob@localhost"
    assert key_of("a\0b") == "a\0b"
    for text in ("a\rb", "a\x1b[31m", "a\u202eb"):
        with pytest.raises(Invalid):
            Person(text, "a@b")


def test_a_patch_has_an_end_and_a_huge_file_is_only_named(repo: Any, tmp_path: Path) -> None:
    before = repo.commit({"a.txt": "1\n"})
    line = "x" * 99 + "\n"
    files = {f"{number}.txt": line * 10_000 for number in range(8)}
    after = repo.commit({"0-huge.txt": line * 1_000_000, **files, "a.txt": "2\n"})
    told = patch(Mirror.open(str(repo.path), tmp_path / "mirrors"), before, after)
    assert "diff --git a/0-huge.txt b/0-huge.txt\n# more than 1,048,576 bytes: not shown\n" in told
    assert len(told.encode()) < MAX_PATCH_BYTES + 200
    assert told.endswith(f"# 5 more files differ: git diff {before} {after}\n")
