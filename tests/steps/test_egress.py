"""The real transport against real servers: what it connects to, how much it reads, and what it calls its troubles."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import subprocess
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from automata.steps.contract import HttpRequest, TransportError
from automata.steps.egress import EgressPolicy, HttpTransport, TransportLimits

LOOPBACK = EgressPolicy(allow_loopback=True)
MIB = 1024 * 1024


async def hello(request: web.Request) -> web.Response:
    return web.Response(text="hello")


async def refused(transport: HttpTransport, request: HttpRequest) -> TransportError:
    with pytest.raises(TransportError) as caught:
        await transport.send(request)
    return caught.value


def get(url: str, **more: Any) -> HttpRequest:
    return HttpRequest(**({"method": "GET", "url": url, "timeout_sec": 10.0} | more))


class Names:
    """A name server that gives each question the next answer of its list, and the last one for ever."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def port_of(url: str) -> str:
    return url.rpartition(":")[2]


async def test_a_name_is_looked_up_once_and_the_vetted_address_is_called(serve: Any, transport: Any) -> None:
    """Rebinding: the second answer is forbidden, and nobody ever asks for it while the first is in use."""
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    async with serve(hello) as url, transport(lookup=names) as real:
        for _ in range(5):
            answer = await real.send(get(f"http://shop.test:{port_of(url)}/"))
            assert answer.body == b"hello"
    assert names.asked == ["shop.test"]


async def test_a_name_that_rebinds_is_refused_at_the_lookup_that_says_so(serve: Any, transport: Any) -> None:
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    limits = TransportLimits(keepalive_sec=0.001, dns_cache_sec=0)
    policy = EgressPolicy(allow_loopback=True, deny=("127.0.0.2",))
    async with serve(hello) as url, transport(policy, lookup=names, limits=limits) as real:
        target = get(f"http://shop.test:{port_of(url)}/", headers=(("Cookie", "a=b"),))
        assert (await real.send(target)).status == 200
        await asyncio.sleep(0.01)
        error = await refused(real, target)
        assert (error.code, error.retryable) == ("egress_denied", False)
        assert "127.0.0.2" in error.message


async def test_one_forbidden_address_refuses_the_whole_answer(serve: Any, transport: Any) -> None:
    names = Names(["127.0.0.1", "169.254.169.254"])
    async with serve(hello) as url, transport(lookup=names) as real:
        error = await refused(real, get(f"http://shop.test:{port_of(url)}/"))
        assert error.code == "egress_denied"
        assert "169.254.169.254" in error.message


