"""What each kind of check finds out, about targets that are well and targets that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import sqlite3
import ssl
import struct
import threading
import time

import numpy as np
import pytest
from processes import until
from serving import Page, answer, certificate
from serving import manual as manual  # noqa: PLC0414  # a fixture
from serving import page as page  # noqa: PLC0414
from serving import wild as wild  # noqa: PLC0414
from sink import free_port

from otel_llmon import checks
from otel_llmon.checks import probes
from otel_llmon.checks.connections import Pool
from otel_llmon.checks.verdicts import Run
from otel_llmon.errors import LlmonError, SettingsError
from otel_llmon.observers.host import filesystems
from otel_llmon.semconv import health as rows
from otel_llmon.semconv.attributes import OUTCOME, SERVER_ADDRESS, SERVER_PORT, STEP, TARGET, TARGET_TYPE

RARELY = 3600.0
SECRET = "Bearer s3cr3t-t0ken"


@pytest.fixture(autouse=True)
def no_checks(manual):
    """Every test begins and ends with none, and asks by itself."""
    yield
    checks.stop()


def found(check):
    """What a check finds now, and what it says of that: None where all is well."""
    result = check.ask()
    assert bool(result.reason) == (not result.up)
    return result.reason or None


def http(page, path="/", **expected):
    """Check a page once."""
    return found(checks.http("page", page.url + path, every=RARELY, **expected))


# pages


@pytest.mark.parametrize(
    ("sent", "expected", "said"),
    [
        (answer(), {}, None),
        (answer(status=204), {}, None),
        (answer(status=503), {}, "503 service unavailable"),
        (answer(status=799), {}, "799"),
        (answer(status=503), {"status": 503}, None),
        (answer(status=401), {"status": [200, 401]}, None),
        (answer(), {"status": 204}, "200 ok"),
        (answer(b"all fine here"), {"contains": "fine"}, None),
        (answer(b"all fine here"), {"contains": "well"}, "the body does not contain 'well'"),
        (answer(b"version 12"), {"matches": r"version \d+$"}, None),
        (answer(b"version x"), {"matches": r"version \d+$"}, r"the body does not match 'version \\d+$'"),
        (answer({"status": "ok", "data": [{"id": 7}]}), {"json": {"status": "ok", "data.0.id": 7}}, None),
        (answer({"status": "starting"}), {"json": {"status": "ok"}}, "status is 'starting', expected 'ok'"),
        (answer({"ready": 1}), {"json": {"ready": True}}, "ready is 1, expected True"),
        (answer({"data": []}), {"json": {"data.0.id": 7}}, "data.0.id is not there"),
        (answer([1]), {"json": {"status": "ok"}}, "status is not there"),
        (answer(b"\xff{", Content_Type="x/y"), {"json": {"a": 1}}, "answers 2 bytes that are no JSON, but x/y"),
        (answer(b"[" * 100_000), {"json": {"a": 1}}, "answers 100000 bytes that are no JSON, but bytes"),
        (answer(X_Ready="Yes, sir"), {"has": {"x-ready": "yes"}}, None),
        (answer(X_Ready="no"), {"has": {"X-Ready": "yes"}}, "header 'X-Ready' is 'no', expected 'yes'"),
        (answer(), {"has": {"X-Ready": "yes"}}, "header 'X-Ready' is missing"),
        (answer(), {"certificate_days": 1}, "it shows no certificate; use https://"),
    ],
)
@pytest.mark.row("H2")
def test_a_page_is_as_expected_or_what_it_is_instead_is_said(page, sent, expected, said):
    """Status, headers, text, pattern, JSON."""
    page.answers["/"] = sent
    assert http(page, **expected) == said


def test_a_pattern_is_sought_in_the_beginning_of_a_body_only(page):
    """Python lets nothing else run meanwhile, and a body may be what takes a pattern a day."""
    page.answers["/"] = answer(b"start" + b" " * (1 << 20) + b"end")
    began = time.process_time()
    assert http(page, matches=r"st\w+t") is None
    for pattern in (r"\s+$", r"(a|\s)*b", "end"):
        assert http(page, matches=pattern) == f"the beginning of 4096 characters does not match {pattern!r}"
    assert time.process_time() - began < 60


def test_a_pattern_that_holds_up_the_program_is_told_of(page, caplog, monkeypatch):
    """Once, with how long."""
    monkeypatch.setattr(probes, "SLOW", 0)
    page.answers["/"] = answer(b" " * 1000 + b"x")
    for _ in range(2):
        assert http(page, matches=r"\s+$")
    [line] = [record.getMessage() for record in caplog.records if "stood still" in record.getMessage()]
    assert line.startswith("checks: to search '\\\\s+$' took ")


def test_a_redirect_is_an_answer_and_is_not_followed(page):
    """It may lead to a login, to itself, or to a stranger who would get the headers."""
    page.answers["/"] = answer(status=302, Location="/")
    assert http(page, headers={"X-Key": SECRET}) == "302 found: it sends us elsewhere; use the address behind it"
    assert len(page.asked) == 1
    assert http(page, status=302) is None


def test_of_a_huge_body_the_first_mebibyte_is_looked_at(page):
    """The status is known before, and what is sought may be at the beginning; nobody downloads the rest."""
    page.answers["/"] = answer(b"start" + b"x" * (64 << 20) + b"end")
    began = time.process_time()
    assert http(page) is None
    assert http(page, contains="start") is None
    assert http(page, contains="end") == "the first 1 MiB of the body does not contain 'end'"
    assert http(page, json={"a": 1}) == "answers more than 1 MiB"
    assert time.process_time() - began < 60
    assert page.connections == 4, "a connection with an unread rest is of no use"


def test_a_head_request_reads_no_body(page):
    """For pages that are dear."""
    page.answers["/"] = answer(b"x" * 100)
    assert http(page, method="HEAD") is None
    assert page.asked[0][0] == "HEAD"


def test_odd_characters_of_an_address_reach_the_server_as_they_must(page):
    """A query and a path are sent as bytes that HTTP allows."""
    page.answers["/caf%C3%A9?q=%C3%BC&b=%20"] = answer()
    assert http(page, "/café?q=ü&b=%20") is None


def test_a_password_in_an_address_is_sent_and_not_told(page):
    """As Basic credentials; neither a result nor what is printed shows it."""
    page.answers["/"] = answer(status=401)
    check = checks.http("page", page.url.replace("//", "//user:topsecret@"), every=RARELY)
    assert found(check) == "401 unauthorized"
    assert page.asked[0][2]["authorization"] == "Basic dXNlcjp0b3BzZWNyZXQ="
    assert "topsecret" not in f"{check!r} {check.result!r}"


@pytest.mark.row("H2")
def test_what_headers_hold_is_sent_to_the_target_and_to_nobody_else(page, recorder, caplog):
    """Not even where a server that sends them back fails the check with it."""
    page.answers["/"] = answer({"authorization": SECRET, "token": SECRET.split()[1]}, Echo=SECRET)
    for expected in ({"json": {"authorization": 1}}, {"json": {"token": 1}}, {"has": {"Echo": "x"}}, {"contains": "x"}):
        said = http(page, headers={"Authorization": SECRET}, **expected)
        assert said
        assert "s3cr3t" not in said
    assert page.asked[0][2]["authorization"] == SECRET
    spans = [(span.attributes, span.events, span.status.description) for span in recorder.finished]
    assert len(spans) == 4
    exported = f"{spans} {recorder.points()} {[(log.body, log.attributes) for log in recorder.logs()]} {caplog.text}"
    assert "s3cr3t" not in exported + repr(checks.results())


# TLS


@pytest.fixture(scope="module")
def trusted(tmp_path_factory):
    """A certificate for localhost, valid for 30 days."""
    return certificate(tmp_path_factory.mktemp("trusted"))


@pytest.fixture
def secure(trusted):
    """A server that shows it."""
    with contextlib.closing(Page(trusted)) as page:
        page.answers["/"] = answer()
        yield page


@pytest.mark.row("H2")
def test_a_certificate_says_how_long_it_is_valid(secure, trusted, recorder):
    """In the result, as a metric, and as a verdict where that is too short."""
    assert http(secure, ca=str(trusted), certificate_days=29) is None
    left = recorder.value(rows.HEALTH_CERTIFICATE.name, {TARGET: "page"})
    assert left == checks.results()["page"].facts["certificate"]
    assert 29.9 * 86_400 < left < 30 * 86_400
    said = http(secure, ca=str(trusted), certificate_days=60)
    assert said.startswith("its certificate expires in 30.0 days, expected 60 or more")


def test_a_certificate_that_is_not_trusted_is_down_and_has_no_days(secure, recorder):
    """Self-made ones are trusted where `ca` names them."""
    assert http(secure) == "its certificate is not trusted (self-signed certificate)"
    assert rows.HEALTH_CERTIFICATE.name not in recorder.points()


def test_a_certificate_for_another_name_or_of_another_time_is_down(tmp_path):
    """Each says what is wrong."""
    for made, said in (
        (certificate(tmp_path, names="DNS:other.example"), "(hostname mismatch: it is for another name)"),
        (certificate(tmp_path, days=-1), "(certificate has expired)"),
    ):
        with contextlib.closing(Page(made)) as page:
            page.answers["/"] = answer()
            assert http(page, ca=str(made)) == f"its certificate is not trusted {said}"


def test_the_wrong_protocol_is_named(page, secure, trusted):
    """TLS to a server that speaks none, and none to one that does."""
    plain = checks.http("x", page.url.replace("http:", "https:"), every=RARELY)
    assert found(plain) == "it speaks no TLS; use http:// instead of https://"
    assert found(checks.http("x", secure.url.replace("https:", "http:"), every=RARELY)) in {
        "it hangs up without an answer",
        "it speaks no HTTP; is that another server's port?",
    }


@pytest.mark.row("H2")
def test_a_certificate_that_has_expired_says_since_when(tmp_path, recorder):
    """Else an alert on the days that are left would fall silent when there are none; nothing is asked of the server."""
    made = certificate(tmp_path, days=-3)
    with contextlib.closing(Page(made)) as page:
        said = http(page, ca=str(made), certificate_days=10, headers={"X-Key": SECRET})
        assert said == "its certificate is not trusted (certificate has expired)"
        assert page.asked == []
        assert -3.1 * 86_400 < recorder.value(rows.HEALTH_CERTIFICATE.name, {TARGET: "page"}) < -3 * 86_400
        assert http(page) == "its certificate is not trusted (self-signed certificate)"
        assert "certificate" not in checks.results()["page"].facts, "of a stranger's nothing is believed"


def test_a_file_of_certificates_that_is_not_there_is_named(secure):
    """It may come later, so that is a finding and no mistake of the call."""
    assert http(secure, ca="missing.pem") == "missing.pem: no such file or directory"
    assert http(secure, ca=__file__) == f"{__file__}: holds no certificates"


def test_over_tls_too_one_connection_is_enough(secure, trusted):
    """And its certificate is still known."""
    check = checks.http("page", secure.url, ca=str(trusted), every=RARELY)
    first, *others = [check.ask() for _ in range(5)]
    assert secure.connections == 1
    assert all(result.facts["certificate"] <= first.facts["certificate"] for result in others)


# targets that misbehave


def drips(sock):
    """Send a valid answer, a byte at a time, without end."""
    sock.recv(1000)
    sock.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        sock.sendall(b"x")
        time.sleep(0.02)


def drips_a_body(sock):
    """The same below the headers."""
    sock.recv(1000)
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        sock.sendall(b"x")
        time.sleep(0.02)


def goes_on(sock):
    """Send nothing but that it goes on."""
    while True:
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.02)


@pytest.mark.row("H7")
@pytest.mark.parametrize("behaves", [lambda sock: sock.recv(1000) and time.sleep(60), drips, drips_a_body, goes_on])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_check_ends_at_its_timeout_however_the_target_keeps_it_waiting(wild, behaves, scheme):
    """Silence, and a byte now and then, come to the same, in TLS's handshake too."""
    server = wild(behaves)
    check = checks.http("slow", f"{scheme}://127.0.0.1:{server.port}/", every=RARELY, timeout=0.3, retries=5)
    began = time.monotonic()
    said = found(check)
    if scheme == "http" or behaves is not goes_on:
        assert said in {"no answer within 0.3 s", "it speaks no TLS; use http:// instead of https://"}
    assert time.monotonic() - began < 5
    assert check.result.seconds < 5
    assert until(lambda: all(thread.name != "llmon-check-slow" for thread in threading.enumerate()), 5), "it waits on"


