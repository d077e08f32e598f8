"""What is read of somebody's branch is bounded before it is read: its trees, its merge, its difference."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from automata.errors import AutomataError, Refused
from automata.git import bounds, merges, vetting
from automata.git import changes as differences
from automata.git.branches import author_of, patch
from automata.git.changes import changed_paths, changes
from automata.git.merges import merge
from automata.git.mirror import Mirror
from automata.git.vetting import vet_history

LINES = "".join(f"line {number}\n" for number in range(50))
HUGE = 128 * 1024 * 1024
# A look at the branches `head` and `main` of the repository at argv[1]: what it sees, and the MiB that it takes for it.
LOOK = """
import sys
from pathlib import Path
from automata.git.branches import author_of, patch
from automata.git.changes import changed_paths
from automata.git.merges import merge
from automata.git.mirror import Mirror
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
mirror = Mirror.open(sys.argv[1], Path(sys.argv[1]))
base, head = mirror.resolve("main"), mirror.resolve("head")
before = peak()
print(merge(mirror, base, head).conflicts, sorted(changed_paths(mirror, base, head)), author_of(mirror, head).name)
print(len(patch(mirror, base, head)))
print((peak() - before) >> 10)
"""


@pytest.fixture
def mirror(repo: Any, tmp_path: Path) -> Mirror:
    """Of a repository whose main has two files."""
    repo.commit({"flows/a.yaml": LINES, "flows/b.yaml": "1\n"})
    return Mirror.open(str(repo.path), tmp_path)


def branch(repo: Any, name: str, files: dict[str, str | bytes | None], off: str = "main") -> str:
    repo.git("checkout", "-q", "-B", name, off)
    for path in [path for path, content in files.items() if content is None]:
        (repo.path / path).unlink()
    sha = repo.commit({path: content for path, content in files.items() if content is not None})
    repo.git("checkout", "-q", "main")
    return str(sha)


def zeros(repo: Any, size: int) -> str:
    """The id of a blob of one letter, made without holding it."""
    with subprocess.Popen(["head", "-c", str(size), "/dev/zero"], stdout=subprocess.PIPE) as maker:
        words = ["git", "-c", "core.looseCompression=1", "hash-object", "-w", "--stdin"]
        return subprocess.check_output(words, stdin=maker.stdout, cwd=repo.path, text=True).strip()


@pytest.mark.parametrize("way", ["added", "renamed", "both", "changed"])
def test_a_huge_file_costs_a_look_no_memory(repo: Any, mirror: Mirror, way: str) -> None:
    blob = zeros(repo, HUGE)
    small = repo.blob(b"small\n")
    was = repo.blob(LINES.encode())
    one = repo.blob(b"1\n")
    sides = {
        "added": ([("a", was), ("b", one)], [("a", was), ("b", one), ("huge", blob)]),
        "renamed": ([("a", was), ("b", one)], [("b", one), ("huge", blob)]),
        "both": ([("a", small), ("b", one)], [("a", blob), ("b", one)]),
        "changed": ([("a", was), ("b", small)], [("a", blob), ("b", one)]),
    }
    parent = repo.git("rev-parse", "main")
    ours, theirs = sides[way]
    for name, files in (("main", [*ours, ("beside", one)]), ("head", theirs)):
        flows = repo.tree(*(("100644", id, f"{path}.yaml".encode()) for path, id in files))
        tree = repo.tree(("040000", flows, b"flows"))
        repo.git("update-ref", f"refs/heads/{name}", repo.git("commit-tree", tree, "-p", parent, "-m", "x"))
    seen = subprocess.run(
        [sys.executable, "-c", LOOK, str(repo.path)], capture_output=True, text=True, check=False, timeout=600
    )
    assert seen.returncode == 0, seen.stderr
    conflicts = "('flows/a.yaml',)" if way == "both" else "()"
    assert seen.stdout.startswith(f"{conflicts} ['flows/")
    assert int(seen.stdout.splitlines()[-1]) < 16


def test_a_rename_is_followed_when_what_is_compared_is_small(repo: Any, mirror: Mirror) -> None:
    head = branch(repo, "head", {"flows/a.yaml": None, "flows/renamed.yaml": LINES})
    base = branch(repo, "main", {"flows/a.yaml": f"{LINES}more\n"})
    made = merge(mirror, base, head)
    assert made.conflicts == ()
    assert repo.git("show", f"{made.tree}:flows/renamed.yaml").endswith("more")


def test_a_rename_beside_too_much_is_a_conflict(repo: Any, mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merges, "MAX_RENAMED_BYTES", 100)
    head = branch(repo, "head", {"flows/a.yaml": None, "flows/renamed.yaml": LINES})
    base = branch(repo, "main", {"flows/a.yaml": f"{LINES}more\n"})
    assert merge(mirror, base, head).conflicts == ("flows/a.yaml",)


def test_what_both_sides_changed_has_a_bound_together(
    repo: Any, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merges, "MAX_BOTH_BYTES", 100)
    head = branch(repo, "head", {"flows/a.yaml": f"first\n{LINES}"})
    base = branch(repo, "main", {"flows/a.yaml": f"{LINES}last\n"})
    with pytest.raises(Refused) as told:
        merge(mirror, base, head)
    assert told.value.code == "too_large"


def test_a_merge_that_is_remembered_is_made_again_when_its_tree_is_gone(repo: Any, mirror: Mirror) -> None:
    head = branch(repo, "head", {"flows/a.yaml": f"first\n{LINES}"})
    base = branch(repo, "main", {"flows/b.yaml": "2\n"})
    made = merge(mirror, base, head)
    mirror.repository.free()
    (repo.path / ".git/objects" / made.tree[:2] / made.tree[2:]).unlink()
    assert merge(mirror, base, head) == made
    assert repo.git("cat-file", "-t", made.tree) == "tree"


def test_two_branches_that_were_merged_into_each_other_are_merged_once_more_first(repo: Any, mirror: Mirror) -> None:
    one = branch(repo, "one", {"flows/one.yaml": "1"})
    two = branch(repo, "two", {"flows/two.yaml": "2"})
    for name, other in (("one", two), ("two", one)):
        repo.git("checkout", "-q", name)
        repo.git("merge", "-q", "--no-edit", other)
    heads = [repo.git("rev-parse", name) for name in ("one", "two")]
    with pytest.raises(Refused) as told:
        merge(mirror, *heads)
    assert told.value.code == "crossed_history"
    repo.git("merge", "-q", "--no-edit", "one")
    assert merge(mirror, heads[0], repo.git("rev-parse", "two")).conflicts == ()


def test_a_branch_that_merged_its_base_is_merged_as_ever(repo: Any, mirror: Mirror) -> None:
    branch(repo, "head", {"flows/head.yaml": "1"})
    branch(repo, "main", {"flows/main.yaml": "1"})
    repo.git("checkout", "-q", "head")
    repo.git("merge", "-q", "--no-edit", "main")
    head = repo.commit({"flows/more.yaml": "1"})
    repo.git("checkout", "-q", "main")
    base = branch(repo, "main", {"flows/main.yaml": "2"})
    assert merge(mirror, base, head).conflicts == ()


def many_folders(repo: Any) -> str:
    tree = repo.tree(("100644", repo.blob(b"x"), b"x"))
    for _ in range(3):
        tree = repo.tree(*(("040000", tree, f"{number}".encode()) for number in range(8)))
    return str(tree)


def wide_folder(repo: Any) -> str:
    blob = repo.blob(b"x")
    return str(repo.tree(*(("100644", blob, f"{number:06}".encode()) for number in range(200))))


@pytest.mark.parametrize(
    ("room", "bound", "value", "make"),
    [(differences, "MAX_CHANGED", 100, many_folders), (bounds, "MAX_TREE_BYTES", 1_000, wide_folder)],
)
def test_a_tree_that_is_too_large_is_refused_and_not_read(
    repo: Any, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, room: Any, bound: str, value: int, make: Any
) -> None:
    monkeypatch.setattr(room, bound, value)
    base = repo.git("rev-parse", "main")
    head = repo.git("commit-tree", make(repo), "-p", base, "-m", "x")
    for look in (changed_paths, patch, merge):
        with pytest.raises(Refused) as told:
            look(mirror, base, head)
        assert told.value.code == "too_large"


def test_a_commit_that_is_too_large_is_refused_and_not_read(repo: Any, mirror: Mirror) -> None:
    base = repo.git("rev-parse", "main")
    message = b"x" * (bounds.MAX_COMMIT_BYTES + 1)
    head = repo.git("commit-tree", f"{base}^{{tree}}", "-p", base, stdin=message)
    for look in (lambda: author_of(mirror, head), lambda: changed_paths(mirror, base, head)):
        with pytest.raises(AutomataError) as told:
            look()
        assert told.value.code == "too_large"


@pytest.mark.parametrize("depth", [0, 1, 5])
def test_a_history_with_a_commit_that_is_too_large_is_not_walked_over(repo: Any, mirror: Mirror, depth: int) -> None:
    base = repo.git("rev-parse", "main")
    tree = f"{base}^{{tree}}"
    head = repo.git("commit-tree", tree, "-p", base, stdin=b"x" * (bounds.MAX_COMMIT_BYTES + 1))
    for number in range(depth):
        head = repo.git("commit-tree", tree, "-p", head, "-m", f"{number}")
    vet_history(mirror, base, base)
    with pytest.raises(Refused) as told:
        vet_history(mirror, base, head)
    assert told.value.code == "too_large"


def test_a_history_that_does_not_reach_the_base_is_not_walked_over(
    repo: Any, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vetting, "MAX_OWN_COMMITS", 5)
    base = repo.commit({"a": "1"})
    for number in range(8):
        head = branch(repo, "head", {"b": f"{number}"}, "head" if number else "main")
        if number < 5:
            vet_history(mirror, base, head)
    repo.git("checkout", "-q", "--orphan", "other")
    for number in range(8):
        head = repo.commit({"c": f"{number}"})
    with pytest.raises(Refused) as told:
        vet_history(mirror, base, head)
    assert told.value.code == "too_many_commits"


def test_a_base_with_a_longer_history_than_is_gone_through_has_branches_all_the_same(
    repo: Any, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vetting, "MAX_BASE_COMMITS", 6)
    monkeypatch.setattr(vetting, "MAX_OWN_COMMITS", 3)
    made = [repo.commit({"a": f"{number}"}) for number in range(20)]
    base = made[-1]
    vet_history(mirror, base, branch(repo, "head", {"b": "1"}))
    vet_history(mirror, base, branch(repo, "old", {"b": "2"}, made[-6]))
    with pytest.raises(Refused):
        vet_history(mirror, base, branch(repo, "older", {"b": "3"}, made[2]))
    moved = repo.commit({"a": "moved"})
    vet_history(mirror, moved, branch(repo, "new", {"b": "4"}))


def test_changes_are_those_that_git_tells(repo: Any, mirror: Mirror) -> None:
    head = branch(repo, "head", {"flows/a.yaml": None, "flows/a.yaml.d/x": "1", "flows/b.yaml": "2\n", "new/d/c": "3"})
    base = repo.git("rev-parse", "main")
    told = repo.git("diff-tree", "-r", "--no-renames", base, head).splitlines()
    lines = [line.split() for line in told]
    assert {(change.path, change.before or "0" * 40, change.after or "0" * 40)
            for change in changes(mirror, base, head)} == {(path, was[:40], now[:40])
            for _, _, was, now, _, path in lines}  # fmt: skip
    assert changes(mirror, base, base) == ()
