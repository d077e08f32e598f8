"""Reading a working tree: the same answers as from a commit, before there is one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from automata.errors import Missing, Usage
from automata.git.disk import NO_COMMIT
from automata.git.mirror import Mirror
from automata.git.working import WorkingTree, changes


@pytest.fixture
def working(tmp_path: Path) -> Any:
    def make(repo: Any, folder: str = "") -> WorkingTree:
        return WorkingTree(Mirror.open(str(repo.path), tmp_path / "mirrors"), folder)

    return make


def test_a_clean_working_tree_reads_like_its_commit(repo: Any, working: Any, tmp_path: Path) -> None:
    commit = repo.commit({"flows/a.yaml": "1", "flows/d/b.yaml": "22", "automata.yaml": "x"})
    tree = working(repo)
    committed = Mirror.open(str(repo.path), tmp_path).tree(commit)
    assert tree.list("flows").files == committed.list("flows").files
    assert tree.find("automata.yaml") == committed.find("automata.yaml")
    assert tree.data(tree.list("flows").files[1]) == b"22"
    assert tree.commit == commit


@pytest.mark.parametrize("change", ["edit", "add", "delete"])
def test_what_is_not_committed_is_read_and_marked_dirty(repo: Any, working: Any, change: str) -> None:
    commit = repo.commit({"flows/a.yaml": "1"})
    place = repo.path / ("flows/b.yaml" if change == "add" else "flows/a.yaml")
    place.unlink() if change == "delete" else place.write_text("2")
    tree = working(repo)
    assert len(tree.list("flows").files) == {"edit": 1, "add": 2, "delete": 0}[change]
    assert tree.commit == f"{commit}-dirty"


def test_a_change_elsewhere_is_not_dirty(repo: Any, working: Any) -> None:
    commit = repo.commit({"flows/a.yaml": "1", "README.md": "1"})
    repo.write({"README.md": "2"})
    tree = working(repo)
    tree.list("flows")
    assert tree.commit == commit


def test_before_the_first_commit_there_is_a_name_for_it(repo: Any, working: Any) -> None:
    repo.write({"flows/a.yaml": "1"})
    tree = working(repo)
    assert len(tree.list("flows").files) == 1
    assert (tree.commit, tree.head) == (NO_COMMIT, None)


def test_ignored_files_are_not_read(repo: Any, working: Any) -> None:
    repo.write({".gitignore": "*.tmp.yaml\n", "flows/a.yaml": "", "flows/b.tmp.yaml": ""})
    assert [entry.path for entry in working(repo).list("flows").files] == ["flows/a.yaml"]


@pytest.mark.parametrize("ignored", ["a.yaml", "/flows/", "*", "!*.md\n*.yaml"])
def test_a_tracked_file_is_read_whatever_gitignore_says_of_its_name(repo: Any, working: Any, ignored: str) -> None:
    commit = repo.commit({"flows/a.yaml": "1", "flows/sub/a.yaml": "2"})
    repo.commit({".gitignore": f"{ignored}\n", "README.md": ""})
    repo.write({"flows/sub/new/a.yaml": "3"})
    tree = working(repo)
    assert [entry.path for entry in tree.list("flows").files] == ["flows/a.yaml", "flows/sub/a.yaml"]
    assert tree.commit != commit
    assert not tree.commit.endswith("-dirty")


def test_links_and_large_files_are_refused(repo: Any, working: Any) -> None:
    repo.write({"flows/big.yaml": b"x" * 300_000, "real/x.yaml": ""})
    (repo.path / "flows/link.yaml").symlink_to("/etc/passwd")
    (repo.path / "linked").symlink_to("real")
    tree = working(repo)
    listing = tree.list("flows")
    assert [(item.code, item.file) for item in listing.diagnostics] == [
        ("AF313", "flows/big.yaml"),
        ("AF310", "flows/link.yaml"),
    ]
    assert [item.code for item in tree.list("linked").diagnostics] == ["AF310"]


def test_names_are_vetted_as_in_a_commit(repo: Any, working: Any) -> None:
    repo.write({"flows/a.yaml": "", "flows/A.yaml": "", "flows/x\x1b.yaml": ""})
    Path(f"{repo.path}/flows/caf\udce9.yaml").write_text("")
    found = sorted(item.code for item in working(repo).list("flows").diagnostics)
    assert found == ["AF312", "AF314", "AF315"]


def test_a_bare_repository_or_a_remote_has_nothing_to_watch(make_repo: Any, working: Any, tmp_path: Path) -> None:
    repo = make_repo("bare", "--bare")
    with pytest.raises(Usage) as caught:
        working(repo)
    assert caught.value.code == "no_working_tree"


def test_a_missing_project_folder_is_missing(repo: Any, working: Any) -> None:
    with pytest.raises(Missing):
        working(repo, "nowhere")


async def test_changes_below_the_folder_and_moves_of_branches_are_seen(repo: Any) -> None:
    repo.commit({"p/flows/a.yaml": "1", "q/x": "1"})

    seen: list[set[str]] = []
    stream = changes(repo.path.resolve(), "p", debounce_ms=50)
    pending = asyncio.ensure_future(anext(stream))
    # The watch starts when first awaited; writing until it is noticed needs no guess about how long that takes.
    for number in range(200):
        repo.write({"q/x": str(number), "p/flows/a.yaml": str(number)})
        done, _ = await asyncio.wait({pending}, timeout=0.05)
        if done:
            break
    seen.append(pending.result())
    pending = asyncio.ensure_future(anext(stream))
    await asyncio.to_thread(repo.commit)
    seen.append(await asyncio.wait_for(pending, 300))
    while not any(path.startswith(".git/refs/heads") for batch in seen for path in batch):
        seen.append(await asyncio.wait_for(anext(stream), 300))
    await stream.aclose()
    assert "p/flows/a.yaml" in seen[0]
    assert not any(path.startswith(("q/", ".git/objects", ".git/index")) for batch in seen for path in batch)