def streams(*parts):
    """Send a beginning, piece by piece, and no end."""

    def behaves(sock):
        sock.recv(1000)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            for part in parts:
                sock.sendall(b"%x\r\n%s\r\n" % (len(part), part))
                time.sleep(0.02)

    return behaves


@pytest.mark.parametrize(
    ("behaves", "expected", "said"),
    [
        (streams(b"x"), {}, None),
        (streams(b"event: re", b"ady\n"), {"contains": "ready"}, None),
        (streams(b"x"), {"contains": "ready"}, "no answer within 1 s"),
        (streams(b"x"), {"matches": "ready"}, "no answer within 1 s"),
        (lambda sock: (sock.recv(1000) and sock.sendall(b"HTTP/1.0 200 OK\r\n\r\n")) or time.sleep(60), {}, None),
    ],
)
def test_an_answer_without_end_is_well_where_its_beginning_is(wild, behaves, expected, said):
    """As of a stream of events: nobody waits for what is never told."""
    server = wild(behaves)
    here = {"timeout": 1 if said else 30, "every": RARELY}
    check = checks.http("stream", f"http://127.0.0.1:{server.port}/", **here, **expected)
    assert found(check) == said
    assert check.result.seconds < 20


def test_an_answer_of_unknown_length_that_ends_at_once_keeps_its_connection(wild):
    """Most have no length, and an end."""
    connections = []

    def behaves(sock):
        connections.append(sock)
        while sock.recv(1000):
            sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")

    check = checks.http("page", f"http://127.0.0.1:{wild(behaves).port}/", every=RARELY)
    assert all(check.ask().up for _ in range(3))
    assert len(connections) == 1


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", "it hangs up without an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "it speaks no HTTP; is that another server's port?"),
        (b"\x00\xff" * 40_000, "it speaks no HTTP; is that another server's port?"),
        (b"a header\r\n", "it speaks no HTTP; is that another server's port?"),
        (
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101 + b"\r\n",
            "its answer has more headers than are read: got more than 100 headers",
        ),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", None),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "101 switching protocols"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "its answer is incomplete"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "its answer is incomplete"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -7\r\n\r\nabc", None),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", None),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", None),
    ],
)
def test_what_is_no_http_is_down_and_said_in_one_line(wild, sent, said):
    """No garbage of it is in what is said."""

    def behaves(sock):
        sock.recv(1000)
        sock.sendall(sent)

    server = wild(behaves)
    assert found(checks.http("odd", f"http://127.0.0.1:{server.port}/", every=RARELY)) == said


