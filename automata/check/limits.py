"""The limits of the process that checks a proposal: what it runs was written by a stranger."""

from __future__ import annotations

import resource

CPU_SEC = 300
MEMORY_BYTES = 4 << 30
FILE_BYTES = 256 << 20
OUT_OF_MEMORY = "error: out of memory"  # what the child says last when its memory is used up
PROCESSES = 4096  # of the user, all programs together: a bound on forks, not on threads that a library starts

LIMITS = (
    (resource.RLIMIT_CPU, CPU_SEC),
    (resource.RLIMIT_AS, MEMORY_BYTES),
    (resource.RLIMIT_FSIZE, FILE_BYTES),
    (resource.RLIMIT_NPROC, PROCESSES),
    (resource.RLIMIT_CORE, 0),
)


def limit_process() -> None:
    """Put the limits on this process; an inherited one that is lower stays."""
    for kind, limit in LIMITS:
        hard = resource.getrlimit(kind)[1]
        bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (bound, bound))
