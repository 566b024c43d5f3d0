"""What the viewer keeps: through its own end, past damage, within limits."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
import urllib3
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from otlp import ask, get, post, spans

from otel_llmon.viewer import Limits, Viewer, ViewerError, records, schema
from otel_llmon.viewer.database import Database, default_folder
from otel_llmon.viewer.inserting import Inserter
from otel_llmon.viewer.retention import DAY, HOUR, MINUTE, Retention
from otel_llmon.viewer.store import Store, UnfitError

ANY = ("127.0.0.1", 0)
ENDLESS = Limits(1 << 40, 1e12)


def _viewer(folder, **more):
    return Viewer(folder, ANY, ANY, **more)


def _fill(folder, request=None):
    with _viewer(folder) as viewer:
        assert post(f"{viewer.otlp_url}/v1/traces", (request or spans(1)).SerializeToString()).status == 200


def test_what_was_taken_is_there_next_time(tmp_path):
    """Totals, lists and traces are the same after a new start, and known spans are still known."""
    request = spans(1, 2, 3)
    _fill(tmp_path, request)
    with _viewer(tmp_path) as viewer:
        assert post(f"{viewer.otlp_url}/v1/traces", request.SerializeToString()).status == 200
        assert ask(viewer, "/api/status")["spans"] == 3
        assert len(ask(viewer, f"/api/traces/{1:032x}")["spans"]) == 3


def test_nobody_else_can_read_it(tmp_path):
    """Prompts may be in it: the folder is 0700 and every file 0600, whatever the umask."""
    before = os.umask(0)
    try:
        with _viewer(tmp_path / "a" / "b"):
            assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
            for file in (tmp_path / "a" / "b").iterdir():
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    finally:
        os.umask(before)


def test_the_default_folder_is_where_programs_keep_state():
    """As XDG says; a relative path there is no answer."""
    assert default_folder({"XDG_STATE_HOME": "/state"}) == Path("/state/llmon")
    assert default_folder({"XDG_STATE_HOME": "state"}) == Path.home() / ".local/state/llmon"
    assert default_folder({}) == Path.home() / ".local/state/llmon"


def test_all_that_was_acknowledged_survives_kill_9(tmp_path):
    """In the middle of a stream of batches, between any two instructions."""
    command = [sys.executable, "-c", _SERVE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()
        http = urllib3.PoolManager(retries=False, timeout=10)
        acknowledged = []
        with suppress(urllib3.exceptions.HTTPError):
            for number in range(1, 100_000):
                body = spans(*range(1, 20), trace=number).SerializeToString()
                headers = {"Content-Type": "application/x-protobuf"}
                if http.request("POST", f"{url}/v1/traces", body=body, headers=headers).status == 200:
                    acknowledged.append(number)
                if number == 50:
                    os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert len(acknowledged) >= 49
    with _viewer(tmp_path) as viewer:
        for number in acknowledged:
            assert len(ask(viewer, f"/api/traces/{number:032x}")["spans"]) == 19
        status = ask(viewer, "/api/status")
        assert status["spans"] == 19 * status["traces"]


_SERVE = """
import sys, time
from otel_llmon.viewer import Viewer
with Viewer(sys.argv[1], ("127.0.0.1", 0), ("127.0.0.1", 0)) as viewer:
    print(viewer.otlp_url, flush=True)
    viewer.wait()
