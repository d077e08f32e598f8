"""The objects of a mirror in few files: what each fetch and each merge left behind is put together now and then.

Failure argument. The new pack is whole, with its index, before anything that it holds is removed, so whoever dies in
between leaves objects twice and none missing. Readers take no lock: one that looks for an object in a pack that is
gone looks at the folder again, and finds the new one. An index goes before its pack, or a reader could trust an index
whose pack is gone. The caller is the only writer of packs (mirror_folder.py).

libgit2 takes objects whole into memory to put them together, so what a stranger may have pushed is looked at by its
header first: a pack with a large object stays as it is.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pygit2

MAX_PACKS = 32
MAX_LOOSE = 2_000
YOUNG_SEC = 3_600.0
SMALL_PACK_BYTES = 8 * 1024 * 1024
SMALL_OBJECT_BYTES = 4 * 1024 * 1024
DELTA_CACHE_BYTES = 16 * 1024 * 1024
_PACK_FILE = re.compile(r"pack-[0-9a-f]{40,64}\.(pack|idx|rev|keep|mtimes|bitmap)")
_LOOSE_FOLDER = re.compile(r"[0-9a-f]{2}")
_LOOSE_NAME = re.compile(r"[0-9a-f]{38}")
_INDEX_HEAD = struct.Struct(">4sI1024x")  # of version 2: magic, version, fan-out


def tidy_objects(repository: Any, folder: Path) -> None:
    """Put small packs and loose objects into one pack once there are many. Raises GitError, OSError."""
    _remove_rubbish(folder)
    packs, loose = packs_of(folder), settled_objects(folder)
    if len(packs) <= MAX_PACKS and len(loose) <= MAX_LOOSE:
        return
    small = {pack: ids for pack in packs if (ids := _small_objects(repository, pack)) is not None}
    loose = [place for place in loose if _is_small(repository, _loose_id(place))]
    builder = pygit2.PackBuilder(repository)
    for id in dict.fromkeys((*(id for ids in small.values() for id in ids), *map(_loose_id, loose))):
        builder.add(pygit2.Oid(hex=id))
    if not len(builder):
        return
    builder.write()
    if not set(packs_of(folder)) - set(packs):
        return  # the same objects as one of the packs: which of them is needed cannot be told
    for pack in small:
        remove_pack(pack)
    for place in loose:
        place.unlink(missing_ok=True)


def packs_of(folder: Path) -> list[Path]:
    """The `.pack` files of a repository, sorted."""
    return sorted(folder.glob("objects/pack/pack-*.pack"))


def loose_objects(folder: Path) -> Iterator[Path]:
    """The files of the objects that are in no pack."""
    for place in sorted(folder.glob("objects/??")):
        if _LOOSE_FOLDER.fullmatch(place.name):
            yield from (file for file in place.iterdir() if _LOOSE_NAME.fullmatch(file.name))


def settled_objects(folder: Path) -> list[Path]:
    """Those of the loose objects that nobody wrote in the last hour: a merge that is being checked is left alone."""
    return [place for place in loose_objects(folder) if not is_younger(place, YOUNG_SEC)]


def is_younger(place: Path, seconds: float) -> bool:
    """Whether a file or folder was written in the last `seconds`; one that is not there was not."""
    try:
        return time.time() - place.stat().st_mtime < seconds
    except OSError:
        return False


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; one that vanishes meanwhile counts nothing."""
    return sum(_size(place) for place in folder.rglob("*"))


def remove_pack(pack: Path) -> None:
    """Remove a pack with all that belongs to it, its index first."""
    for suffix in (".idx", ".rev", ".bitmap", ".mtimes", ".keep", ".pack"):
        pack.with_suffix(suffix).unlink(missing_ok=True)


def _remove_rubbish(folder: Path) -> None:
    """What a fetch left that was killed: files that no reader looks at."""
    for place in folder.glob("objects/pack/*"):
        whole = _PACK_FILE.fullmatch(place.name) and place.with_suffix(".idx").exists()
        if not whole and place.is_file():
            place.unlink(missing_ok=True)


def _small_objects(repository: Any, pack: Path) -> list[str] | None:
    """The ids in a small pack; None for one that stays as it is."""
    if _size(pack) > SMALL_PACK_BYTES:
        return None
    ids = list(_ids_of(pack.with_suffix(".idx").read_bytes()))
    return ids if all(_is_small(repository, id) for id in ids) else None


def _is_small(repository: Any, id: str) -> bool:
    return bool(repository.odb.read_header(pygit2.Oid(hex=id))[1] <= SMALL_OBJECT_BYTES)


def _ids_of(index: bytes) -> Iterator[str]:
    """The ids (40 hex digits) of an index of version 2 (git help gitformat-pack); none for another version."""
    if len(index) < _INDEX_HEAD.size or _INDEX_HEAD.unpack_from(index) != (b"\xfftOc", 2):
        return
    (count,) = struct.unpack_from(">I", index, _INDEX_HEAD.size - 4)
    for number in range(count):
        start = _INDEX_HEAD.size + 20 * number
        yield index[start : start + 20].hex()


def _loose_id(place: Path) -> str:
    return place.parent.name + place.name


def _size(place: Path) -> int:
    try:
        return place.lstat().st_size
    except OSError:
        return 0
