"""Ask the warm process of tests/warm.py for a fork; `python warm_call.py ADDRESS MODULE WORDS` is it for a shell.

Imports little, since that is the point.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import io
    from collections.abc import Mapping, Sequence

LOST = -9


def ask(
    address: str,
    streams: Sequence[int],
    module: str,
    words: Sequence[str],
    env: Mapping[str, str],
    folder: str,
    new_session: bool = False,
) -> io.BufferedReader:
    """Have it forked; what comes back says its process id in one line, and its exit code in another when it ended."""
    request = {"module": module, "words": list(words), "env": dict(env), "folder": folder, "new_session": new_session}
    text = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [len(text).to_bytes(4, "big")], streams)
        connection.sendall(text)
        return connection.makefile("rb")


def call(address: str, module: str, words: Sequence[str]) -> int:
    """The fork's work as our own: its signals, and its end."""
    answer = ask(address, (0, 1, 2), module, words, os.environ, os.getcwd())  # noqa: PTH109 - pathlib is an import
    pid = int(answer.readline())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(pid, number))
    code = int(answer.readline() or LOST)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(call(sys.argv[1], sys.argv[2], sys.argv[3:]))
