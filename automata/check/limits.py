"""`python -m automata.check.limits …` is `automata …` with limits: what it runs was written by a stranger."""

from __future__ import annotations

import resource
import runpy
import sys

CPU_SEC = 300
MEMORY_BYTES = 4 << 30
FILE_BYTES = 256 << 20
PROCESSES = 4096  # of the user, all programs together: a bound on forks, not on threads that a library starts

LIMITS = (
    (resource.RLIMIT_CPU, CPU_SEC),
    (resource.RLIMIT_AS, MEMORY_BYTES),
    (resource.RLIMIT_FSIZE, FILE_BYTES),
    (resource.RLIMIT_NPROC, PROCESSES),
    (resource.RLIMIT_CORE, 0),
)


def limit() -> None:
    """Take the limits; an inherited one that is lower stays."""
    for kind, most in LIMITS:
        hard = resource.getrlimit(kind)[1]
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (bound, bound))


if __name__ == "__main__":
    limit()
    sys.argv[0] = "automata"
    # By its name: the command line is a floor above this one.
    runpy.run_module("automata", run_name="__main__")
