"""What a hostile or broken client can do to the viewer: nothing but get an answer, or lose its connection."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import zlib
from contextlib import ExitStack, closing, suppress

import pytest
from otlp import PROTOBUF, ask, get, port, post, spans
from processes import until

from otel_llmon.viewer import Viewer, framing, serving
from otel_llmon.viewer.intake import MAX_BODY, Intake

LINE = "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"


def _connect(url, timeout=10.0):
    return socket.create_connection(("127.0.0.1", port(url)), timeout=timeout)


def _say(url, text, body=b""):
    """Send raw bytes, and return all that comes back until the other side closes, or has answered."""
    with closing(_connect(url)) as connection:
        connection.sendall(text.encode("latin-1") + body)
        return _heard(connection)


def _heard(connection):
    found = b""
    while b"\r\n\r\n" not in found:
        piece = connection.recv(65536)
        if not piece:
            break
        found += piece
    return found


def _status(heard):
    return int(heard.split()[1]) if heard else None


def test_a_body_of_100_megabytes_is_refused_before_it_is_read(viewer):
    """The answer is there although only the head was sent; a client that sends all of it first gets the same one."""
    length = 100 * 10**6
    assert _status(_say(viewer.otlp_url, f"{LINE}Content-Length: {length}\r\n\r\n")) == 413
    said = post(f"{viewer.otlp_url}/v1/traces", bytes(length))
    assert said.status == 413
    assert str(MAX_BODY).encode() in said.body


def test_whoever_asks_first_sends_no_body_in_vain(viewer):
    """Expect: 100-continue is answered by the refusal, or by the invitation."""
    head = f"{LINE}Expect: 100-continue\r\n"
    assert _status(_say(viewer.otlp_url, f"{head}Content-Length: {10**9}\r\n\r\n")) == 413
    body = spans(1).SerializeToString()
    with closing(_connect(viewer.otlp_url)) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        assert _status(_heard(connection)) == 100
        connection.sendall(body)
        assert _status(_heard(connection)) == 200


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_is_refused_and_costs_no_more_than_the_limit(viewer, coding):
    """1 GB of zeros in 1 MB: 413, and the room that it took is free again."""
    squeeze = zlib.compressobj(9, wbits=31 if coding == "gzip" else 15)
    block = bytes(16 << 20)
    bomb = b"".join(squeeze.compress(block) for _ in range(64)) + squeeze.flush()
    said = post(f"{viewer.otlp_url}/v1/traces", bomb, PROTOBUF | {"Content-Encoding": coding})
    assert said.status == 413
    assert viewer._intake._bytes == 0
    assert viewer._intake.waiting == 0


def test_a_bomb_in_many_members_is_refused_too(viewer):
    """A gzip file may hold several; what they hold is added up."""
    member = gzip.compress(bytes(16 << 20))
    said = post(f"{viewer.otlp_url}/v1/traces", member * 6, PROTOBUF | {"Content-Encoding": "gzip"})
    assert said.status == 413


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        ("Content-Length: -1\r\n", b"", 400),
        ("Content-Length: two\r\n", b"", 400),
        ("Content-Length: 1, 2\r\n", b"", 400),
        ("Content-Length: 1\r\nContent-Length: 2\r\n", b"xx", 400),
        ("Content-Length: ²\r\n", b"", 400),
        (f"Content-Length: {'9' * 400}\r\n", b"", 413),
        ("", b"", 411),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", b"0\r\n\r\n", 400),
        ("Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", b"zz\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", b"-1\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", b"FFFFFFFF\r\n", 413),
        ("Transfer-Encoding: chunked\r\n", b"1\r\nxyz\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", b"0\r\n" + b"a: b\r\n" * 40 + b"\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", 200),
    ],
)
def test_a_length_that_is_wrong_or_missing_has_its_status(viewer, head, body, status):
    """And a chunked body without any chunk is an empty request, which is fine."""
    assert _status(_say(viewer.otlp_url, f"{LINE}{head}\r\n", body)) == status


SECOND = b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 0\r\nContent-Length: 50\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding:\r\n",
        "Content-Length : 50\r\n",
        "Content-Length\t: 50\r\n",
        "X: a\r\n Content-Length: 50\r\nContent-Length: 0\r\n",
        "X: a\r\n\tb\r\nContent-Length: 0\r\n",
        "X: a\rContent-Length: 0\r\n",
        "X: a\x00\r\nContent-Length: 0\r\n",
        "No colon\r\nContent-Length: 50\r\n",
        ": no name\r\nContent-Length: 0\r\n",
        "Host: localhost\r\nContent-Length: 0\r\n",
    ],
)
@pytest.mark.parametrize("which", ["otlp_url", "page_url"])
def test_a_request_whose_end_is_in_doubt_ends_the_connection(viewer, which, head):
    """One answer, 400, and what follows is not taken for another request."""
    with closing(_connect(getattr(viewer, which))) as connection:
        connection.sendall(f"{LINE}{head}\r\n".encode("latin-1") + SECOND)
        heard = b""
        with suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                heard += piece
    assert _status(heard) == 400
    assert heard.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in heard


@pytest.mark.parametrize("size", [b"1\n", b"1;a\nb\r\n", b"1 \r\n", b" 1\r\n", b"0x1\r\n", b"+1\r\n"])
def test_a_chunk_whose_size_is_in_doubt_is_refused(viewer, size):
    """Servers that read such a line in two ways see two requests."""
    heard = _say(viewer.otlp_url, f"{LINE}Transfer-Encoding: chunked\r\n\r\n", size + b"x\r\n0\r\n\r\n")
    assert _status(heard) == 400
    assert b"Connection: close" in heard


def test_a_chunked_body_is_taken(viewer):
    """As Node's exporter sends it where it compresses."""
    body = spans(1, 2).SerializeToString()
    pieces = b"".join(
        f"{len(body[at : at + 50]):x};note=1\r\n".encode() + body[at : at + 50] + b"\r\n"
        for at in range(0, len(body), 50)
    )
    heard = _say(viewer.otlp_url, f"{LINE}Transfer-Encoding: chunked\r\n\r\n", pieces + b"0\r\nTrailer: x\r\n\r\n")
    assert _status(heard) == 200
    assert ask(viewer, "/api/status")["spans"] == 2


