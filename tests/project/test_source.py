"""Sources: written one way, refused early, and watched."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from automata.errors import Usage
from automata.project.source import Source, watch


def test_a_source_is_known_by_its_address_without_credentials(tmp_path: Path) -> None:
    assert Source("https://robot:S3CRET@host.example/a.git").name == "https://host.example/a.git"
    assert Source(f"{tmp_path}/x/../").name == str(tmp_path)


def test_the_folder_of_a_source_is_written_one_way() -> None:
    assert Source("/x", path="./a//b/").checked().path == "a/b"


@pytest.mark.parametrize(
    "source",
    [
        Source("/x", branch="main~1"),
        Source("/x", branch=""),
        Source("/x", environment="../prod"),
        Source("/x", environment="Prod"),
        Source("/x", environment="p" * 64),
        Source("/x", path="../other"),
        Source("ext::sh -c id"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_opened(source: Source) -> None:
    with pytest.raises(Usage):
        source.checked()


async def test_a_watch_yields_after_a_change_of_the_project(repo: Any, tmp_path: Path) -> None:
    repo.commit({"p/flows/a.yaml": "1"})
    stream = watch(Source(str(repo.path), path="p"))
    pending = asyncio.ensure_future(anext(stream))
    for number in range(200):  # Until it is noticed: the watch begins at some moment after it is awaited.
        repo.write({"p/flows/a.yaml": str(number)})
        if (await asyncio.wait({pending}, timeout=0.05))[0]:
            break
    seen = pending.result()
    await stream.aclose()  # type: ignore[attr-defined]
    assert "p/flows/a.yaml" in seen


async def test_only_a_local_repository_with_files_can_be_watched(make_repo: Any) -> None:
    with pytest.raises(Usage):
        await anext(watch(Source(str(make_repo("bare", "--bare").path))))
