"""What the check of a stranger's change cannot reach: the network, and what other processes of its user hold.

Failure argument. The child gives up sockets before it reads anything that a stranger wrote, by a filter of the kernel
Failure argument. The child gives up sockets before it reads anything that a stranger wrote, by a filter of the kernel
processes talk over, and no call that looks into another process. The processes of Automata hide for their part, so that
a child of the same user reads neither their environment nor their memory. Files that its user may read it can read, and
Unix sockets of that user it can call: the embedded database is one, and trusts its user.
Where the kernel has no such filter (not Linux, another processor) the child is as it was: limited, with little in its
environment, and told so in docs/proposals.md.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from dataclasses import dataclass
from typing import Final

PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 4, 22, 38
SECCOMP_MODE_FILTER: Final = 2
AF_UNIX: Final = 1
ALLOW, DENY = 0x7FFF0000, 0x00050000 | 13  # the second: the call fails with EACCES
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # codes of the filter's little machine
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # where the kernel puts what a call is, in bytes
X32: Final = 0x40000000  # calls of x86-64 by another table, which would go round the numbers below


@dataclass(frozen=True, slots=True)
class Calls:
    """The numbers of a processor's system calls: `socket`, and those that are denied whatever they are asked."""

    architecture: int
    socket: int
    denied: tuple[int, ...]


# ptrace, process_vm_readv, process_vm_writev, pidfd_getfd; io_uring_setup, for it opens sockets without a call.
CALLS: Final = {
    "x86_64": Calls(0xC000003E, 41, (101, 310, 311, 438, 425)),
    "aarch64": Calls(0xC00000B7, 198, (117, 270, 271, 438, 425)),
}


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("true", ctypes.c_ubyte),
        ("false", ctypes.c_ubyte),
        ("value", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction)))


def fence_process() -> bool:
    """Give up the network and other processes, for this process and all that it starts. False where that cannot be.

    To be called before there is a second thread: the filter holds for the calling one and what it starts.
    """
    calls = CALLS.get(platform.machine()) if sys.platform == "linux" else None
    if calls is None:
        return False
    lines = [_Instruction(*line) for line in _filter(calls)]
    program = _Program(len(lines), (_Instruction * len(lines))(*lines))
    # Without new privileges, as an ordinary user has to promise before a filter is taken.
    return _prctl(PR_SET_NO_NEW_PRIVS, 1) and _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.pointer(program))


def hide_process() -> bool:
    """Let no other process of this user read this one's environment and memory; it leaves no core dump then."""
    return sys.platform == "linux" and _prctl(PR_SET_DUMPABLE, 0)


def _filter(calls: Calls) -> list[tuple[int, int, int, int]]:
    """Lines of (code, how many to skip when it is so, and when not, value); the last two allow and deny."""
    checks = [(EQUAL, number) for number in calls.denied]
    if calls.architecture == CALLS["x86_64"].architecture:
        checks.append((AT_LEAST, X32))
    many = len(checks)
    return [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 0, many + 5, calls.architecture),
        (LOAD, 0, 0, NUMBER),
        *((code, many + 3 - index, 0, value) for index, (code, value) in enumerate(checks)),
        (EQUAL, 0, 2, calls.socket),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (EQUAL, 0, 1, AF_UNIX),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, DENY),
    ]


def _prctl(option: int, value: int, pointer: object = 0) -> bool:
    """All five words are long for the kernel."""
    words = [ctypes.c_ulong(option), ctypes.c_ulong(value), pointer or ctypes.c_ulong(0)]
    try:
        return bool(ctypes.CDLL(None).prctl(*words, ctypes.c_ulong(0), ctypes.c_ulong(0)) == 0)
    except (OSError, AttributeError):
        return False