def test_nobody_there_is_said_as_it_is():
    """A closed port, and a name that nobody has."""
    closed = checks.http("x", f"http://127.0.0.1:{free_port()}/", every=RARELY)
    assert found(closed) == "connection refused; is it running there?"
    nowhere = checks.tcp("x", "nowhere.invalid", 80, every=RARELY)
    assert found(nowhere) == "no such host; check the name"


# connections that are kept


@pytest.mark.row("H8")
def test_ten_checks_use_one_connection(page, recorder):
    """So a check costs the target no handshake, and a kept connection has no time to connect."""
    page.answers["/"] = answer(b"x" * 1000)
    check = checks.http("page", page.url, every=RARELY)
    assert all(check.ask().up for _ in range(10))
    assert page.connections == 1
    assert len(page.asked) == 10
    steps = {point.attributes[STEP]: point.count for point in recorder.points()[rows.HEALTH_STEP.name]}
    assert steps == {"resolve": 1, "connect": 1, "wait": 10, "receive": 10}


def test_a_kept_connection_that_the_server_closed_is_no_failure(page):
    """Servers close them when they like."""
    page.answers["/"] = answer()
    page.hangs_up = True
    check = checks.http("page", page.url, every=RARELY)
    assert all(check.ask().up for _ in range(3))
    assert page.connections == 3