def test_a_body_that_ends_early_is_not_kept(viewer):
    """The client is gone, so nobody is told; the next one finds the server as it was."""
    body = spans(1).SerializeToString()
    with closing(_connect(viewer.otlp_url)) as connection:
        connection.sendall(f"{LINE}Content-Length: {len(body) + 5}\r\n\r\n".encode() + body)
        connection.shutdown(socket.SHUT_WR)
        assert _heard(connection) == b""
    assert ask(viewer, "/api/status")["spans"] == 0
    assert post(f"{viewer.otlp_url}/v1/traces", body).status == 200


@pytest.mark.parametrize(
    "text",
    [
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/x\r\n\r\n",
        "\x16\x03\x01\x02\x00\r\n\r\n",
        f"GET /{'a' * 70_000} HTTP/1.1\r\n\r\n",
        f"GET / HTTP/1.1\r\nA: {'a' * 70_000}\r\n\r\n",
        "GET / HTTP/1.1\r\n" + "A: b\r\n" * 200 + "\r\n",
        "GET / HTTP/1.1\r\n: :\r\nHost\r\n\r\n",
    ],
)
@pytest.mark.parametrize("which", ["otlp_url", "page_url"])
def test_what_is_no_http_gets_an_error_and_ends_the_connection(viewer, caplog, which, text):
    """A 4xx or 5xx, or silence; no traceback."""
    heard = _say(getattr(viewer, which), text)
    assert not heard or 400 <= _status(heard) < 600
    assert "Traceback" not in caplog.text
    assert ask(viewer, "/api/status")["spans"] == 0


