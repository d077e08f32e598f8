"""What a user may type as a branch or a folder."""

from __future__ import annotations

import subprocess

import pytest

from automata.errors import Usage
from automata.git.names import check_branch, check_folder

HOSTILE = [
    "", " ", "-", "-f", "--upload-pack=touch /tmp/x", "@", "HEAD", "a..b", "..", "../main", "main~1", "main^",
    "main^{tree}", "main:flows", ":/fix", "main@{1}", "@{-1}", "@{u}", "main@{upstream}", "a b", "a\tb", "a\nb",
    "main\x00", "a\x7fb", "a\\b", "a?b", "a*b", "a[b", ".hidden", "a/.hidden", "a.lock", "a.lock/b", "a/b.lock",
    "/main", "main/", "a//b",
    "main.", "refs//x",
    "a" * 201, "é" * 101, "main\u202e", "ma\u200bin", "a\u2028b", "\ud800", "\ufeffmain",
    "origin/main..main", "main;\n$(id)",
    "$(id) x", "`id` x",
]  # fmt: skip
HARMLESS = [
    "main",
    "feature/x",
    "a.b",
    "release-1.2",
    "v1",
    "user@host",
    "größe",
    "a'b",
    "x;y",
    "$HOME",
    "refs/heads/main",
    "a" * 200,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_branch_name_is_refused_before_git_sees_it(name: str) -> None:
    with pytest.raises(Usage) as caught:
        check_branch(name)
    assert caught.value.code == "branch_name"
    assert str(caught.value).isprintable()


def test_there_are_enough_hostile_names() -> None:
    assert len(set(HOSTILE)) >= 40


@pytest.mark.parametrize("name", HARMLESS)
def test_a_name_that_git_takes_is_taken(name: str) -> None:
    assert check_branch(name) == name


@pytest.mark.parametrize("name", [name for name in HOSTILE + HARMLESS if "\x00" not in name and "\ud800" not in name])
def test_nothing_is_taken_that_git_itself_refuses(name: str) -> None:
    # The long names are ours alone to refuse, and so are the deceiving ones.
    git_takes = subprocess.run(["git", "check-ref-format", f"refs/heads/{name}"], check=False).returncode == 0
    try:
        check_branch(name)
    except Usage:
        return
    assert git_takes


@pytest.mark.parametrize(
    ("text", "folder"),
    [("", ""), (".", ""), ("./a/", "a"), ("a//b", "a/b"), ("a\\b", "a/b"), ("größe/x y", "größe/x y")],
)
def test_a_folder_is_written_one_way(text: str, folder: str) -> None:
    assert check_folder(text) == folder


@pytest.mark.parametrize(
    "text", ["/etc", "..", "a/../../b", ".git", "a/.GIT/x", ".git./x", "C:\\x", "\\\\host\\x", "a\x00b", "x" * 1025]
)
def test_a_folder_cannot_leave_the_repository(text: str) -> None:
    with pytest.raises(Usage) as caught:
        check_folder(text)
    assert caught.value.code == "folder"