def test_a_kept_connection_that_the_server_reset_is_no_failure_over_tls_either(wild, trusted):
    """There it does not come as a connection's error."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted)
    reset = threading.Semaphore(0)

    def behaves(sock):
        with context.wrap_socket(sock, server_side=True) as secured:
            secured.recv(1000)
            secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            asked.acquire()
            secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        reset.release()

    asked = threading.Semaphore(0)
    check = checks.http("page", f"https://localhost:{wild(behaves).port}/", ca=str(trusted), every=RARELY)
    for _ in range(3):
        assert found(check) is None
        asked.release()
        assert reset.acquire(timeout=20)


def test_a_header_that_comes_twice_holds_what_both_say(wild):
    """As with what one line says, separated by commas."""
    sent = b"HTTP/1.1 200 OK\r\nVary: Origin\r\nVary: Accept\r\nContent-Length: 0\r\n\r\n"

    def behaves(sock):
        while sock.recv(1000):
            sock.sendall(sent)

    url = f"http://127.0.0.1:{wild(behaves).port}/"
    for wanted in ("Origin", "Accept", "Origin, Accept"):
        assert found(checks.http("page", url, has={"Vary": wanted}, every=RARELY)) is None
    said = found(checks.http("page", url, has={"Vary": "Cookie"}, every=RARELY))
    assert said == "header 'Vary' is 'Origin, Accept', expected 'Cookie'"


def test_a_kept_connection_does_not_hide_that_the_server_is_gone(page):
    """The connection ends with it."""
    page.answers["/"] = answer()
    check = checks.http("page", page.url, every=RARELY)
    assert check.ask().up
    page.close()
    assert found(check) == "connection refused; is it running there?"


# ports, disks, databases, functions


@pytest.mark.row("H3")
def test_a_port_takes_connections_or_not(wild):
    """By host and port, or both in one."""
    port = wild(lambda _: None).port
    assert found(checks.tcp("db", "127.0.0.1", port, every=RARELY)) is None
    assert found(checks.tcp("db", f"localhost:{port}", every=RARELY)) is None
    assert (
        found(checks.tcp("db", f"127.0.0.1:{free_port()}", every=RARELY)) == "connection refused; is it running there?"
    )


@pytest.mark.row("H14")
def test_a_database_answers_or_says_why_not(tmp_path):
    """Any DB-API module; every connection is closed again."""
    opened = []

    def connect():
        opened.append(sqlite3.connect(tmp_path / "db", factory=Kept))
        return opened[-1]

    class Kept(sqlite3.Connection):
        closed = False

        def close(self):
            self.closed = True
            super().close()

    assert found(checks.database("db", connect, every=RARELY)) is None
    broken = checks.database("db", connect, query="SELECT x FROM nowhere", every=RARELY)
    assert found(broken) == "OperationalError: no such table: nowhere"
    assert [connection.closed for connection in opened] == [True, True]


def test_a_disk_has_room_or_not(tmp_path):
    """A share of it; a folder that is not there is down."""
    assert found(checks.disk("data", str(tmp_path), free=0, every=RARELY)) is None
    assert "free, expected 99.9% or more" in found(checks.disk("data", "/", free=0.999, every=RARELY))
    assert found(checks.disk("data", "/not/there", every=RARELY)) == "/not/there: no such file or directory"


def test_a_disk_is_as_full_as_the_observer_of_filesystems_tells(monkeypatch):
    """What is reserved for the system is not to be had, so it is no room, nor part of a whole."""
    made = os.statvfs_result((4096, 4096, 1000, 300, 200, 1, 1, 1, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: made)
    [one] = [each for each in filesystems.watch("/proc").read() if each.mountpoint == "/"]
    assert found(checks.disk("data", "/", free=0.99, every=RARELY)) == "22.2% free, expected 99.0% or more"
    assert 1 - one.utilization == pytest.approx(200 / 900)


def raises():
    """What a client of a database may say."""
    raise ConnectionError("cannot reach postgres://app:topsecret@db/x\nand more")


def leaves():
    """What no check should do."""
    raise SystemExit(3)


@pytest.mark.row("H14")
@pytest.mark.parametrize(
    ("call", "said"),
    [
        (dict, None),
        (lambda: 0, None),
        (lambda: False, "it returned False"),
        (lambda: np.all([True, False]), "it returned False"),
        (lambda: np.all([True, True]), None),
        (raises, "it hangs up without an answer"),
        (leaves, "SystemExit: 3"),
        (lambda: {}["model"], "KeyError: 'model'"),
    ],
)
def test_a_function_of_ones_own_is_a_check(call, said):
    """Plain or async; it raises or returns False where something is down."""

    async def later():
        await asyncio.sleep(0)
        return call()

    assert found(checks.function("cache", call, every=RARELY)) == said
    if call is not leaves:  # which asyncio lets end its loop
        assert found(checks.function("cache", later, every=RARELY)) == said


def test_a_function_that_is_decorated_stays_what_it_is():
    """It can still be called."""

    @checks.function("cache", every=RARELY)
    def cache():
        return 3

    assert cache() == 3
    assert checks.results()["cache"].name == "cache"


@pytest.mark.row("H12")
def test_a_coroutine_runs_in_the_event_loop_where_its_check_was_made():
    """There its connections are; one that was made in none runs in a loop that stays the same."""
    loops = []

    async def where():
        loops.append(asyncio.get_running_loop())

    async def program():
        check = checks.function("here", where, every=RARELY)
        result = await asyncio.to_thread(check.ask)
        with pytest.raises(LlmonError, match=r"check 'here': asked from its own event loop; await asyncio.to_thread"):
            check.ask()
        return result.up, check, asyncio.get_running_loop()

    up, check, loop = asyncio.run(program())
    assert up
    assert set(loops) == {loop}
    assert found(check) == "the event loop that it belongs to is closed"
    loops.clear()
    elsewhere = checks.function("elsewhere", where, every=RARELY)
    assert [found(elsewhere), found(elsewhere)] == [None, None]
    assert len(loops) >= 2
    assert len(set(loops) - {loop}) == 1


def test_a_coroutine_that_hangs_is_cancelled_at_the_timeout():
    """It does not pile up in the loop."""
    ended = threading.Event()

    async def hangs():
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    check = checks.function("hangs", hangs, every=RARELY, timeout=0.1)
    assert found(check) == "no answer within 0.1 s"
    assert ended.wait(20)


# servers of models


TAGS = {"models": [{"name": "llama3.2:latest"}, {"name": "qwen3:8b"}]}


@pytest.mark.row("H4", "H5")
@pytest.mark.parametrize(
    "place",
    [
        lambda port: ("127.0.0.1", port),
        lambda port: (f"127.0.0.1:{port}",),
        lambda port: (f"http://127.0.0.1:{port}/",),
    ],
)
def test_ollama_is_found_by_host_and_port_or_by_its_address(page, place, recorder):
    """It has models, which are counted."""
    page.answers["/api/tags"] = answer(TAGS)
    assert found(checks.ollama("ollama", *place(page.port), every=RARELY)) is None
    identity = {TARGET: "ollama", TARGET_TYPE: "ollama"}
    assert recorder.value(rows.HEALTH_MODELS.name, identity) == 2
    assert recorder.value(rows.HEALTH_UP.name, identity) == 1


@pytest.mark.row("H4")
@pytest.mark.parametrize(
    ("tags", "model", "said"),
    [
        (TAGS, "llama3.2", None),
        (TAGS, "qwen3:8b", None),
        (TAGS, "qwen3", "model 'qwen3' is not there, only llama3.2:latest, qwen3:8b; run there: ollama pull qwen3"),
        ({"models": []}, "x", "model 'x' is not there, there are none; run there: ollama pull x"),
        ({"models": []}, None, None),
        ({"models": None}, None, "answers JSON of another shape; is that Ollama?"),
        ([], None, "answers JSON of another shape; is that Ollama?"),
        ({"models": [{"name": 3}]}, None, "answers JSON of another shape; is that Ollama?"),
    ],
)
def test_a_model_that_ollama_does_not_have_is_named(page, tags, model, said):
    """With the way to get it."""
    page.answers["/api/tags"] = answer(tags)
    assert found(checks.ollama("ollama", "127.0.0.1", page.port, model=model, every=RARELY)) == said


@pytest.mark.row("H4")
@pytest.mark.parametrize("path", ["", "/v1", "/v1/"])
def test_an_openai_compatible_server_has_models_and_may_have_a_health_page(page, path):
    """VLLM's and TGI's says whether the engine still works, which the list of models does not."""
    page.answers["/v1/models"] = answer({"object": "list", "data": [{"id": "org/model"}]})
    page.answers["/health"] = answer()
    here = {"every": RARELY, "health": "/health"}
    assert found(checks.openai("vllm", page.url + path, model="org/model", **here)) is None
    assert checks.results()["vllm"].facts["models"] == 1
    assert found(checks.openai("vllm", page.url + path, model="x", **here)) == "model 'x' is not there, only org/model"
    page.answers["/health"] = answer(status=500)
    assert found(checks.openai("vllm", page.url + path, **here)) == "500 internal server error"


# what every check tells


@pytest.mark.row("H2")
def test_a_check_is_a_span_of_its_own_with_a_duration_by_outcome(page, recorder):
    """It is no part of the program's trace, and its steps are told where there were any."""
    page.answers["/"] = answer()
    check = checks.http("page", page.url, every=RARELY)
    with recorder.tracer_provider.get_tracer("program").start_as_current_span("program"):
        assert check.ask().up
        page.answers["/"] = answer(status=500)
        run = Run(check)  # in this very thread: some instrument threads to take their trace along
        with contextlib.closing(Pool()) as pool:
            check.work(run, pool)
        assert run.check.up is False
    assert all("traceparent" not in headers for _, _, headers in page.asked)
    first, second = [span for span in recorder.finished if span.name == "check page"]
    assert first.parent is second.parent is None
    assert first.kind.name == "CLIENT"
    assert first.attributes == {
        TARGET: "page",
        TARGET_TYPE: "http",
        SERVER_ADDRESS: "127.0.0.1",
        SERVER_PORT: page.port,
        "http.response.status_code": 200,
        OUTCOME: "success",
    }
    assert (second.status.status_code.name, second.status.description) == ("ERROR", "500 internal server error")
    points = recorder.points()
    durations = {point.attributes[OUTCOME]: point.count for point in points[rows.HEALTH_DURATION.name]}
    assert durations == {"success": 1, "failure": 1}
    steps = {point.attributes[STEP]: point.count for point in points[rows.HEALTH_STEP.name]}
    assert steps == {"resolve": 2, "connect": 2, "wait": 2, "receive": 2}


