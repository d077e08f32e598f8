"""Which commit a file's present content is credited to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from automata.git import history
from automata.git.history import Provenance, provenance
from automata.git.mirror import Mirror


@pytest.fixture
def credit(repo: Any, tmp_path: Path) -> Any:
    def ask(*paths: str, path: Path | None = None) -> dict[str, Provenance]:
        mirror = Mirror.open(str(path or repo.path), tmp_path / "mirrors")
        head = mirror.resolve("main")
        blobs = {entry.path: entry.blob for entry in mirror.tree(head).list("flows").files if entry.path in paths}
        return provenance(mirror.repository, mirror.address, head, blobs, ["flows"])

    return ask


def test_each_file_is_credited_to_the_commit_that_last_changed_it(repo: Any, credit: Any) -> None:
    one = repo.commit({"flows/a.yaml": "1", "flows/d/b.yaml": "1"}, "Add both\n\nBody", author="Bob")
    two = repo.commit({"flows/a.yaml": "2"}, "Change a", author="Cid")
    repo.commit({"README.md": "x"}, "Words")
    found = credit("flows/a.yaml", "flows/d/b.yaml")
    assert (found["flows/a.yaml"].commit, found["flows/a.yaml"].author) == (two, "Cid <ada@example.com>")
    assert (found["flows/d/b.yaml"].commit, found["flows/d/b.yaml"].message) == (one, "Add both")
    assert found["flows/a.yaml"].committed_at.utcoffset() is not None


def test_a_merge_credits_the_side_whose_content_won(repo: Any, credit: Any) -> None:
    repo.commit({"flows/a.yaml": "base\n"})
    repo.git("checkout", "-q", "-b", "side")
    repo.commit({"flows/a.yaml": "theirs\n"}, "Theirs")
    repo.git("checkout", "-q", "main")
    ours = repo.commit({"flows/a.yaml": "ours\n"}, "Ours")
    repo.git("merge", "-q", "-s", "ours", "side", "-m", "Merge")
    assert credit("flows/a.yaml")["flows/a.yaml"].commit == ours


def test_a_merge_that_makes_new_content_is_credited_itself(repo: Any, credit: Any) -> None:
    repo.commit({"flows/a.yaml": "base\n"})
    repo.git("checkout", "-q", "-b", "side")
    repo.commit({"flows/a.yaml": "theirs\n"})
    repo.git("checkout", "-q", "main")
    repo.commit({"flows/a.yaml": "ours\n"})
    repo.git("merge", "-q", "-s", "ours", "--no-commit", "side")
    merge = repo.commit({"flows/a.yaml": "both\n"}, "Merge by hand")
    assert credit("flows/a.yaml")["flows/a.yaml"].commit == merge


def unknown(found: Provenance, head: str) -> bool:
    return (found.commit, found.author, found.committed_at) == (f"{head}-or-earlier", "", None)


def test_a_walk_is_bounded_and_then_nobody_is_named(repo: Any, credit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.commit({"flows/a.yaml": "1"})
    for number in range(4):
        head = repo.commit({"flows/b.yaml": str(number)}, author="Bob")
    monkeypatch.setattr(history, "MAX_COMMITS", 2)
    found = credit("flows/a.yaml", "flows/b.yaml")
    assert unknown(found["flows/a.yaml"], head)
    assert found["flows/b.yaml"].commit == head


@pytest.mark.parametrize("depth", [1, 2])
def test_beyond_the_edge_of_a_shallow_clone_nobody_is_named(repo: Any, credit: Any, tmp_path: Path, depth: int) -> None:
    """To Git the commit at the edge has made all that is in it."""
    repo.commit({"flows/a.yaml": "1"}, author="Bob")
    edge = repo.commit({"flows/b.yaml": "1"})
    head = repo.commit({"flows/c.yaml": "1"})
    shallow = tmp_path / "shallow"
    repo.git("clone", "-q", "--depth", str(depth), f"file://{repo.path}", str(shallow))
    found = credit("flows/a.yaml", "flows/b.yaml", "flows/c.yaml", path=shallow)
    assert unknown(found["flows/a.yaml"], head)
    assert unknown(found["flows/b.yaml"], head), f"{edge} may have made it, or one before"
    assert unknown(found["flows/c.yaml"], head) == (depth == 1)


def test_a_linked_working_tree_of_a_shallow_clone_has_the_same_edge(repo: Any, credit: Any, tmp_path: Path) -> None:
    repo.commit({"flows/a.yaml": "1"})
    head = repo.commit({"README": "1"})
    repo.git("clone", "-q", "--depth", "1", f"file://{repo.path}", str(tmp_path / "shallow"))
    repo.git("-C", str(tmp_path / "shallow"), "worktree", "add", "-q", "-b", "side", str(tmp_path / "linked"))
    assert unknown(credit("flows/a.yaml", path=tmp_path / "linked")["flows/a.yaml"], head)


def test_hostile_names_and_subjects_are_cleaned(repo: Any, credit: Any) -> None:
    repo.commit({"flows/a.yaml": "1"}, "\x1b[31mred " + "x" * 500, author="Eve\u202e")
    found = credit("flows/a.yaml")["flows/a.yaml"]
    assert found.message.isprintable()
    assert found.author.startswith("Eve\ufffd")
    assert len(found.message) == 200
