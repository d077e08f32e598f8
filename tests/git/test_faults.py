"""A repository that is wrong is told as that: what no time mends does not look as if it would pass."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pygit2 import GitError

from automata.errors import AutomataError, Missing, Refused, Unavailable, Usage
from automata.git import disk, mirror_folder
from automata.git.address import Address
from automata.git.faults import object_faults, remote_faults
from automata.git.mirror import Mirror
from automata.git.working import WorkingTree


def objects(git: Path) -> list[Path]:
    return [place for place in (git / "objects").glob("??/*") if place.is_file()]


def no_objects(git: Path) -> None:
    for place in objects(git):
        place.unlink()


def cut_objects(git: Path) -> None:
    for place in objects(git):
        place.chmod(0o600)
        place.write_bytes(b"")


def other_objects(git: Path) -> None:
    for place in objects(git):
        place.chmod(0o600)
        place.write_bytes(b"rubbish that is no zlib")


def bad_reference(git: Path) -> None:
    (git / "refs/heads/main").write_text("rubbish\n")


def lost_commit(git: Path) -> None:
    (git / "refs/heads/main").write_text("a" * 40 + "\n")


def look(path: Path) -> None:
    """What a sync does of a repository."""
    mirror = Mirror.open(str(path), path)
    mirror.fetch()
    tree = mirror.tree(mirror.resolve("main"))
    listing = tree.list("flows")
    assert listing is not None
    for entry in listing.files:
        tree.data(entry)
    tree.provenance({entry.path: entry.blob for entry in listing.files}, ["flows"])


@pytest.mark.parametrize(
    "fault", [no_objects, cut_objects, other_objects, bad_reference, lost_commit], ids=lambda fault: fault.__name__
)
def test_a_repository_that_is_broken_is_refused_with_the_way_out(repo: Any, fault: Callable[[Path], None]) -> None:
    repo.commit({"flows/a.yaml": "1"})
    look(repo.path)
    fault(repo.path / ".git")
    with pytest.raises(Refused) as told:
        look(repo.path)
    assert told.value.code == "git_broken"
    assert "git fsck" in str(told.value.hint)


@pytest.mark.parametrize("name", ["HEAD", "config", "index", "packed-refs", "objects", "refs", "shallow"])
@pytest.mark.parametrize("fault", ["gone", "rubbish", "a folder"])
def test_whatever_is_wrong_in_a_repository_ends_in_a_sentence(repo: Any, name: str, fault: str) -> None:
    repo.commit({"flows/a.yaml": "1", ".gitignore": "*.tmp\n", "flows/b.tmp": ""})
    place = repo.path / ".git" / name
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    if fault == "rubbish":
        place.write_bytes(b"\x00rubbish\xff\n")
    if fault == "a folder":
        (place / "x").mkdir(parents=True)
    for use in (look, look_at_disk):
        with suppress(AutomataError):
            use(repo.path)


def look_at_disk(path: Path) -> None:
    tree = WorkingTree(Mirror.open(str(path), path), "")
    listing = tree.list("flows")
    assert listing is not None
    tree.provenance({entry.path: entry.blob for entry in listing.files}, ["flows"])


def test_what_is_no_commit_is_missing(repo: Any) -> None:
    repo.commit({"flows/a.yaml": "1"})
    mirror = Mirror.open(str(repo.path), repo.path)
    for sha in (repo.git("rev-parse", "HEAD:flows"), repo.git("rev-parse", "HEAD:flows/a.yaml"), "a" * 40, "x", ""):
        with pytest.raises(Missing) as told:
            mirror.tree(sha)
        assert told.value.code == "commit_not_found"


def test_a_remote_that_is_broken_itself_is_refused_once_its_copy_was_made_anew(repo: Any, tmp_path: Path) -> None:
    repo.commit({"flows/a.yaml": "1"})
    mirror = Mirror.open(f"file://{repo.path}", tmp_path / "mirrors")
    mirror.fetch()
    for expected in (Unavailable, Refused):
        tree = mirror.tree(mirror.resolve("main"))
        lost, _ = tree.find("flows/a.yaml")
        assert lost is not None
        lose(mirror, lost.blob)
        with pytest.raises(expected):
            tree.data(lost)
        mirror.fetch()


def lose(mirror: Mirror, blob: str) -> None:
    """Take one object out of a mirror."""
    repository = mirror.repository
    kept = [repository.odb.read(id) for id in repository.odb if str(id) != blob]
    repository.free()
    for place in (mirror.path / "objects").rglob("*"):
        if place.is_file():
            place.unlink()
    for kind, data in kept:
        repository.odb.write(kind, data)
    repository.free()


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_a_file_that_cannot_be_read_is_a_finding(repo: Any, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    repo.commit({"flows/a.yaml": "1", "flows/b.yaml": "2", "flows/c/d.yaml": "3"})
    read, names = disk._read, disk._names

    def fails(place: Path) -> Any:
        if place.name in ("a.yaml", "c"):
            raise error
        return read(place) if place.is_file() else names(place)

    monkeypatch.setattr(disk, "_read", fails)
    monkeypatch.setattr(disk, "_names", fails)
    listing = WorkingTree(Mirror.open(str(repo.path), repo.path), "").list("flows")
    assert listing is not None
    assert [entry.path for entry in listing.files] == ["flows/b.yaml"]
    assert [(item.file, item.code) for item in listing.diagnostics] == [("flows/a.yaml", "AF017"), ("flows/c", "AF017")]


def test_a_full_disk_is_not_told_as_the_remotes_fault(
    repo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit({"flows/a.yaml": "1"})
    mirror = Mirror.open(f"file://{repo.path}", tmp_path / "mirrors")

    def full(remote: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mirror_folder._Remote, "fetch", full)
    with pytest.raises(Unavailable) as told:
        mirror.fetch()
    assert told.value.code == "git_mirror"


HERE, THERE = Address("/r", "path", local=Path("/r")), Address("https://x/r", "https", mirror=Path("/nowhere/m"))
SAID = [
    (object_faults, HERE, GitError("could not open '/r/objects/aa': Permission denied"), Refused, "git_rights"),
    (object_faults, HERE, PermissionError(13, "Permission denied", "/r/HEAD"), Refused, "git_rights"),
    (object_faults, HERE, GitError("object not found - no match for id"), Refused, "git_broken"),
    (object_faults, HERE, KeyError("1" * 40), Refused, "git_broken"),
    (object_faults, HERE, OSError(5, "Input/output error"), Unavailable, "git_read"),
    (object_faults, THERE, KeyError("1" * 40), Unavailable, "git_read"),
    (remote_faults, THERE, GitError("failed to write '/nowhere/m/config': Permission denied"), Refused, "git_mirror"),
    (remote_faults, THERE, OSError(28, "No space left on device"), Unavailable, "git_mirror"),
    (remote_faults, THERE, GitError("failed to resolve address for x"), Unavailable, "git_unreachable"),
    (remote_faults, THERE, GitError("Permission denied (publickey)"), Usage, "git_access"),
    (remote_faults, THERE, GitError("unexpected http status code: 404"), Missing, "repository_not_found"),
]


@pytest.mark.parametrize(("faults", "address", "error", "kind", "code"), SAID)
def test_who_can_help_is_told_by_the_kind_of_error(
    faults: Any, address: Address, error: Exception, kind: type[AutomataError], code: str
) -> None:
    with pytest.raises(AutomataError) as told, faults(address):
        raise error
    assert (type(told.value), told.value.code) == (kind, code)
    assert told.value.hint