async def test_many_callers_that_share_a_lookup_are_all_refused(transport: Any) -> None:
    async with transport(EgressPolicy(), lookup=Names(["10.0.0.1", "fd00:ec2::254"])) as real:
        errors = await asyncio.gather(*(refused(real, get("http://shop.test/")) for _ in range(50)))
        assert {error.code for error in errors} == {"egress_denied"}


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://2130706433:{port}/", "http://0x7f.1:{port}/",
     "http://[::ffff:127.0.0.1]:{port}/", "http://0.0.0.0:{port}/", "http://good.test@127.0.0.1:{port}/",
     "http://127.0.0.1.:{port}/", "http://innocent.test:{port}/"],
)  # fmt: skip
async def test_no_form_of_loopback_reaches_a_server_that_listens(url: str, serve: Any, transport: Any) -> None:
    seen: list[str] = []

    async def record(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response()

    async with serve(record) as base, transport(EgressPolicy(), lookup=Names(["127.0.0.1"])) as real:
        error = await refused(real, get(url.format(port=port_of(base))))
        assert error.code == "egress_denied"
    assert seen == []


async def test_a_connection_opened_under_one_policy_is_never_used_under_another(serve: Any, transport: Any) -> None:
    async with serve(hello) as url, transport(LOOPBACK) as open_door, transport(EgressPolicy()) as shut:
        assert (await open_door.send(get(url))).status == 200
        assert (await refused(shut, get(url))).code == "egress_denied"
        assert (await open_door.send(get(url))).status == 200


async def test_the_socket_is_judged_even_when_everything_before_it_is_fooled(
    serve: Any, transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EgressPolicy, "vet_host", lambda *given: None)
    monkeypatch.setattr(EgressPolicy, "vet_address", lambda *given: None)

    async with serve(hello) as url, transport(EgressPolicy(), lookup=Names(["127.0.0.1"])) as real:
        assert (await refused(real, get(url))).code == "egress_denied"
        assert (await refused(real, get(f"http://a.test:{port_of(url)}/"))).code == "egress_denied"


async def test_a_proxy_of_the_environment_is_not_used(
    serve: Any, transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    async with serve(hello) as url, transport() as real:
        assert (await real.send(get(url))).status == 200


async def test_connections_are_kept_alive_and_reused(serve: Any, transport: Any) -> None:
    peers: list[Any] = []

    async def peer(request: web.Request) -> web.Response:
        peers.append(request.transport.get_extra_info("peername") if request.transport else None)
        return web.Response()

    async with serve(peer) as url, transport() as real:
        for method in ("GET", "POST", "PUT", "HEAD"):
            await real.send(get(url, method=method, body=b"x" if method in ("POST", "PUT") else None))
    assert len(peers) == 4
    assert len(set(peers)) == 1


async def test_five_hundred_calls_run_side_by_side(serve: Any, transport: Any) -> None:
    present, all_here = 0, asyncio.Event()

    async def meet(request: web.Request) -> web.Response:
        nonlocal present
        present += 1
        if present == 500:
            all_here.set()
        await all_here.wait()
        return web.Response(text=request.path)

    async with serve(meet, backlog=1024) as url, transport() as real:
        answers = await asyncio.gather(*(real.send(get(f"{url}/{n}", timeout_sec=60.0)) for n in range(500)))
    assert [answer.body for answer in answers] == [f"/{n}".encode() for n in range(500)]


async def test_the_limit_of_connections_makes_the_rest_wait(serve: Any, transport: Any) -> None:
    present = most = 0

    async def count(request: web.Request) -> web.Response:
        nonlocal present, most
        present += 1
        most = max(most, present)
        await asyncio.sleep(0.002)
        present -= 1
        return web.Response()

    async with serve(count) as url, transport(limits=TransportLimits(connections=3)) as real:
        await asyncio.gather(*(real.send(get(url)) for _ in range(30)))
    assert most == 3


async def test_cookies_do_not_travel_from_one_request_to_the_next(serve: Any, transport: Any) -> None:
    async def cookie(request: web.Request) -> web.Response:
        return web.Response(text=request.headers.get("Cookie", "none"), headers={"Set-Cookie": "a=b"})

    async with serve(cookie) as url, transport() as real:
        assert [(await real.send(get(url))).body for _ in range(2)] == [b"none", b"none"]


async def test_headers_come_as_text_whatever_their_bytes(serve_raw: Any, transport: Any) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-L: \xe9\r\nX-U: \xc3\xa9\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with serve_raw(talk) as url, transport() as real:
        headers = (await real.send(get(url))).headers
        assert headers[:4] == (("X-L", "é"), ("X-U", "é"), ("X-A", "1"), ("X-A", "2"))


@pytest.mark.parametrize("size", [0, 1, 600_000, 3 * MIB])
async def test_a_body_of_any_size_is_sent_whole_and_named_by_the_request_alone(
    size: int, serve: Any, transport: Any
) -> None:
    async def echo(request: web.Request) -> web.Response:
        kind = request.headers.get("Content-Type", "none")
        return web.Response(text=f"{len(await request.read())} {kind} {request.headers['Content-Length']}")

    async with serve(echo) as url, transport() as real:
        answer = await real.send(get(url, method="POST", body=b"x" * size))
        assert answer.body.decode() == f"{size} none {size}"
        typed = await real.send(get(url, method="POST", body=b"x" * size, headers=(("Content-Type", "a/b"),)))
        assert typed.body.decode() == f"{size} a/b {size}"


async def test_a_response_at_the_limit_is_read_and_one_byte_more_is_not(serve: Any, transport: Any) -> None:
    async def sized(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * int(request.query["n"]))

    async with serve(sized) as url, transport() as real:
        assert len((await real.send(get(f"{url}/?n=1000", max_bytes=1000))).body) == 1000
        error = await refused(real, get(f"{url}/?n=1001", max_bytes=1000))
        assert (error.code, error.retryable) == ("response_too_large", False)
        assert "max_response_bytes is 1000" in error.message
        assert (await real.send(get(f"{url}/?n=1001", method="HEAD", max_bytes=1000))).status == 200


async def endless(request: web.Request) -> web.StreamResponse:
    """A GiB in chunks, without a length; it stops when the client hangs up."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    piece = b"x" * 65_536
    for _ in range(16_384):
        await answer.write(piece)
    return answer


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    """Fails a test whose block holds `limit` bytes or more at once."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit


async def test_a_gigabyte_is_cut_off_without_being_held(serve: Any, transport: Any) -> None:
    with memory_below(12 * MIB):
        async with serve(endless) as url, transport() as real:
            assert (await refused(real, get(url, max_bytes=MIB))).code == "response_too_large"


def bomb(size: int) -> bytes:
    """`size` zeros, compressed about a thousand times, made without holding them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(MIB)
    return b"".join(packer.compress(zeros) for _ in range(size // MIB)) + packer.flush()


async def test_a_gzip_bomb_is_cut_off_by_its_decoded_size(serve: Any, transport: Any) -> None:
    packed = bomb(512 * MIB)
    assert len(packed) < MIB

    async def explode(request: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    with memory_below(24 * MIB):
        async with serve(explode) as url, transport() as real:
            assert (await refused(real, get(url, max_bytes=MIB))).code == "response_too_large"


async def test_an_honest_gzip_body_is_decoded(serve: Any, transport: Any) -> None:
    async def packed(request: web.Request) -> web.Response:
        assert "gzip" in request.headers["Accept-Encoding"]
        return web.Response(body=gzip.compress(b"hello" * 1000), headers={"Content-Encoding": "gzip"})

    async with serve(packed) as url, transport() as real:
        assert (await real.send(get(url))).body == b"hello" * 1000


async def trickle(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(b".")
        await asyncio.sleep(0.005)


async def hang(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize("handler", [trickle, hang])
async def test_a_server_that_does_not_end_is_a_timeout(handler: Any, serve: Any, transport: Any) -> None:
    async with serve(handler) as url, transport() as real:
        error = await refused(real, get(url, timeout_sec=0.1))
        assert (error.code, error.retryable) == ("timeout", True)


async def test_a_slow_name_server_is_a_timeout_too(transport: Any) -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async with transport(lookup=never) as real:
        assert (await refused(real, get("http://a.test/", timeout_sec=0.05))).code == "timeout"


@pytest.mark.parametrize("trouble", [socket.gaierror(-2, "Name or service not known"), []])
async def test_a_name_without_an_address_is_a_dns_error(trouble: Any, transport: Any) -> None:
    async with transport(lookup=Names(trouble)) as real:
        error = await refused(real, get("http://nowhere.test/"))
        assert (error.code, error.retryable) == ("dns_error", True)
        assert "nowhere.test" in error.message


async def test_the_systems_own_lookup_is_asked_for_real_names(transport: Any) -> None:
    async with transport() as real:
        assert (await refused(real, get("http://name.invalid/"))).code == "dns_error"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken and does not listen, so that nobody else can open it meanwhile."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def test_a_port_that_does_not_listen_is_a_connect_error(closed_port: int, transport: Any) -> None:
    async with transport() as real:
        error = await refused(real, get(f"http://127.0.0.1:{closed_port}/x?token=hunter2"))
        assert (error.code, error.retryable) == ("connect_error", True)
        assert f"GET http://127.0.0.1:{closed_port}/x: " in error.message
        assert "hunter2" not in error.message


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()


async def half_chunked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf.\r\n")
    await writer.drain()


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    return


@pytest.mark.parametrize(
    ("method", "talk"),
    [*(("GET", talk) for talk in (reset, half, half_chunked, silence)), ("POST", reset), ("POST", silence)],
)
async def test_a_connection_that_breaks_is_lost_and_worth_a_retry(
    talk: Any, method: str, serve_raw: Any, transport: Any
) -> None:
    async with serve_raw(talk) as url, transport() as real:
        error = await refused(real, get(url, method=method))
        assert (error.code, error.retryable) == ("connection_lost", True)


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: " + b"x" * 70_000 + b"\r\n\r\n"]
)
async def test_what_is_not_http_is_a_protocol_error(answer: bytes, serve_raw: Any, transport: Any) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with serve_raw(talk) as url, transport() as real:
        error = await refused(real, get(url))
        assert (error.code, error.retryable) == ("protocol_error", True)
        assert len(error.message) < 1_000


async def test_a_post_is_not_sent_twice_behind_the_flows_back(serve_raw: Any, transport: Any) -> None:
    calls = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1

    async with serve_raw(talk) as url, transport() as real:
        await refused(real, get(url, method="POST", body=b"x"))
    assert calls == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a self-signed certificate for shop.test, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=shop.test", "-addext", "subjectAltName=DNS:shop.test", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "both.pem").write_bytes(key.read_bytes() + cert.read_bytes())
    return folder / "both.pem"


def tls_of(certificate: Path, seen: list[Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: seen.append(name)
    return context


async def test_tls_keeps_the_name_of_the_url_and_is_verified_unless_the_flow_says_no(
    certificate: Path, serve: Any, transport: Any
) -> None:
    seen: list[Any] = []
    async with serve(hello, ssl_context=tls_of(certificate, seen)) as url:
        port, names = port_of(url), Names(["127.0.0.1"])
        limits = TransportLimits(ca_file=str(certificate))
        async with transport(lookup=names) as strict, transport(lookup=names, limits=limits) as trusting:
            shop, other = f"https://shop.test:{port}/", f"https://other.test:{port}/"
            assert (await trusting.send(get(shop))).status == 200
            assert seen == ["shop.test"]
            untrusted, misnamed = await refused(strict, get(shop)), await refused(trusting, get(other))
            assert {untrusted.code, misnamed.code} == {"tls_error"}
            assert untrusted.retryable
            assert (await strict.send(get(shop, verify_tls=False))).status == 200
            assert (await refused(strict, get(shop))).code == "tls_error"


async def test_tls_to_a_server_without_it_is_a_tls_error(serve: Any, transport: Any) -> None:
    async with serve(hello) as url, transport() as real:
        assert (await refused(real, get(url.replace("http:", "https:")))).code == "tls_error"


@pytest.mark.parametrize("url", ["ftp://a.test/", "nonsense", "http://a.test\\@b.test/"])
async def test_a_plugin_that_sends_nonsense_gets_a_bad_config(url: str, transport: Any) -> None:
    async with transport() as real:
        error = await refused(real, get(url))
        assert (error.code, error.retryable) == ("bad_config", False)


async def test_a_header_that_would_split_the_request_is_a_bad_config(serve: Any, transport: Any) -> None:
    async with serve(hello) as url, transport() as real:
        error = await refused(real, get(url, headers=(("X-A", "1\r\nX-Evil: 2"),)))
        assert (error.code, error.retryable) == ("bad_config", False)


async def test_a_closed_transport_sends_nothing_and_closes_twice(serve: Any) -> None:
    async with serve(hello) as url:
        real = HttpTransport(LOOPBACK)
        assert (await real.send(get(url))).status == 200
        await real.close()
        await real.close()
        error = await refused(real, get(url))
        assert error.retryable


async def test_a_cancelled_call_leaves_the_pool_in_order(serve: Any, transport: Any) -> None:
    async def either(request: web.Request) -> web.Response:
        return await (hang if request.path == "/hang" else hello)(request)

    async with serve(either) as url, transport(limits=TransportLimits(connections=1)) as real:
        task = asyncio.create_task(real.send(get(f"{url}/hang")))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await real.send(get(url))).status == 200