def test_tls_is_a_step_of_its_own(secure, trusted, recorder):
    """Between connection and answer."""
    http(secure, ca=str(trusted))
    steps = {point.attributes[STEP] for point in recorder.points()[rows.HEALTH_STEP.name]}
    assert steps == {"resolve", "connect", "tls", "wait", "receive"}


def test_what_a_check_asks_is_no_call_of_the_programs(recorder):
    """Instrumented libraries are told to keep quiet, in coroutines too, whichever loop they run in."""
    from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled, is_instrumentation_enabled

    said = []

    def look():
        said.append((is_instrumentation_enabled(), is_http_instrumentation_enabled()))

    async def look_later():
        look()

    assert found(checks.function("now", look, every=RARELY)) is None
    assert found(checks.function("later", look_later, every=RARELY)) is None
    assert set(said) == {(False, False)}
    assert is_instrumentation_enabled()


@pytest.mark.row("H7")
def test_a_retry_is_an_event_of_the_span(page, recorder):
    """With why it was needed; the check as a whole is well."""
    page.answers["/"] = answer(status=503)
    turns = iter([lambda: None, lambda: page.answers.update({"/": answer()}), lambda: None])
    page.before = lambda: next(turns)()  # noqa: PLW0108  # each time the next one
    assert http(page, retries=2) is None
    [event] = recorder.spans()["check page"].events
    assert event.name == "llmon.check.retry"
    assert event.attributes == {"llmon.attempt": 2, "llmon.reason": "503 service unavailable"}
    assert len(page.asked) == 2


