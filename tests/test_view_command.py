"""`llmon view`: its addresses, its ends, its one-line mistakes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from otlp import ask, get, post, spans
from sink import free_port

from otel_llmon.cli import view

LLMON = str(Path(sys.executable).parent / "llmon")


@contextmanager
def _running(folder, *options):
    command = [LLMON, "view", "--data", str(folder), "--otlp", "127.0.0.1:0", "--page", "127.0.0.1:0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            told = dict(process.stdout.readline().split() for _ in range(3))
            yield process, told
        finally:
            process.kill()


@pytest.mark.parametrize(
    "numbers", [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT), (signal.SIGINT,) * 3]
)
def test_being_told_in_two_ways_at_once_is_one_end(tmp_path, numbers):
    """As when a terminal's key and a supervisor come together: not a word, exit 0."""
    with _running(tmp_path) as (process, _):
        os.kill(process.pid, signal.SIGSTOP)  # so that it meets all of them together
        for number in numbers:
            process.send_signal(number)
        os.kill(process.pid, signal.SIGCONT)
        assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_leaves_when_told(tmp_path, number):
    """Both ports answer by then; the end is exit 0 without a word, however often it is asked for."""
    with _running(tmp_path, "--max-size", "50MB", "--max-age", "12h") as (process, told):
        assert told["data"] == str(tmp_path)
        assert get(f"{told['page']}/healthz").body == b"ok\n"
        assert post(f"{told['OTLP']}/v1/traces", spans(1).SerializeToString()).status == 200
        process.send_signal(number)
        process.send_signal(number)
        assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


def test_open_connections_do_not_keep_it(tmp_path):
    """Neither a stream of changes nor a client that says nothing."""
    with _running(tmp_path) as (process, told):
        url = told["page"].removeprefix("http://").split(":")
        with (
            closing(socket.create_connection((url[0], int(url[1])))) as live,
            closing(socket.create_connection((url[0], int(url[1])))),
        ):
            live.sendall(b"GET /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert live.recv(10)
            process.terminate()
            assert process.wait(timeout=20) == 0


def test_a_second_start_goes_on_with_the_same_data(tmp_path):
    """And a file that is no database is set aside in one line."""
    with _running(tmp_path) as (process, told):
        assert post(f"{told['OTLP']}/v1/traces", spans(1).SerializeToString()).status == 200
        process.terminate()
        process.wait(timeout=20)
    with _running(tmp_path) as (process, told):
        assert len(get(f"{told['page']}/api/traces").json["traces"]) == 1
        process.terminate()
        process.wait(timeout=20)
    (tmp_path / "viewer.db").write_bytes(b"no database" * 1000)
    with _running(tmp_path) as (process, told):
        process.terminate()
        _, error = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "set aside as viewer-" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--otlp", "4318"], "--otlp '4318': expected HOST:PORT"),
        (["--otlp", "127.0.0.1:99999"], "expected HOST:PORT"),
        (["--page", "no.such.host.invalid:0"], "give another with --page HOST:PORT"),
        (["--otlp", "203.0.113.9:0"], "give another with --otlp HOST:PORT"),
        (["--tee", "collector"], "--tee 'collector': expected a URL"),
        (["--max-size", "much"], "--max-size 'much': expected a number and a unit, such as 500MB"),
        (["--max-size", "0"], "--max-size '0'"),
        (["--max-size", "1"], "--max-size '1': expected at least 32MiB, twice the largest request"),
        (["--max-size", "33554431"], "expected at least 32MiB"),
        (["--max-age", "7"], "--max-age '7': expected a number and a unit, such as 12h or 7d"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, options, words):
    """On stderr, exit status 1, no traceback."""
    defaults = ["--otlp", "127.0.0.1:0", "--page", "127.0.0.1:0"]
    command = [LLMON, "view", "--data", str(tmp_path), *defaults, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("llmon: ")
    assert words in line


def test_a_taken_port_and_a_taken_folder_are_one_line(viewer, tmp_path):
    """Each names the way out."""
    taken = viewer.otlp_url.removeprefix("http://")
    for options, words in (
        (
            ["--data", str(tmp_path / "x"), "--otlp", taken],
            f"{taken}: address already in use, give another with --otlp",
        ),
        (["--data", str(viewer.folder), "--otlp", "127.0.0.1:0"], "another viewer uses it"),
        (["--data", "/dev/null/x", "--otlp", "127.0.0.1:0"], "/dev/null/x: not a directory, give another folder"),
        (["--data", str(tmp_path / "x"), "--otlp", taken, "--tee", f"http://{taken}"], "address already in use"),
    ):
        command = [LLMON, "view", "--page", "127.0.0.1:0", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        assert words in line
    assert ask(viewer, "/api/status")["spans"] == 0


def test_it_does_not_hand_on_to_itself(tmp_path):
    """That would never end."""
    address = f"127.0.0.1:{free_port()}"
    command = [LLMON, "view", "--data", str(tmp_path), "--otlp", address, "--page", "127.0.0.1:0"]
    command += ["--tee", f"http://{address}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "is this viewer itself" in done.stderr


@pytest.mark.parametrize(
    ("given", "expected"), [("500MB", 500e6), ("2GB", 2e9), ("1GiB", 2**30), ("1.5k", 1500), ("800", 800)]
)
def test_sizes_are_read_as_people_write_them(given, expected):
    """Powers of ten, and of two where it says so."""
    assert view._size(given) == expected


def test_importing_the_package_or_the_command_loads_no_viewer():
    """SQLite, HTTP and protobuf are loaded by `llmon view` only."""
    program = (
        "import sys, otel_llmon, otel_llmon.cli; print([n for n in sys.modules if 'viewer' in n or n == 'sqlite3'])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"
