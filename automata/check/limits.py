"""The limits of the process that checks a proposal: what it runs was written by a stranger.

In a container all processes share its memory, and the kernel ends what it likes when that is used up: perhaps the
server. So a check and its rehearsals take a share of it, by which as many checks as run at once leave room.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CPU_SEC = 300
MEMORY_BYTES = 4 << 30
FILE_BYTES = 256 << 20
OUT_OF_MEMORY = "error: out of memory"  # what the child says last when its memory is used up
PROCESSES = 4096  # of the user, all programs together: a bound on forks, not on threads that a library starts
SHARE: Final = 0.35  # of the container's memory for one check; two run at once (proposals/service.py)
LEAST_BYTES: Final = 192 << 20  # for one process: it begins with 35 MiB, and takes 87 for a repository of 10,000 flows
_UNLIMITED: Final = 1 << 60  # what the first generation of control groups says for none

LIMITS = (
    (resource.RLIMIT_CPU, CPU_SEC),
    (resource.RLIMIT_AS, MEMORY_BYTES),
    (resource.RLIMIT_FSIZE, FILE_BYTES),
    (resource.RLIMIT_NPROC, PROCESSES),
    (resource.RLIMIT_CORE, 0),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """How many rehearsals run side by side, and what each process of a check may have written to memory."""

    jobs: int
    data_bytes: int = MEMORY_BYTES


def shape_of(container_bytes: int | None, processors: int) -> Shape:
    """What fits into a share of the container's memory; None: there is no bound but the machine's."""
    if container_bytes is None:
        return Shape(processors)
    share = min(int(container_bytes * SHARE), MEMORY_BYTES)
    jobs = max(1, min(processors, share // LEAST_BYTES - 1))
    return Shape(jobs, max(LEAST_BYTES, share // (jobs + 1)))


def limit_process(shape: Shape) -> None:
    """Put the limits on this process, and on all that it starts; an inherited one that is lower stays."""
    for kind, limit in (*LIMITS, (resource.RLIMIT_DATA, shape.data_bytes)):
        hard = resource.getrlimit(kind)[1]
        bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (bound, bound))


def container_memory(root: Path = Path("/")) -> int | None:
    """The least memory limit, in bytes, of the control groups that this process is in; None where there is none."""
    limits = []
    for folder, name in _groups(root):
        for place in (folder, *folder.parents):
            text = _read(place / name).strip()
            if text.isdigit() and int(text) < _UNLIMITED:
                limits.append(int(text))
    return min(limits, default=None)


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _groups(root: Path) -> list[tuple[Path, str]]:
    """(folder, file with the limit) of both generations of control groups."""
    folders = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if not controllers:
            folders.append((root / "sys/fs/cgroup" / path.strip("/"), "memory.max"))
        elif "memory" in controllers.split(","):
            folders.append((root / "sys/fs/cgroup/memory" / path.strip("/"), "memory.limit_in_bytes"))
    return folders


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
