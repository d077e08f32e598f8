"""A mirror is a cache: it follows its remote whatever is wrong with it, and does not grow."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pygit2
import pytest

from automata.errors import Refused, Unavailable
from automata.git import mirror_folder, packs
from automata.git.branches import Person, brought, commit_files
from automata.git.history import first_commit
from automata.git.mirror import Mirror
from automata.git.packs import MAX_PACKS, loose_objects, packs_of

ADA = Person("Ada", "ada@example.com")


@pytest.fixture
def mirrors(tmp_path: Path) -> Path:
    return tmp_path / "mirrors"


@pytest.fixture
def mirror(repo: Any, mirrors: Path) -> Mirror:
    """A mirror of a repository with one commit on main, up to date."""
    repo.commit({"flows/a.yaml": "1"})
    mirror = Mirror.open(f"file://{repo.path}", mirrors)
    mirror.fetch()
    return mirror


def branches(repo: Any) -> dict[str, str]:
    lines = repo.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads").splitlines()
    return {name.removeprefix("refs/heads/"): sha for name, sha in (line.split() for line in lines)}


def followed(mirror: Mirror) -> dict[str, str]:
    """Where each branch is, with everything that it holds read."""
    heads = {branch: mirror.resolve(branch) for branch in mirror.branches()}
    for sha in heads.values():
        tree = mirror.tree(sha)
        listing = tree.list("flows")
        assert listing is not None
        assert all(tree.data(entry) for entry in listing.files)
    return heads


@pytest.mark.parametrize(("before", "after"), [("x", "x/y"), ("x/y", "x"), ("x/y/z", "x"), ("x", "x/y/z")])
def test_a_branch_may_become_a_folder_of_branches_and_back(repo: Any, mirror: Mirror, before: str, after: str) -> None:
    repo.git("branch", before)
    mirror.fetch()
    repo.git("branch", "-D", before)
    repo.git("branch", after)
    mirror.fetch()
    assert mirror.branches() == ["main", after]
    repo.git("branch", "-D", after)
    repo.git("branch", before)
    repo.git("pack-refs", "--all")
    mirror.fetch()
    assert followed(mirror) == branches(repo)


def no_pack(path: Path) -> None:
    for pack in packs_of(path):
        pack.unlink()


def no_index(path: Path) -> None:
    for pack in packs_of(path):
        pack.with_suffix(".idx").unlink()


def cut_pack(path: Path) -> None:
    for pack in packs_of(path):
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[:40])


def no_objects(path: Path) -> None:
    shutil.rmtree(path / "objects")


def bad_ref(path: Path) -> None:
    place = path / "refs/remotes/origin/main"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("rubbish\n")


def lost_commit(path: Path) -> None:
    place = path / "refs/remotes/origin/side"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("a" * 40 + "\n")


def bad_packed_refs(path: Path) -> None:
    (path / "packed-refs").write_bytes(b"\0\0\0 rubbish\n")


def folder_in_the_way(path: Path) -> None:
    (path / "refs/remotes/origin/main").unlink(missing_ok=True)
    (path / "refs/remotes/origin/main/stray").mkdir(parents=True)
    (path / "refs/remotes/origin/main/stray/file").write_text("x")


def bad_config(path: Path) -> None:
    (path / "config").write_text("[core\n")


def no_head(path: Path) -> None:
    (path / "HEAD").unlink()


def a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("x")


def stale_locks(path: Path) -> None:
    for name in ("packed-refs.lock", "config.lock", "refs/remotes/origin/main.lock"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("")


FAULTS = [no_pack, no_index, cut_pack, no_objects, bad_ref, lost_commit, bad_packed_refs, folder_in_the_way,
          bad_config, no_head, a_file, stale_locks]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("moved", [True, False], ids=["moved", "still"])
def test_whatever_is_wrong_in_a_mirror_it_is_made_anew(
    repo: Any, mirror: Mirror, mirrors: Path, fault: Callable[[Path], None], moved: bool
) -> None:
    fault(mirror.path)
    if moved:
        repo.commit({"flows/a.yaml": "2"})
    again = Mirror.open(f"file://{repo.path}", mirrors)
    again.fetch()
    assert followed(again) == branches(repo)
    assert len(brought(again, first_commit(again, again.resolve("main")), again.resolve("main"))) == int(moved)


def test_what_a_reader_finds_wrong_is_made_anew_with_the_next_fetch(repo: Any, mirror: Mirror) -> None:
    tree = mirror.tree(mirror.resolve("main"))
    entry, _ = tree.find("flows/a.yaml")
    assert entry is not None
    mirror.repository.free()
    lose(mirror, entry.blob)
    with pytest.raises(Unavailable) as told:
        tree.data(entry)
    assert (told.value.code, "made anew" in str(told.value.hint)) == ("git_read", True)
    mirror.fetch()
    assert followed(mirror) == branches(repo)


def test_a_commit_that_a_mirror_has_lost_is_not_guessed_but_fetched_again(repo: Any, mirror: Mirror) -> None:
    wrote = repo.git("rev-parse", "HEAD")
    repo.commit({"README.md": "1"})
    repo.commit({"README.md": "2"})
    mirror.fetch()
    lose(mirror, wrote)
    blobs = {"flows/a.yaml": repo.git("rev-parse", "HEAD:flows/a.yaml")}
    with pytest.raises(Unavailable):
        mirror.tree(mirror.resolve("main")).provenance(blobs, ["flows"])
    mirror.fetch()
    assert mirror.tree(mirror.resolve("main")).provenance(blobs, ["flows"])["flows/a.yaml"].commit == wrote


def lose(mirror: Mirror, lost: str) -> None:
    """Take one object out of a mirror."""
    repository = mirror.repository
    kept = {str(id): repository.odb.read(id) for id in repository.odb if str(id) != lost}
    repository.free()
    for pack in packs_of(mirror.path):
        packs.remove_pack(pack)
    for kind, data in kept.values():
        repository.odb.write(kind, data)
    repository.free()


def test_a_remote_that_is_wrong_itself_is_not_fetched_whole_at_every_look(
    repo: Any, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    fetch = mirror_folder._Remote.fetch

    def broken(remote: Any) -> None:
        asked.append(remote.repository.path)
        raise pygit2.GitError("early EOF")

    repo.commit({"flows/a.yaml": "2"})
    monkeypatch.setattr(mirror_folder._Remote, "fetch", broken)
    for _ in range(3):
        with pytest.raises(Unavailable) as told:
            mirror.fetch()
        assert told.value.code == "git_unreachable"
    assert len(asked) == 4  # three times what is new, and once all of it
    monkeypatch.setattr(mirror_folder._Remote, "fetch", fetch)
    mirror.fetch()
    assert followed(mirror) == branches(repo)


def open_below(folder: Path) -> list[str]:
    """Files below a folder that this process holds open or mapped."""
    names = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            names.append(str(link.readlink()))
    mapped = [line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines()]
    return [name for name in (*names, *mapped) if name.startswith(str(folder))]


def test_many_fetches_leave_few_packs_and_hold_fewer_open(repo: Any, mirror: Mirror) -> None:
    upstream = pygit2.Repository(str(repo.path))
    for number in range(3 * MAX_PACKS):
        parent = upstream.head.target
        tree = repo_tree(upstream, f"content {number}")
        who = pygit2.Signature("Ada", "ada@example.com")
        upstream.create_commit("HEAD", who, who, f"change {number}", tree, [parent])
        mirror.fetch()
        assert followed(mirror) == {"main": str(upstream.head.target)}
    assert len(packs_of(mirror.path)) <= MAX_PACKS + 1
    assert len(open_below(mirror.path)) <= 2 * (MAX_PACKS + 1)
    assert repo.git("-C", str(mirror.path), "fsck", "--strict") == ""


def repo_tree(repository: Any, content: str) -> Any:
    flows = repository.TreeBuilder()
    flows.insert("a.yaml", repository.create_blob(content.encode()), pygit2.enums.FileMode.BLOB)
    root = repository.TreeBuilder()
    root.insert("flows", flows.write(), pygit2.enums.FileMode.TREE)
    return root.write()


def test_what_merges_leave_behind_is_put_into_a_pack(
    repo: Any, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "MAX_LOOSE", 20)
    base = mirror.resolve("main")
    commits = [
        commit_files(mirror, base, {"a.txt": f"content {number}".encode()}, ADA, "Change") for number in range(20)
    ]
    assert len(list(loose_objects(mirror.path))) == 60
    repo.commit({"flows/a.yaml": "2"})
    mirror.fetch()
    assert len(list(loose_objects(mirror.path))) == 60, "they may be of a merge that is being checked"
    for place in loose_objects(mirror.path):
        os.utime(place, (time.time() - 2 * packs.YOUNG_SEC,) * 2)
    repo.commit({"flows/a.yaml": "3"})
    mirror.fetch()
    assert list(loose_objects(mirror.path)) == []
    assert all(mirror.tree(commit).find("a.txt")[0] for commit in commits)


def test_a_large_object_is_not_taken_into_memory_to_be_packed_again(
    repo: Any, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "MAX_PACKS", 0)
    repo.commit({"flows/large.json": b"x" * (packs.SMALL_OBJECT_BYTES + 1)})
    mirror.fetch()
    large = packs_of(mirror.path)
    repo.commit({"flows/large.json": b"small"})
    mirror.fetch()
    assert set(large) & set(packs_of(mirror.path))


def test_a_merge_that_is_being_checked_outlives_a_mirror_that_is_made_anew(
    repo: Any, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = commit_files(mirror, mirror.resolve("main"), {"a.txt": b"2\n"}, ADA, "Merge")
    old = commit_files(mirror, mirror.resolve("main"), {"a.txt": b"old\n"}, ADA, "Old")
    place = mirror.path / "objects" / old[:2] / old[2:]
    os.utime(place, (time.time() - 2 * packs.YOUNG_SEC,) * 2)
    monkeypatch.setattr(mirror_folder, "MAX_KEPT_PACKS", 0)
    repo.commit({"flows/a.yaml": "2"})
    mirror.fetch()
    assert mirror.tree(made).find("a.txt")[0] is not None
    assert old not in mirror.repository
    assert followed(mirror) == branches(repo)


def test_what_nobody_reaches_any_more_goes_when_a_mirror_has_grown(
    repo: Any, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_folder, "GROWTH_BYTES", 1_000_000)
    first = repo.git("rev-parse", "HEAD")
    for number in range(8):
        repo.git("reset", "-q", "--hard", first)
        repo.commit({"flows/a.yaml": os.urandom(200_000), "flows/b.yaml": f"{number}"})
        mirror.fetch()
    assert packs.size_of(mirror.path) < 1_000_000
    assert followed(mirror) == branches(repo)


def test_rubbish_of_a_killed_fetch_is_removed(repo: Any, mirror: Mirror) -> None:
    rubbish = mirror.path / "objects/pack/pack_git2_a1b2c3"
    half = mirror.path / f"objects/pack/pack-{'0' * 40}.pack"
    for place in (rubbish, half):
        place.write_bytes(b"PACK")
    repo.commit({"flows/a.yaml": "2"})
    mirror.fetch()
    assert not rubbish.exists()
    assert not half.exists()


def test_a_mirror_that_nobody_used_for_a_month_goes(make_repo: Any, mirror: Mirror, mirrors: Path, repo: Any) -> None:
    other = make_repo("other")
    other.commit({"flows/a.yaml": "1"})
    forgotten = Mirror.open(f"file://{other.path}", mirrors)
    forgotten.fetch()
    repo.commit({"flows/a.yaml": "2"})
    mirror.fetch()
    assert forgotten.path.exists()
    os.utime(forgotten.path, (0, 0))
    repo.commit({"flows/a.yaml": "3"})
    mirror.fetch()
    assert not forgotten.path.exists()
    assert followed(mirror) == branches(repo)


def test_a_copy_that_cannot_be_written_is_not_told_as_the_remotes_fault(repo: Any, tmp_path: Path) -> None:
    repo.commit({"flows/a.yaml": "1"})
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused) as told:
        Mirror.open(f"file://{repo.path}", tmp_path / "file" / "mirrors")
    assert told.value.code == "git_mirror"
    assert "AUTOMATA_DATA_DIR" in str(told.value.hint)


def test_a_branch_whose_name_is_no_text_stops_nothing(repo: Any, mirror: Mirror) -> None:
    (repo.path / ".git/packed-refs").write_bytes(
        b"# pack-refs with: peeled fully-peeled sorted \n"
        + repo.git("rev-parse", "HEAD").encode()
        + b" refs/heads/caf\xe9\n"
    )
    repo.commit({"flows/a.yaml": "2"})
    mirror.fetch()
    mirror.fetch()
    assert mirror.resolve("main") == repo.git("rev-parse", "HEAD")
