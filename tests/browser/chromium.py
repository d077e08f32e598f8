"""The Chromium of this machine, which the console is tested in: found, or brought from the system's packages.

AUTOMATA_CHROMIUM names another one. A machine without any gets it where that needs no question (root, apt); elsewhere
the tests fail and say what is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from filelock import FileLock

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL_SEC = 420
# Tests run as root in containers, where Chromium's own sandbox cannot; it sees nothing but our own server.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
_MISSING = """Chromium is needed by the tests of the console, and none was found.
Install it (Debian, Ubuntu: apt-get install chromium), or name a Chromium or Chrome in AUTOMATA_CHROMIUM.
"""


class NoChromium(RuntimeError):
    """No browser, and none could be had; the text says what to do."""


def find_chromium() -> Path:
    """The program; installs it where that is ours to do. Raises NoChromium."""
    if given := os.environ.get("AUTOMATA_CHROMIUM"):
        if not os.access(given, os.X_OK):
            raise NoChromium(f"AUTOMATA_CHROMIUM names {given}, which is no program.")
        return Path(given)
    with FileLock(Path(tempfile.gettempdir()) / f"automata-chromium-{os.getuid()}.lock"):
        return installed() or _install()


def installed() -> Path | None:
    return next((Path(found) for name in NAMES if (found := shutil.which(name))), None)


def _install() -> Path:
    if os.getuid() != 0 or not shutil.which("apt-get"):
        raise NoChromium(_MISSING)
    install = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "install", "-y", "--no-install-recommends", "chromium"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (install, ["apt-get", "update"], install):  # lists may be missing or old: the first try shows it
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=INSTALL_SEC
        )
        if command is install and done.returncode == 0 and (found := installed()):
            return found
    raise NoChromium(f"{_MISSING}apt-get could not install it:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
