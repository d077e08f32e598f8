"""How this program starts Python again: never with code of the folder in which it was started.

`python -m NAME` and `python -c TEXT` look for modules in the working folder before they look anywhere else. That folder
is a repository of flows more often than not, and whoever writes to it would run code as the service.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# What Python calls it. Children inherit it, and so do those that the standard library starts (multiprocessing).
SAFE_PATH = "PYTHONSAFEPATH"


def python_command(*words: str) -> list[str]:
    """The command of another Python, as `python_command("-m", "automata", "worker")`; only installed modules count."""
    return [sys.executable, "-P", *words]


def shield_children() -> None:
    """From now on no Python that is started from here takes modules from the working folder."""
    os.environ[SAFE_PATH] = "1"


def shield_imports() -> None:
    """The same for this process, where `python -m automata` put the working folder first; installed modules stay.

    A checkout of this program, run from its own root, keeps what it is made of.
    """
    own, here = Path(__file__).resolve().parents[1], Path.cwd()
    if not sys.flags.safe_path and sys.path and Path(sys.path[0]).resolve() == here != own:
        del sys.path[0]
