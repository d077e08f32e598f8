"""promtool, which judges alert rules as Prometheus does: found, or brought from the system's packages.

A machine without it gets it where that needs no question (root, apt); elsewhere the tests fail and say what is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from filelock import FileLock

INSTALL_SEC = 420
_MISSING = "promtool is needed by the tests of the alert rules. Debian, Ubuntu: apt-get install prometheus\n"


def find_promtool() -> Path:
    """The program; installs it where that is ours to do. Raises RuntimeError."""
    with FileLock(Path(tempfile.gettempdir()) / f"automata-promtool-{os.getuid()}.lock"):
        return _installed() or _install()


def _installed() -> Path | None:
    found = shutil.which("promtool")
    return Path(found) if found else None


def _install() -> Path:
    if os.getuid() != 0 or not shutil.which("apt-get"):
        raise RuntimeError(_MISSING)
    install = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "install", "-y", "--no-install-recommends", "prometheus"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # the package starts no service
    for command in (install, ["apt-get", "update"], install):  # lists may be missing or old: the first try shows it
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=INSTALL_SEC
        )
        if command is install and done.returncode == 0 and (found := _installed()):
            return found
    raise RuntimeError(f"{_MISSING}apt-get could not install it:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
