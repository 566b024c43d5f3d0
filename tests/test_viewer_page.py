"""What the viewer answers: lists, traces, logs, metrics, changes, and the page's files."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import urllib.request

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from otlp import ask, get, post, spans

from otel_llmon.viewer import app, queries

DELTA, CUMULATIVE = 1, 2


def _send(viewer, *requests, signal="traces"):
    for request in requests:
        assert post(f"{viewer.otlp_url}/v1/{signal}", request.SerializeToString()).status == 200


def _ids(found):
    return [int(trace["trace_id"], 16) for trace in found["traces"]]


@pytest.fixture
def shop(viewer):
    """Five traces: of two services, one with an error, one slow, one whose root is missing."""
    slow = spans(1, 2, trace=3, start=3000)
    slow.resource_spans[0].scope_spans[0].spans[1].end_time_unix_nano = 10**9
    failed = spans(1, 2, trace=2, start=2000)
    failed.resource_spans[0].scope_spans[0].spans[1].status.code = 2
    orphans = spans(7, 8, trace=5, start=5000)
    del orphans.resource_spans[0].scope_spans[0].spans[0]
    found = spans(1, trace=4, start=4000, service="Till")
    pair = found.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="order")
    pair.value.kvlist_value.values.add(key="note").value.string_value = "Größe 47, 100% blue"
    _send(viewer, spans(1, trace=1, start=1000), failed, slow, found, orphans)
    _send(viewer, spans(9, trace=4, start=4500, service="stock"))
    return viewer


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ("", [5, 4, 3, 2, 1]),
        ("limit=2", [5, 4]),
        ("status=error", [2]),
        ("min_duration=1000000", [3]),
        ("service=Till", [4]),
        ("service=stock", [4]),
        ("service=nobody", []),
        ("since=3000", [5, 4, 3]),
        ("since=2000&before=4000", [3, 2]),
        ("search=till", [4]),
        ("search=STOCK", [4]),
        ("search=span+2", [3, 2]),
        ("search=gr%C3%B6%C3%9Fe", [4]),
        ("search=GR%C3%96%C3%9FE+47", [4]),
        ("search=100%25+blue", [4]),
        ("search=1%25+b", []),
        ("search=nothing+like+it", []),
        (f"search={4:032x}", [4]),
        (f"search={4:032X}&service=shop", []),
        ("search=span&status=error&service=shop", [2]),
    ],
)
def test_traces_are_found_newest_first(shop, wishes, expected):
    """By service, status, duration, time, id, and by text in names, services and values."""
    assert _ids(ask(shop, f"/api/traces?{wishes}")) == expected


def test_a_trace_is_named_after_its_root(shop):
    """And after its first span while the root is missing, which makes it incomplete."""
    by_id = {trace["trace_id"]: trace for trace in ask(shop, "/api/traces")["traces"]}
    orphan, whole = by_id[f"{5:032x}"], by_id[f"{3:032x}"]
    assert (orphan["root"], orphan["complete"], orphan["spans"]) == ("span 8", False, 1)
    assert (whole["root"], whole["complete"], whole["duration"]) == ("span 1", True, 10**9 - 3001)
    assert (whole["start"], whole["service"], whole["errors"]) == ("3001", "shop", 0)
    _send(shop, spans(7, trace=5, start=5000))
    assert (ask(shop, "/api/traces?limit=1")["traces"][0]["root"]) == "span 7"


def test_pages_follow_each_other_without_gap_or_overlap(viewer):
    """Many at the same nanosecond, too: the cursor tells them apart."""
    _send(viewer, *(spans(1, trace=number, start=number // 8) for number in range(1, 40)))
    seen, cursor = [], ""
    while cursor is not None:
        found = ask(viewer, f"/api/traces?limit=7&before={cursor}")
        seen += _ids(found)
        cursor = found["next"]
    assert seen == list(range(39, 0, -1))


def test_a_search_that_takes_too_long_says_where_to_go_on(viewer, monkeypatch):
    """It ends after a while with what it has, and `next` leads through all the rest."""
    _send(viewer, *(spans(1, trace=number, start=number) for number in range(1, 8)))
    monkeypatch.setattr(queries, "PATIENCE", -1)
    seen, cursor, pages = [], "", 0
    while cursor is not None and pages < 50:
        found = ask(viewer, f"/api/traces?search=span&before={cursor}")
        seen, cursor, pages = seen + _ids(found), found["next"], pages + 1
    assert seen == list(range(7, 0, -1))
    assert pages > 3


def test_a_number_is_found_where_a_value_has_it(viewer):
    """Numbers are not text in protobuf, and people look for them all the same."""
    request = spans(1, trace=1)
    request.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="n").value.int_value = 421_337
    _send(viewer, request, spans(1, trace=2))
    assert _ids(ask(viewer, "/api/traces?search=421337")) == [1]
    assert _ids(ask(viewer, "/api/traces?search=421338")) == []


def test_a_list_of_traces_reads_no_bodies(viewer):
    """Whoever lists loads no prompt; SQLite itself tells which columns a question reads."""
    _send(viewer, spans(1, 2, trace=1), spans(1, trace=2))
    for search, expected in (("", set()), ("nothing like it", {"body", "trace_id"})):
        with viewer._store.database.reader() as connection:
            read = set()
            connection.set_authorizer(
                lambda _, table, column, *__, to=read: to.add((table, column)) or sqlite3.SQLITE_OK
            )
            queries.traces(connection, queries.Page(50), service="shop", errors=False, longest=1, search=search)
            connection.set_authorizer(None)
        assert {column for table, column in read if table == "spans"} == expected
    viewer._store._connection.execute("UPDATE spans SET body = x'ff'")
    assert _ids(ask(viewer, "/api/traces")) == [2, 1]
    assert get(f"{viewer.page_url}/api/traces/{1:032x}").status == 500


def _record(request, text, time, severity=9, trace=0):
    scope = request.resource_logs.add().scope_logs.add()
    record = scope.log_records.add(time_unix_nano=time, severity_number=severity)
    record.body.string_value = text
    if trace:
        record.trace_id = trace.to_bytes(16, "big")


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ("", ["late", "failed", "early"]),
        ("limit=1", ["late"]),
        ("severity=17", ["failed"]),
        (f"trace_id={1:032x}", ["failed", "early"]),
        ("search=AIL", ["failed"]),
        ("since=200&before=300", ["failed"]),
        ("service=unknown_service&severity=9", ["late", "failed", "early"]),
        ("service=shop", []),
    ],
)
def test_logs_are_found_newest_first(viewer, wishes, expected):
    """By trace, severity, service, text and time."""
    request = ExportLogsServiceRequest()
    _record(request, "early", 100, trace=1)
    _record(request, "late", 300)
    _record(request, "failed", 200, severity=17, trace=1)
    _send(viewer, request, signal="logs")
    assert [record["body"] for record in ask(viewer, f"/api/logs?{wishes}")["logs"]] == expected


def test_pages_of_logs_follow_each_other(viewer):
    """At the same nanosecond, the one that came last is first."""
    request = ExportLogsServiceRequest()
    for number in range(20):
        _record(request, f"{number}", 100 + number // 6)
    _send(viewer, request, signal="logs")
    seen, cursor = [], ""
    while cursor is not None:
        found = ask(viewer, f"/api/logs?limit=3&before={cursor}")
        seen += [int(record["body"]) for record in found["logs"]]
        cursor = found["next"]
    assert seen == list(range(19, -1, -1))


def _metric(name, kind, points, temporality=CUMULATIVE, service="shop", **more):
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    data = getattr(resource.scope_metrics.add().metrics.add(name=name, unit="s", description="What."), kind)
    if kind != "gauge":
        data.aggregation_temporality = temporality
    for name_, value in more.items():
        setattr(data, name_, value)
    for point in points:
        data.data_points.add(**point)
    return request


def test_metrics_are_listed_with_their_kinds_and_services(viewer):
    """One line per metric, whatever number of series and services it has."""
    point = {"time_unix_nano": 5, "as_int": 1}
    for service in ("a", "b"):
        _send(viewer, _metric("m", "sum", [point], service=service, is_monotonic=True), signal="metrics")
    _send(viewer, _metric("g/x", "gauge", [point | {"time_unix_nano": 9}]), signal="metrics")
    told = {"unit": "s", "description": "What."}
    assert ask(viewer, "/api/metrics")["metrics"] == [
        told | {"name": "g/x", "kind": "gauge", "services": ["shop"], "series": 1, "last": "9"},
        told | {"name": "m", "kind": "counter", "services": ["a", "b"], "series": 2, "last": "5"},
    ]
    assert ask(viewer, "/api/metrics/g%2Fx")["series"][0]["points"] == [{"time": "9", "value": 1}]
    assert [series["service"] for series in ask(viewer, "/api/metrics/m?service=b")["series"]] == ["b"]
    assert ask(viewer, "/api/metrics/m?since=6")["series"] == []
    assert get(f"{viewer.page_url}/api/metrics/none").status == 404


def test_deltas_are_shown_as_totals(viewer):
    """A client makes rates of totals; what was sent as differences is added up, buckets too."""
    points = [{"time_unix_nano": number, "as_int": number} for number in (1, 2, 3)]
    _send(viewer, _metric("d", "sum", points, DELTA, is_monotonic=True), signal="metrics")
    buckets = [
        {"time_unix_nano": n, "count": n, "sum": n, "explicit_bounds": [1.0], "bucket_counts": [n, 0]} for n in (1, 2)
    ]
    _send(viewer, _metric("h", "histogram", buckets, DELTA), signal="metrics")
    [series] = ask(viewer, "/api/metrics/d")["series"]
    assert [point["value"] for point in series["points"]] == [1, 3, 6]
    [series] = ask(viewer, "/api/metrics/h")["series"]
    assert [(point["count"], point["sum"], point["buckets"]) for point in series["points"]] == [
        (1, 1.0, [1, 0]),
        (3, 3.0, [3, 0]),
    ]


def test_attributes_in_another_order_are_the_same_series(viewer):
    """An SDK may send them as they come."""
    for time, order in ((1, "ab"), (2, "ba")):
        request = _metric("m", "gauge", [{"time_unix_nano": time, "as_int": 1}])
        point = request.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0]
        for key in order:
            point.attributes.add(key=key).value.string_value = key
        _send(viewer, request, signal="metrics")
    [series] = ask(viewer, "/api/metrics/m")["series"]
    assert len(series["points"]) == 2


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/api/traces/{99:032x}", 404),
        ("/api/traces/zz", 400),
        ("/api/traces?limit=many", 400),
        ("/api/traces?before=never", 400),
        ("/api/logs?before=1-ff", 400),
        ("/api/logs?severity=-1", 400),
        ("/api/logs?trace_id=x", 400),
        ("/api/nothing", 404),
        ("/api/services/x", 404),
        ("/api/", 404),
        ("/favicon.ico", 404),
        ("/static/none.js", 404),
        ("/api/traces?" + "a=1&" * 200, 400),
    ],
)
def test_a_mistake_is_told_in_json(viewer, path, status):
    """With a status and words."""
    said = get(viewer.page_url + path)
    assert said.status == status
    assert said.json["error"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_the_page_only_reads(viewer, method):
    """Nothing can be changed through its port."""
    said = get(f"{viewer.page_url}/api/traces", method=method)
    assert (said.status, said.headers["Allow"]) == (405, "GET, HEAD")


def test_every_answer_forbids_what_a_page_does_not_need(viewer):
    """No foreign script, frame or type; no reading from elsewhere."""
    for path in ("/", "/api/status", "/nothing", "/healthz"):
        headers = get(viewer.page_url + path).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert not [name for name in headers if name.lower().startswith("access-control")]


def test_the_pages_files_are_served_with_their_types(viewer, tmp_path, monkeypatch):
    """The page for each of its views, a file by its name, and nothing again that a browser has."""
    for name, text in (("index.html", "<p>hi"), ("app.js", "1"), ("style.css", "a{}"), ("a.svg", "<svg/>")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(app, "STATIC", tmp_path)
    for view in ("/", "/traces", f"/trace/{1:032x}", "/logs", "/metrics", "/metrics/a%2Fb"):
        said = get(viewer.page_url + view)
        assert (said.status, said.headers["Content-Type"], said.body) == (200, "text/html; charset=utf-8", b"<p>hi")
    types = {"app.js": "text/javascript", "style.css": "text/css", "a.svg": "image/svg+xml"}
    for name, kind in types.items():
        assert get(f"{viewer.page_url}/static/{name}").headers["Content-Type"] == f"{kind}; charset=utf-8"
    tag = get(f"{viewer.page_url}/static/app.js").headers["ETag"]
    assert get(f"{viewer.page_url}/static/app.js", {"If-None-Match": tag}).status == 304
    said = get(f"{viewer.page_url}/static/app.js", method="HEAD")
    assert (said.status, said.headers["Content-Length"], said.body) == (200, "1", b"")


def test_the_shipped_page_asks_nobody_else(viewer):
    """Every file that it names is there."""
    page = get(f"{viewer.page_url}/").body.decode()
    named = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert named
    for path in named:
        assert path.startswith("/"), path
        assert get(viewer.page_url + path).status == 200, path


def test_changes_are_told_as_they_come(viewer):
    """Totals at once, and again after each commit."""
    with urllib.request.urlopen(f"{viewer.page_url}/api/live", timeout=10) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        lines = (line for line in answer if line.startswith(b"data:"))
        assert json.loads(next(lines)[5:]) == {"spans": 0, "logs": 0, "points": 0}
        _send(viewer, spans(1, 2))
        assert json.loads(next(lines)[5:]) == {"spans": 2, "logs": 0, "points": 0}


def test_a_quiet_stream_says_that_it_lives(viewer, monkeypatch):
    """Comments keep proxies and browsers from giving it up."""
    monkeypatch.setattr(app, "HEARTBEAT", 0.05)
    with urllib.request.urlopen(f"{viewer.page_url}/api/live", timeout=10) as answer:
        assert next(line for line in answer if line.startswith(b":"))


def test_questions_and_batches_do_not_wait_for_each_other(viewer):
    """Readers beside a writer: every answer is whole, and in the end all is there."""
    stop = threading.Event()
    wrong = []

    def read():
        while not stop.is_set():
            found = ask(viewer, "/api/traces")["traces"]
            wrong.extend(trace for trace in found if trace["spans"] != 20 or not trace["complete"])

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 60):
        _send(viewer, spans(*range(1, 21), trace=number))
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert ask(viewer, "/api/status")["spans"] == 59 * 20