FOREIGN = [
    "evil.example",
    "evil.example:4318",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.1",
    "",
    "[",
    "a b",
]


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("which", ["otlp_url", "page_url"])
def test_a_foreign_host_is_refused(viewer, which, host):
    """A page elsewhere whose name was made to point here reads and writes nothing."""
    path = "/v1/traces" if which == "otlp_url" else "/api/traces"
    heard = _say(getattr(viewer, which), f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
    assert _status(heard) == 403
    assert b"Access-Control" not in heard


def test_no_host_is_refused_too(viewer):
    """HTTP/1.0 knows requests without."""
    assert _status(_say(viewer.page_url, "GET /api/traces HTTP/1.0\r\n\r\n")) == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:4319"])
def test_this_machines_own_names_are_known(viewer, host):
    """With any port: it may be forwarded."""
    assert get(f"{viewer.page_url}/api/status", {"Host": host}).status == 200


def test_half_open_connections_are_given_up(viewer, monkeypatch):
    """Some never say a word, some stop in the head, some in the body: all are hung up on, and others are served."""
    monkeypatch.setattr(serving, "HEAD", 0.3)
    monkeypatch.setattr(serving, "BODY", 0.3)
    starts = [
        "",
        "POST /v1/tr",
        LINE,
        f"{LINE}Content-Length: 100\r\n\r\nabc",
        f"{LINE}Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    ]
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(_connect(viewer.otlp_url))) for _ in starts]
        for connection, start in zip(connections, starts, strict=True):
            connection.sendall(start.encode())
        for connection in connections:
            assert connection.recv(100) == b""
    assert until(lambda: not viewer._receiver.connections)
    assert post(f"{viewer.otlp_url}/v1/traces", spans(1).SerializeToString()).status == 200


def test_a_body_that_trickles_is_given_up(viewer, monkeypatch):
    """A byte now and then keeps no connection open past the time for a body."""
    monkeypatch.setattr(serving, "BODY", 0.5)
    with closing(_connect(viewer.otlp_url)) as connection:
        connection.sendall(f"{LINE}Content-Length: 100000\r\n\r\n".encode())
        began = time.monotonic()
        try:
            while time.monotonic() - began < 20:
                connection.sendall(b"x")
                time.sleep(0.02)
        except OSError:
            pass
        assert time.monotonic() - began < 10
    assert until(lambda: viewer._intake.waiting == 0)


def test_bodies_that_do_not_come_hold_no_place_in_the_queue(tmp_path):
    """Six hundred of them at a viewer with few places: others are answered, and nothing is held for them."""
    intake = Intake(capacity=2, patience=0.01)
    with Viewer(tmp_path, ("127.0.0.1", 0), ("127.0.0.1", 0), intake=intake) as viewer, ExitStack() as stack:
        for number in range(600):
            connection = stack.enter_context(closing(_connect(viewer.otlp_url)))
            with suppress(OSError):
                connection.sendall(f"{LINE}Content-Length: 100000\r\n\r\n{'x' * (number % 3)}".encode())
        assert ask(viewer, "/api/status")["queue"] == {"waiting": 0, "capacity": 2}
        assert until(lambda: post(f"{viewer.otlp_url}/v1/traces", spans(1).SerializeToString()).status == 200, 2)
        for number in range(2, 20):
            assert post(f"{viewer.otlp_url}/v1/traces", spans(number).SerializeToString()).status == 200


def test_bytes_of_bodies_on_their_way_are_counted(viewer):
    """What has come of them has a bound, and is given back when they end."""
    intake, size = viewer._intake, 300_000
    with ExitStack() as stack:
        for _ in range(5):
            connection = stack.enter_context(closing(_connect(viewer.otlp_url)))
            connection.sendall(f"{LINE}Content-Length: {size + 1}\r\n\r\n".encode() + bytes(size))
        assert until(lambda: intake._bytes > 5 * (size - framing.PIECE))
        assert intake.waiting == 0
    assert until(lambda: intake._bytes == 0)


@pytest.mark.parametrize("which", ["_receiver", "_app"])
def test_connections_that_say_nothing_make_room_for_those_that_do(viewer, monkeypatch, which):
    """Threads stay bounded under hundreds of them, and a client that comes later is answered."""
    server = getattr(viewer, which)
    monkeypatch.setattr(type(server), "most", 16)
    before = threading.active_count()
    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(closing(_connect(server.url)))
        assert threading.active_count() - before < 2 * 16
        if which == "_receiver":
            assert until(lambda: post(f"{viewer.otlp_url}/v1/traces", spans(1).SerializeToString()).status == 200)
        else:
            assert until(lambda: get(f"{viewer.page_url}/api/status").status == 200)
    assert until(lambda: server._serving <= 1)


def test_a_path_leads_nowhere_but_into_the_pages_folder(viewer):
    """Dots, encoded dots, absolute paths and what no file can be called find nothing."""
    for path in (
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/%2e%2e/errors.py",
        "/static//etc/passwd",
        "/static/",
        "/static/%00",
        f"/static/{'a' * 300}",
        "/static/%ff",
    ):
        heard = _say(viewer.page_url, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert _status(heard) == 404, path
