"""Opening, fetching and resolving: paths in place, everything else through a mirror."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from automata.errors import Missing, Unavailable, Usage
from automata.git.mirror import Mirror
from tests.git.served import GitServer, serving


@pytest.fixture
def mirrors(tmp_path: Path) -> Path:
    return tmp_path / "data" / "mirrors"


def everything_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file() and "objects" not in file.parts)


def test_a_local_repository_is_read_in_place(repo: Any, mirrors: Path) -> None:
    commit = repo.commit({"a": "1"})
    mirror = Mirror.open(str(repo.path), mirrors)
    mirror.fetch()
    assert mirror.resolve("main") == commit
    assert mirror.workdir == repo.path
    assert not mirrors.exists()


def test_a_bare_repository_and_a_linked_worktree_are_read_in_place(repo: Any, mirrors: Path, tmp_path: Path) -> None:
    commit = repo.commit({"a": "1"})
    repo.git("clone", "-q", "--bare", ".", str(tmp_path / "bare.git"))
    repo.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "linked"))
    assert Mirror.open(str(tmp_path / "bare.git"), mirrors).resolve("main") == commit
    assert Mirror.open(str(tmp_path / "bare.git"), mirrors).workdir is None
    assert Mirror.open(str(tmp_path / "linked"), mirrors).resolve("side") == commit


def test_a_mirror_follows_new_commits_branches_deletions_and_rewrites(repo: Any, mirrors: Path) -> None:
    first = repo.commit({"a": "1"})
    mirror = Mirror.open(f"file://{repo.path}", mirrors)
    mirror.fetch()
    assert mirror.resolve("main") == first
    second = repo.commit({"a": "2"})
    repo.git("branch", "side")
    assert mirror.resolve("main") == first
    mirror.fetch()
    assert (mirror.resolve("main"), mirror.branches()) == (second, ["main", "side"])
    assert not mirror.rewritten(first, second)
    repo.git("branch", "-D", "side")
    repo.git("reset", "-q", "--hard", first)
    third = repo.commit({"a": "3"})
    mirror.fetch()
    assert (mirror.resolve("main"), mirror.branches()) == (third, ["main"])
    assert mirror.rewritten(second, third)
    assert mirror.rewritten("0" * 40, third)


def test_the_same_url_has_one_mirror(repo: Any, mirrors: Path) -> None:
    repo.commit({"a": "1"})
    for _ in range(2):
        Mirror.open(f"file://{repo.path}", mirrors).fetch()
    assert len([item for item in mirrors.iterdir() if item.is_dir()]) == 1


def test_a_killed_fetch_leaves_nothing_that_stops_the_next_one(repo: Any, mirrors: Path) -> None:
    commit = repo.commit({"a": "1"})
    mirror = Mirror.open(f"file://{repo.path}", mirrors)
    (mirror.path / "refs/remotes/origin").mkdir(parents=True)
    (mirror.path / "refs/remotes/origin/main.lock").write_text("")
    (mirror.path / "packed-refs.lock").write_text("")
    mirror.fetch()
    assert mirror.resolve("main") == commit


def test_a_broken_mirror_is_made_anew(repo: Any, mirrors: Path) -> None:
    commit = repo.commit({"a": "1"})
    path = Mirror.open(f"file://{repo.path}", mirrors).path
    (path / "HEAD").unlink()
    mirror = Mirror.open(f"file://{repo.path}", mirrors)
    mirror.fetch()
    assert mirror.resolve("main") == commit


def test_a_tag_or_a_commit_is_not_a_branch(repo: Any, mirrors: Path) -> None:
    commit = repo.commit({"a": "1"})
    repo.git("tag", "v1")
    mirror = Mirror.open(str(repo.path), mirrors)
    for name in ("v1", commit, commit[:8], "refs/heads/main", "heads/main", "origin/main"):
        with pytest.raises(Missing):
            mirror.resolve(name)
    with pytest.raises(Usage):
        mirror.resolve("main~0")


def test_a_missing_branch_names_the_nearest_one(repo: Any, mirrors: Path) -> None:
    repo.commit({"a": "1"})
    with pytest.raises(Missing) as caught:
        Mirror.open(str(repo.path), mirrors).resolve("mian")
    assert (caught.value.code, caught.value.exit_code) == ("branch_not_found", 3)
    assert caught.value.hint == "Did you mean 'main'?"


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_an_empty_repository_says_that_it_is_empty(repo: Any, mirrors: Path, prefix: str) -> None:
    mirror = Mirror.open(f"{prefix}{repo.path}", mirrors)
    mirror.fetch()
    with pytest.raises(Missing) as caught:
        mirror.resolve("main")
    assert caught.value.code == "repository_empty"
    assert mirror.head_branch() is None


@pytest.mark.parametrize("name", ["trunk", "master", "a/b"])
def test_a_remote_tells_its_default_branch_also_when_that_changes(
    repo: Any, mirrors: Path, tmp_path: Path, name: str
) -> None:
    repo.commit({"a": "1"})
    repo.git("branch", name)
    bare = tmp_path / "bare.git"
    repo.git("clone", "-q", "--bare", ".", str(bare))
    mirror = Mirror.open(f"file://{bare}", mirrors)
    assert mirror.head_branch() is None
    mirror.fetch()
    assert mirror.head_branch() == "main"
    repo.git("--git-dir", str(bare), "symbolic-ref", "HEAD", f"refs/heads/{name}")
    mirror.fetch()
    assert mirror.head_branch() == name
    assert mirror.branches() == sorted(["main", name])


def test_a_remote_whose_head_names_nothing_tells_no_default_branch(repo: Any, mirrors: Path, tmp_path: Path) -> None:
    repo.commit({"a": "1"})
    bare = tmp_path / "bare.git"
    repo.git("clone", "-q", "--bare", ".", str(bare))
    mirror = Mirror.open(f"file://{bare}", mirrors)
    mirror.fetch()
    for head in (["symbolic-ref", "HEAD", "refs/heads/nowhere"], ["update-ref", "--no-deref", "HEAD", "main"]):
        repo.git("--git-dir", str(bare), *head)
        mirror.fetch()
        assert mirror.head_branch() is None
        assert mirror.branches() == ["main"]


def test_a_path_without_a_repository_says_so(tmp_path: Path, mirrors: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(Missing) as caught:
            Mirror.open(str(path), mirrors)
        assert caught.value.code == "repository_not_found"


def test_a_folder_inside_a_repository_is_answered_with_the_right_flags(repo: Any, mirrors: Path) -> None:
    repo.commit({"flows-example/automata.yaml": ""})
    with pytest.raises(Missing) as caught:
        Mirror.open(str(repo.path / "flows-example"), mirrors)
    assert f"--repo {repo.path} --path flows-example" in str(caught.value.hint)


def test_a_missing_remote_repository_is_missing_and_an_unreachable_one_unavailable(
    tmp_path: Path, mirrors: Path
) -> None:
    with pytest.raises(Missing):
        Mirror.open(f"file://{tmp_path}/nowhere", mirrors).fetch()
    with pytest.raises(Unavailable) as caught:
        Mirror.open("https://u:S3CRET@127.0.0.1:1/x", mirrors).fetch()
    assert caught.value.exit_code == 4
    assert "S3CRET" not in str(caught.value)


def test_head_branch_is_what_is_checked_out(repo: Any, mirrors: Path) -> None:
    repo.commit({"a": "1"})
    repo.git("checkout", "-q", "-b", "side")
    assert Mirror.open(str(repo.path), mirrors).head_branch() == "side"
    repo.git("checkout", "-q", "--detach")
    assert Mirror.open(str(repo.path), mirrors).head_branch() is None


def test_a_shallow_clone_is_readable(repo: Any, mirrors: Path, tmp_path: Path) -> None:
    repo.commit({"flows/a.yaml": "1"})
    commit = repo.commit({"flows/a.yaml": "2"})
    repo.git("clone", "-q", "--depth", "1", f"file://{repo.path}", str(tmp_path / "shallow"))
    mirror = Mirror.open(str(tmp_path / "shallow"), mirrors)
    assert mirror.tree(mirror.resolve("main")).list("flows") is not None
    assert mirror.resolve("main") == commit


@pytest.fixture
def serve() -> Iterator[Callable[..., GitServer]]:
    with ExitStack() as running:
        yield lambda root, **options: running.enter_context(serving(root, **options))


def test_credentials_come_from_the_environment_and_stay_in_memory(
    repo: Any, serve: Any, mirrors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repo.commit({"a": "1"})
    server = serve(repo.path.parent)
    url = f"http://127.0.0.1:{server.server_port}/repo/.git"
    monkeypatch.setenv("AUTOMATA_GIT_USERNAME", "robot")
    monkeypatch.setenv("AUTOMATA_GIT_TOKEN", "S3CRET")
    mirror = Mirror.open(url, mirrors)
    mirror.fetch()
    assert mirror.resolve("main") == commit
    assert b"S3CRET" not in everything_in(mirrors)


def test_credentials_in_the_url_work_and_are_stored_nowhere(repo: Any, serve: Any, mirrors: Path) -> None:
    commit = repo.commit({"a": "1"})
    server = serve(repo.path.parent)
    mirror = Mirror.open(f"http://robot:S3CRET@127.0.0.1:{server.server_port}/repo/.git", mirrors)
    mirror.fetch()
    assert mirror.resolve("main") == commit
    assert "S3CRET" not in mirror.address.url
    assert b"S3CRET" not in everything_in(mirrors)


def test_a_server_tells_its_default_branch_over_http(repo: Any, serve: Any, mirrors: Path) -> None:
    repo.commit({"a": "1"})
    repo.git("checkout", "-q", "-b", "trunk")
    server = serve(repo.path.parent)
    mirror = Mirror.open(f"http://robot:S3CRET@127.0.0.1:{server.server_port}/repo/.git", mirrors)
    mirror.fetch()
    assert mirror.head_branch() == "trunk"


def test_refused_and_absent_credentials_are_told_apart_and_not_retried(
    repo: Any, serve: Any, mirrors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit({"a": "1"})
    server = serve(repo.path.parent)
    mirror = Mirror.open(f"http://127.0.0.1:{server.server_port}/repo/.git", mirrors)
    with pytest.raises(Usage, match="none are set"):
        mirror.fetch()
    monkeypatch.setenv("AUTOMATA_GIT_TOKEN", "WR0NG")
    with pytest.raises(Usage, match="were refused") as caught:
        mirror.fetch()
    assert (caught.value.code, caught.value.exit_code) == ("git_access", 3)
    assert "WR0NG" not in str(caught.value)
    assert sum(seen is not None for seen in server.seen) <= 2


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_credentials_do_not_follow_a_redirect_to_another_host_or_port(
    repo: Any, serve: Any, mirrors: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    repo.commit({"a": "1"})
    target = serve(repo.path.parent)
    first = serve(repo.path.parent, elsewhere=f"http://{host}:{target.server_port}")
    monkeypatch.setenv("AUTOMATA_GIT_TOKEN", "S3CRET")
    with pytest.raises((Usage, Unavailable)):
        Mirror.open(f"http://127.0.0.1:{first.server_port}/repo/.git", mirrors).fetch()
    assert not any(target.seen)
