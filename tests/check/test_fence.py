"""The child that checks a stranger's change, and all that it starts, reaches no network and no other process."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import textwrap

import pytest

from automata.check import fence

FENCED = sys.platform == "linux" and platform.machine() in fence.CALLS
pytestmark = pytest.mark.skipif(not FENCED, reason="the kernel's filter is for Linux on x86-64 and ARM64")
FIRST = "from automata.check.fence import fence_process; assert fence_process()\n"
NOBODY = 65534


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Python behind the fence."""
    words = [sys.executable, "-P", "-c", FIRST + textwrap.dedent(code)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_VSOCK"])
@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW"])
def test_no_socket_of_a_network_opens(family: str, kind: str) -> None:
    done = run(f"""
        import socket
        try:
            socket.socket(socket.{family}, socket.{kind})
        except PermissionError:
            print("refused")
    """)
    assert (done.stdout, done.returncode) == ("refused\n", 0), done.stderr


def test_a_server_on_this_machine_is_not_reached_by_what_it_starts_either() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        port = listener.getsockname()[1]
        done = run(f"""
            import subprocess, sys
            code = "import socket; socket.create_connection(('127.0.0.1', {port}))"
            print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr)
        """)
        assert "PermissionError" in done.stdout, done.stderr
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_what_its_own_processes_talk_over_is_left() -> None:
    done = run("""
        import socket
        a, b = socket.socketpair()
        a.sendall(b"hello")
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).close()
        print(b.recv(5).decode())
    """)
    assert done.stdout == "hello\n", done.stderr


@pytest.mark.parametrize("number", fence.CALLS[platform.machine()].denied if FENCED else ())
def test_calls_that_look_into_another_process_or_go_round_the_filter_are_denied(number: int) -> None:
    done = run(f"""
        import ctypes
        library = ctypes.CDLL(None, use_errno=True)
        print(library.syscall({number}, 0, 0, 0, 0, 0, 0), ctypes.get_errno())
    """)
    assert done.stdout == "-1 13\n", done.stderr


def test_the_fence_cannot_be_taken_down() -> None:
    done = run("""
        import ctypes, socket
        ctypes.CDLL(None).prctl(22, 0, 0, 0, 0)
        try:
            socket.socket(socket.AF_INET)
        except PermissionError:
            print("refused")
    """)
    assert done.stdout == "refused\n", done.stderr


@pytest.mark.parametrize("hides", [True, False])
def test_another_process_of_the_same_user_does_not_read_the_environment(hides: bool) -> None:
    """As nobody, for root reads everything; the second case shows that it can be read where it is not hidden."""
    code = f"""
        import ctypes, os
        from automata.check.fence import hide_process
        if os.getuid() == 0:
            os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
            ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
        if {hides}:
            assert hide_process()
        print("here", flush=True)
        input()
    """
    words = [sys.executable, "-P", "-c", textwrap.dedent(code)]
    env = {**os.environ, "AUTOMATA_SECRET_TOKEN": "s3cr3t"}
    with subprocess.Popen(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "here\n"
        same = f"os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})"
        look = f"import os; os.getuid() or ({same}); print(open('/proc/{server.pid}/environ').read())"
        seen = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=False)
        server.communicate("\n")
    assert ("s3cr3t" in seen.stdout) is not hides, seen.stderr


def test_where_the_kernel_has_no_filter_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert not fence.fence_process()
