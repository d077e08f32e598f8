"""What is read from a commit's tree, and every kind of entry that is refused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from automata.errors import Missing, Refused
from automata.git import tree as tree_module
from automata.git.mirror import Mirror
from automata.git.tree import CommitTree, Listing


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def reader(repo: Any, commit: str, folder: str = "") -> CommitTree:
        return Mirror.open(str(repo.path), tmp_path / "mirrors").tree(commit, folder)

    return reader


def codes(listing: Listing | None) -> list[tuple[str, str]]:
    assert listing is not None
    return [(item.code, item.file) for item in listing.diagnostics]


def test_files_come_with_path_blob_and_size(repo: Any, read: Any) -> None:
    commit = repo.commit({"flows/b/x.yaml": "hello", "flows/a.yml": "", "README.md": "no"})
    tree = read(repo, commit)
    listing = tree.list("flows")
    assert [(entry.path, entry.size) for entry in listing.files] == [("flows/a.yml", 0), ("flows/b/x.yaml", 5)]
    assert listing.files[1].blob == repo.git("rev-parse", "HEAD:flows/b/x.yaml")
    assert tree.data(listing.files[1]) == b"hello"
    assert listing.diagnostics == []


def test_a_missing_folder_is_none_and_a_missing_file_is_none(repo: Any, read: Any) -> None:
    tree = read(repo, repo.commit({"x": "1"}))
    assert tree.list("flows") is None
    assert tree.find("automata.yaml")[0] is None
    assert tree.find("x/y")[0] is None


def test_the_project_folder_must_exist_and_a_near_name_is_suggested(repo: Any, read: Any) -> None:
    commit = repo.commit({"flows-example/automata.yaml": ""})
    with pytest.raises(Missing) as caught:
        read(repo, commit, "flows-exmaple")
    assert caught.value.code == "folder_not_found"
    assert "flows-example" in str(caught.value.hint)


def test_the_tree_id_changes_only_with_the_project_folder(repo: Any, read: Any) -> None:
    first = read(repo, repo.commit({"p/flows/a.yaml": "1", "other": "1"}), "p").tree
    second = read(repo, repo.commit({"other": "2"}), "p").tree
    third = read(repo, repo.commit({"p/flows/a.yaml": "2"}), "p").tree
    assert first == second != third


def test_hidden_and_other_files_are_not_flows(repo: Any, read: Any) -> None:
    commit = repo.commit(
        {"flows/.x.yaml": "", "flows/a.JSON": "", "flows/n.md": "", "flows/b.yaml~": "", "flows/.gitkeep": ""}
    )
    assert [entry.path for entry in read(repo, commit).list("flows").flows()] == ["flows/a.JSON"]


def test_a_symbolic_link_is_refused_as_file_and_as_folder(repo: Any, read: Any) -> None:
    repo.write({"secret.yaml": "x", "real/a.yaml": "x"})
    (repo.path / "flows").mkdir()
    (repo.path / "flows/a.yaml").symlink_to("../secret.yaml")
    (repo.path / "linked").symlink_to("real")
    tree = read(repo, repo.commit())
    assert codes(tree.list("flows")) == [("AF310", "flows/a.yaml")]
    assert codes(tree.list("linked")) == [("AF310", "linked")]
    assert codes(tree.find("linked/a.yaml")[1]) == [("AF310", "linked")]
    assert tree.list("flows").files == []


def test_a_submodule_is_refused(repo: Any, read: Any) -> None:
    commit = repo.commit({"flows/a.yaml": ""})
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{commit},flows/sub")
    repo.git("commit", "-q", "-m", "sub")
    assert codes(read(repo, repo.git("rev-parse", "HEAD")).list("flows")) == [("AF311", "flows/sub")]


def crafted(repo: Any, *names: bytes) -> str:
    """A commit whose `flows` folder has these raw names."""
    blob = repo.blob(b"x")
    flows = repo.tree(*(("100644", blob, name) for name in names))
    return str(repo.commit_raw([("040000", flows, b"flows")]))


@pytest.mark.parametrize(
    "names",
    [(b"a.yaml", b"A.yaml"), ("é.yaml".encode(), "e\u0301.yaml".encode()), ("straße.yaml".encode(), b"STRASSE.yaml")],
)
def test_names_that_differ_only_in_case_or_unicode_form_are_refused(
    repo: Any, read: Any, names: tuple[bytes, ...]
) -> None:
    listing = read(repo, crafted(repo, *names)).list("flows")
    assert [code for code, _ in codes(listing)] == ["AF312"]


def test_a_sibling_folder_that_differs_only_in_case_is_refused(repo: Any, read: Any) -> None:
    blob = repo.blob(b"x")
    flows = repo.tree(("100644", blob, b"a.yaml"))
    commit = repo.commit_raw(
        [("040000", flows, b"flows"), ("040000", flows, b"Flows"), ("100644", blob, b"a"), ("100644", blob, b"A")]
    )
    tree = read(repo, commit)
    assert [code for code, _ in codes(tree.list("flows"))] == ["AF312"]
    assert tree.find("automata.yaml")[1].diagnostics == []


@pytest.mark.parametrize("name", [b"..", b".", b".git", b".GIT", b"git~1", b"a\\b.yaml", b".git. "])
def test_names_that_would_leave_the_folder_are_refused(repo: Any, read: Any, name: bytes) -> None:
    if name in (b"..", b".", b".git", b".GIT"):
        # git mktree takes them as they are; it is fsck that objects.
        pass
    listing = read(repo, crafted(repo, name)).list("flows")
    assert [code for code, _ in codes(listing)] == ["AF314"]
    assert listing.files == []


@pytest.mark.parametrize("name", [b"a\nb.yaml", b"\x1b[31mred.yaml", "a\u202eb.yaml".encode(), b"a\x7f.yaml"])
def test_control_and_invisible_characters_are_refused_and_never_printed(repo: Any, read: Any, name: bytes) -> None:
    listing = read(repo, crafted(repo, name)).list("flows")
    assert [code for code, _ in codes(listing)] == ["AF314"]
    assert all(str(item).isprintable() for item in listing.diagnostics)


def test_a_name_that_is_not_utf8_is_refused(repo: Any, read: Any) -> None:
    listing = read(repo, crafted(repo, b"caf\xe9.yaml")).list("flows")
    assert codes(listing) == [("AF315", "flows/caf\\xe9.yaml")]


def test_a_long_path_is_refused(repo: Any, read: Any) -> None:
    deep = "flows/" + "/".join("d" * 30 for _ in range(40)) + "/a.yaml"
    commit = repo.commit({deep: "x"})
    assert [code for code, _ in codes(read(repo, commit).list("flows"))] == ["AF317"]


@pytest.mark.parametrize(("name", "size", "refused"), [
    ("a.yaml", 256 * 1024, False), ("a.yaml", 256 * 1024 + 1, True), ("a.yaml", 300 * 1024, True),
    ("a.png", 1024 * 1024, False), ("a.png", 1024 * 1024 + 1, True),
])  # fmt: skip
def test_a_blob_over_the_limit_is_refused_unread(repo: Any, read: Any, name: str, size: int, refused: bool) -> None:
    listing = read(repo, repo.commit({f"flows/{name}": b"x" * size})).list("flows")
    assert [code for code, _ in codes(listing)] == (["AF313"] if refused else [])


def test_too_many_files_are_refused(repo: Any, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "MAX_FILES", 5)
    listing = read(repo, repo.commit({f"flows/{i}.yaml": "" for i in range(9)})).list("flows")
    assert codes(listing) == [("AF316", "flows")]


def test_a_tree_bomb_ends_at_the_limit(repo: Any, read: Any) -> None:
    node = repo.tree(*(("100644", repo.blob(b"x"), b"%d.yaml" % i) for i in range(10)))
    for _ in range(9):
        node = repo.tree(*(("040000", node, b"%d" % i) for i in range(10)))
    commit = repo.commit_raw([("040000", node, b"flows")])
    started = time.process_time()
    listing = read(repo, commit).list("flows")
    assert [code for code, _ in codes(listing)] == ["AF316"]
    assert time.process_time() - started < 10


def test_what_lies_outside_the_read_folders_may_be_anything(repo: Any, read: Any) -> None:
    (repo.path / "link").symlink_to("/etc/passwd")
    commit = repo.commit({"flows/a.yaml": "", "big.bin": b"x" * 2_000_000})
    assert codes(read(repo, commit).list("flows")) == []


def test_a_blob_that_is_gone_is_told_as_a_broken_repository(repo: Any, read: Any) -> None:
    commit = repo.commit_raw([("100644", "1" * 40, b"automata.yaml")])
    with pytest.raises(Refused) as caught:
        read(repo, commit).find("automata.yaml")
    assert caught.value.code == "git_broken"
