"""`automata init`: a flows repository that validates, syncs and runs as it is made."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from automata.errors import Unavailable, Usage
from automata.git.create import create_repository

_HIDDEN = "dot-"  # `.github` is kept as `dot-github`: here it must not be one of this repository's own workflows


@dataclass(frozen=True, slots=True)
class StarterProject:
    """A new repository: its folder, its first commit and the files in it, in order."""

    path: Path
    commit: str
    files: tuple[str, ...]


def create_starter(folder: Path) -> StarterProject:
    """Make `folder` a flows repository on branch main. Raises Usage (code `not_empty`) when something is in it."""
    folder = folder.expanduser().absolute()
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise Usage(
                f"{folder} is not an empty folder.",
                code="not_empty",
                hint="Name a new one: `automata init` never writes over anything.",
            )
        folder.mkdir(parents=True, exist_ok=True)
        written = tuple(sorted(_copy(files("automata.project") / "starter_files", folder, "")))
    except OSError as error:
        raise Unavailable(f"{folder} could not be written: {error.strerror}.", code="unwritable") from error
    return StarterProject(folder, create_repository(folder, "Start with two example flows"), written)


def _copy(source: Traversable, target: Path, prefix: str) -> list[str]:
    written: list[str] = []
    for item in source.iterdir():
        name = f".{item.name.removeprefix(_HIDDEN)}" if item.name.startswith(_HIDDEN) else item.name
        if item.is_dir():
            (target / name).mkdir()
            written += _copy(item, target / name, f"{prefix}{name}/")
        else:
            (target / name).write_bytes(item.read_bytes())
            written.append(prefix + name)
    return written