# mistakes


def generates():
    """What does nothing when it is called."""
    yield 1


async def generates_later():
    """The same in an event loop."""
    yield 1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: checks.http("api", "localhost"),
            "checks.api.http='localhost': expected a URL such as http://localhost:8",
        ),
        (lambda: checks.http("api", None), "checks.api.http=None: expected a URL"),
        (lambda: checks.http("http://a/", "api"), "checks.http://a/.http='api': expected a URL"),
        (lambda: checks.http("", "http://a"), "checks: name '': expected a word or two, such as 'ollama'"),
        (lambda: checks.http(3, "http://a"), "checks: name 3: expected"),
        (lambda: checks.http("api", "http://a", every=0), "checks.api.every=0: expected a number of seconds above 0"),
        (lambda: checks.http("api", "http://a", timeout="x"), "checks.api.timeout='x': expected a number of seconds"),
        (lambda: checks.http("api", "http://a", fall=0), "checks.api.fall=0: expected a whole number, 1 or more"),
        (lambda: checks.http("api", "http://a", retries=-1), "checks.api.retries=-1: expected a whole number, 0 to 10"),
        (lambda: checks.http("api", "http://a", evry=1), "checks.api.evry: unknown option, did you mean 'every'"),
        (lambda: checks.http("api", "http://a", status="ok"), "checks.api.status='ok': expected a status such as 200"),
        (lambda: checks.http("api", "http://a", matches="("), "checks.api.matches='(': expected a regular expression"),
        (lambda: checks.http("api", "http://a", headers={"A": "x\ny"}), "checks.api.headers=***: expected name=value"),
        (lambda: checks.http("api", "http://u:topsecret@"), "checks.api.http='http://***@': expected a URL"),
        (lambda: checks.tcp("db", "localhost"), "checks.db.tcp='localhost': expected a host and a port, such as"),
        (lambda: checks.tcp("db", "localhost", "x"), "checks.db.tcp='localhost:x': expected a host and a port"),
        (
            lambda: checks.ollama("localhost", 11434),
            "checks.localhost.ollama=11434: expected a URL such as http://local",
        ),
        (lambda: checks.disk("d", "/", free=1.5), "checks.d.free=1.5: expected a share of the disk"),
        (lambda: checks.database("db", "sqlite://"), "checks.db: found 'sqlite://', expected a function that returns"),
        (lambda: checks.function("f", 3), "checks.f: found 3, expected a function without arguments"),
        (
            lambda: checks.function("f", generates),
            "checks.f: found a generator, of which a call runs nothing",
        ),
        (lambda: checks.function("f", generates_later), "checks.f: found a generator, of which a call runs nothing"),
        (
            lambda: checks.function("f")(functools.partial(generates)),
            "checks.f: found a generator, of which a call runs nothing",
        ),
        (lambda: checks.database("db", generates), "checks.db: found a generator, of which a call runs nothing"),
        (lambda: checks.function("f", lambda host: host), "checks.f: found <function <lambda>"),
        (lambda: checks.http("api", "http://a", headers="x"), "checks.api.headers=***: expected name=value"),
        (lambda: checks.http("api", "http://u:topse/cret@a/"), "checks.api.http='http://***@a/': expected a URL"),
        (lambda: checks.tcp("db", "u:topsecret@a:1"), "checks.db.tcp='***@a:1': expected a host and a port"),
        (lambda: checks.http("a\nb", "http://a"), "checks: name 'a\\nb': expected a word or two"),
        (lambda: checks.function("f", print, on_change=3), "checks.f.on_change=3: expected a function of the result"),
        (lambda: checks.function("f", print, breaker=3), "checks.f.breaker=3: expected a Breaker"),
    ],
)
def test_a_mistake_is_told_at_the_call_in_one_line(call, said):
    """What it is about, what was found, what is expected; nothing is checked then."""
    with pytest.raises(SettingsError) as caught:
        call()
    assert str(caught.value).startswith(said)
    assert "topse" not in str(caught.value)
    assert checks.results() == {}