"""


def _garbage(path):
    path.write_bytes(b"this is no database" * 1000)


def _torn(path):
    content = bytearray(path.read_bytes())
    content[100:4096] = os.urandom(3996)
    path.write_bytes(content)


def _other_schema(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 41}")


def _somebody_elses(path):
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE photos (id)")


def _tables_gone(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE totals")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_garbage, "damaged"),
        (_torn, "damaged"),
        (_tables_gone, "damaged"),
        (_other_schema, f"schema {schema.VERSION + 41}, expected {schema.VERSION}"),
        (_somebody_elses, "not made by llmon"),
    ],
)
def test_a_file_that_cannot_be_used_is_set_aside(tmp_path, caplog, harm, words):
    """Renamed, not deleted; said in one line; and the viewer goes on with an empty one."""
    _fill(tmp_path)
    harm(tmp_path / "viewer.db")
    before = (tmp_path / "viewer.db").read_bytes()
    with _viewer(tmp_path) as viewer:
        assert ask(viewer, "/api/status")["spans"] == 0
        assert post(f"{viewer.otlp_url}/v1/traces", spans(1).SerializeToString()).status == 200
    [record] = caplog.records
    [aside] = tmp_path.glob("viewer-*.db")
    assert words in record.getMessage()
    assert aside.name in record.getMessage()
    assert aside.read_bytes() == before


def test_damage_that_shows_later_ends_the_viewer_with_a_line(tmp_path):
    """What is not safe is not acknowledged, the file is set aside, and the next start has a sound one."""
    _fill(tmp_path, spans(*range(1, 2000)))
    file = tmp_path / "viewer.db"
    with _viewer(tmp_path) as viewer:
        content = bytearray(file.read_bytes())
        content[3 * 4096 :] = os.urandom(len(content) - 3 * 4096)
        file.write_bytes(content)
        viewer._store._connection.execute("PRAGMA shrink_memory")
        said = None
        for number in range(2, 200):
            said = post(f"{viewer.otlp_url}/v1/traces", spans(*range(1, 50), trace=number << 100).SerializeToString())
            if said.status != 200:
                break
        assert said.status == 503
        with pytest.raises(ViewerError, match=r"viewer.db: damaged, set aside as viewer-.*, start again"):
            viewer.wait()
        assert get(f"{viewer.page_url}/healthz").status == 503
    _fill(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="what is open cannot be removed there")
@pytest.mark.parametrize("replaced", [False, True])
def test_a_folder_that_is_removed_ends_the_viewer_with_a_line(tmp_path, replaced):
    """What goes into a file without a name is lost: it is not acknowledged, and questions hear the same."""
    folder = tmp_path / "kept"
    with _viewer(folder) as viewer:
        assert post(f"{viewer.otlp_url}/v1/traces", spans(1).SerializeToString()).status == 200
        assert len(ask(viewer, "/api/traces")["traces"]) == 1
        shutil.rmtree(folder)
        if replaced:
            folder.mkdir()
            (folder / "viewer.db").write_bytes(b"")
        for path in ("/api/traces", "/api/status"):
            said = get(viewer.page_url + path)
            assert said.status == 503
            assert "viewer.db: removed" in said.json["error"]
        for number in (2, 3):
            said = post(f"{viewer.otlp_url}/v1/traces", spans(number).SerializeToString())
            assert said.status == 503
            assert "viewer.db: removed" in Status.FromString(said.body).message
        with pytest.raises(ViewerError, match=r"kept/viewer.db: removed while it was in use, start again"):
            viewer.wait()
        assert get(f"{viewer.page_url}/healthz").status == 503


@pytest.mark.skipif(sys.platform == "win32", reason="what is open cannot be removed there")
def test_a_removed_folder_is_noticed_without_a_request(tmp_path):
    """Whoever waits for the viewer hears of it soon."""
    with _viewer(tmp_path / "kept") as viewer:
        shutil.rmtree(tmp_path / "kept")
        with pytest.raises(ViewerError, match="removed while it was in use"):
            viewer.wait()


def test_a_second_viewer_leaves_the_first_alone(tmp_path):
    """One folder has one viewer."""
    with _viewer(tmp_path) as first:
        with pytest.raises(ViewerError, match="another viewer uses it"):
            _viewer(tmp_path).__enter__()
        assert post(f"{first.otlp_url}/v1/traces", spans(1).SerializeToString()).status == 200
    _fill(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    """Be it a file, below a file, or nowhere."""
    (tmp_path / "file").write_text("")
    places = [tmp_path / "file", tmp_path / "file" / "below"]
    if Path("/proc/self").exists():
        places.append(Path("/proc/llmon"))
    for place in places:
        with pytest.raises(ViewerError, match=f"{place}.*--data"):
            _viewer(place).__enter__()


def test_a_taken_port_is_one_line_and_leaves_the_folder_free(viewer, tmp_path):
    """The other port is closed again, and so is the file."""
    taken = ("127.0.0.1", int(viewer.page_url.rpartition(":")[2]))
    with pytest.raises(ViewerError, match=r"127.0.0.1:\d+: address already in use, give another with --otlp HOST:PORT"):
        Viewer(tmp_path / "x", taken, ANY).__enter__()
    with pytest.raises(ViewerError, match="--page HOST:PORT"):
        Viewer(tmp_path / "x", ANY, taken).__enter__()
    _fill(tmp_path / "x")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_full_disk_ends_the_viewer_with_a_line(tmp_path):
    """The file may not grow past a limit: what is not safe is not acknowledged, what was acknowledged is there."""
    command = [str(Path(sys.executable).parent / "llmon"), "view", "--data", str(tmp_path)]
    command += ["--otlp", "127.0.0.1:0", "--page", "127.0.0.1:0"]
    limited = [sys.executable, "-c", _LIMITED, *command]
    with subprocess.Popen(limited, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        url = process.stdout.readline().split()[1]
        kept = 0
        for number in range(1, 2000):
            said = post(f"{url}/v1/traces", spans(*range(1, 50), trace=number).SerializeToString())
            if said.status != 200:
                break
            kept += 1
        assert said.status == 503
        _, error = process.communicate(timeout=20)
    assert process.returncode == 1
    [line] = error.splitlines()
    assert line.startswith(f"llmon: {tmp_path}")
    assert "--data" in line
    with _viewer(tmp_path) as viewer:
        assert ask(viewer, "/api/status")["traces"] >= kept > 0


_LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def keeping(tmp_path):
    """An inserter and a function that puts requests of spans, logs or points in at a time, in seconds."""
    database = Database(tmp_path / "keeping")
    with closing(database.writer()) as connection:
        inserter = Inserter(connection)

        def put(now, *requests):
            with inserter.transaction(now) as insert:
                for request in requests:
                    signal_, taken = _TAKERS[type(request).__name__]
                    insert(signal_, taken(request, now * 10**9), os.urandom(16))

        yield inserter, put
    database.close()


_TAKERS = {
    "ExportTraceServiceRequest": ("traces", records.spans),
    "ExportLogsServiceRequest": ("logs", records.logs),
    "ExportMetricsServiceRequest": ("metrics", records.points),
}


def _log():
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=1)
    return request


def _points(*seconds, name="m", kind="gauge"):
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name=name)
    for second in seconds:
        getattr(metric, kind).data_points.add(time_unix_nano=int(second * 10**9), as_int=int(second))
    return request


def _totals(inserter):
    found = {
        name: inserter.connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
        for name in ("spans", "traces", "logs", "points")
    }
    assert {name: inserter.totals[name] for name in found} == found, "the totals are kept up"
    return found


def test_what_is_too_old_goes_with_all_that_only_it_needed(keeping):
    """By the time of its arrival: a record of long ago that came today stays."""
    inserter, put = keeping
    put(1000, spans(1, 2, trace=1, service="old", start=10**18), _log(), _points(5))
    put(2000, spans(1, trace=2, service="new", start=7))
    clock = [0.0]
    retention = Retention(inserter, Limits(1 << 40, 500), clock=lambda: clock[0])
    assert retention.keep(1400) is False
    clock[0] += MINUTE
    assert retention.keep(1501 + 700) is True
    assert _totals(inserter) == {"spans": 1, "traces": 1, "logs": 0, "points": 0}
    assert inserter.connection.execute("SELECT service FROM origins").fetchall() == [("new",)]
    for table in ("metrics", "series", "trace_origins"):
        [count] = inserter.connection.execute(f"SELECT count(*) FROM {table} WHERE 1").fetchone()
        assert count == (1 if table == "trace_origins" else 0)
    # numbers that were forgotten are given anew
    put(2300, spans(1, trace=3, service="old", start=7), _points(6))
    assert _totals(inserter) == {"spans": 2, "traces": 2, "logs": 0, "points": 1}
    assert inserter.connection.execute("SELECT count(*) FROM series").fetchone() == (1,)


def test_a_trace_that_still_grows_is_not_old(keeping):
    """It counts when its last span came."""
    inserter, put = keeping
    put(1000, spans(1, trace=1))
    put(1900, spans(2, trace=1))
    assert Retention(inserter, Limits(1 << 40, 500)).keep(2000) is False
    assert _totals(inserter)["spans"] == 2


def test_what_does_not_fit_goes_oldest_first(keeping):
    """Of all signals; the file does not grow past the size, however much comes."""
    inserter, put = keeping
    size = 3_000_000
    retention = Retention(inserter, Limits(size, 1e12))
    for number in range(1, 150):
        request = spans(*range(1, 51), trace=number)
        for span in request.resource_spans[0].scope_spans[0].spans:
            span.attributes.add(key="text").value.string_value = "x" * 1000
        put(number, request, _log(), _points(number))
        while retention.keep(number):
            pass
        assert retention._used() <= size
    totals = _totals(inserter)
    kept = {trace[0][-1] for trace in inserter.connection.execute("SELECT trace_id FROM traces")}
    assert 149 in kept
    assert 1 not in kept
    assert totals["spans"] == 50 * totals["traces"]
    assert 0 < totals["logs"] < 149
    assert 0 < totals["points"] < 149


def test_a_limit_below_the_empty_file_ends(keeping):
    """There is nothing more to remove then."""
    inserter, put = keeping
    put(1, spans(1), _log(), _points(1))
    Retention(inserter, Limits(1, 1e12)).keep(1)
    assert _totals(inserter) == {"spans": 0, "traces": 0, "logs": 0, "points": 0}


def test_a_clock_that_jumps_back_ends_nothing(keeping):
    """Records from the future are removed too where room is needed."""
    inserter, put = keeping
    put(10**6, spans(1), _log())
    Retention(inserter, Limits(1, 1e12)).keep(5)
    assert _totals(inserter)["spans"] == 0


def test_old_points_are_thinned_and_the_last_of_each_stretch_stays(keeping):
    """An hour at full resolution, a day by the minute, then by ten minutes: a series is bounded."""
    inserter, put = keeping
    now = 10 * DAY
    put(now, _points(*range(now - 2 * DAY, now, 15)))
    Retention(inserter, ENDLESS).keep(now)
    times = [time_ // 10**9 for (time_,) in inserter.connection.execute("SELECT time FROM points ORDER BY time")]
    ages = [now - time_ for time_ in times]
    assert sum(age <= HOUR for age in ages) == HOUR // 15
    assert sum(HOUR < age <= DAY for age in ages) == (DAY - HOUR) // MINUTE
    assert sum(age > DAY for age in ages) == DAY // (10 * MINUTE)
    assert times[0] % (10 * MINUTE) == 10 * MINUTE - 15, "a total is what it was at the end"
    _totals(inserter)


def test_deltas_are_not_thinned(keeping):
    """Each is a part of the total."""
    inserter, put = keeping
    request = _points(*range(15, HOUR + 15, 15), kind="sum")
    request.resource_metrics[0].scope_metrics[0].metrics[0].sum.aggregation_temporality = 1
    put(10 * DAY, request)
    Retention(inserter, ENDLESS).keep(10 * DAY)
    assert _totals(inserter)["points"] == HOUR // 15


def test_thinning_goes_on_where_it_stopped(keeping):
    """A later look takes what got old meanwhile."""
    inserter, put = keeping
    clock = [0.0]
    retention = Retention(inserter, ENDLESS, clock=lambda: clock[0])
    now = 10 * DAY
    put(now, _points(*range(now - HOUR, now, 15)))
    retention.keep(now)
    assert _totals(inserter)["points"] == HOUR // 15
    clock[0] += 30 * MINUTE
    retention.keep(now + 30 * MINUTE)
    assert _totals(inserter)["points"] == HOUR // 15 // 2 + 30


def test_a_request_that_cannot_be_written_costs_nobody_else(tmp_path):
    """A bug in one batch is its sender's 400; what waited beside it is kept."""
    store = Store(tmp_path, ENDLESS)
    good = records.spans(spans(1), 0)
    bad = records.Taken([(good.parts[0][0], [("too", "few")])], 0, "")
    with pytest.raises(UnfitError, match="ProgrammingError"):
        store.put("traces", bad, b"")
    store.put("traces", good, b"")
    assert store.totals()["spans"] == 1
    store.close()
