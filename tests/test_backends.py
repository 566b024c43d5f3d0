"""The clients: what they read from answers, and the one line that they say when there is none.

The answers are those of Prometheus 3.14, Loki 3.7, Jaeger 2.2 and Alertmanager 0.31; tests/stack/ asks the real ones.
"""

from __future__ import annotations

import gzip
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from answers import HANGS_UP, Says, answers
from sink import free_port

from otel_llmon.backends import Alertmanager, BackendError, Collector, Embedded, Jaeger, Loki, Prometheus, _http
from otel_llmon.errors import LlmonError

CLIENTS = (Prometheus, Loki, Jaeger, Alertmanager, Embedded)
QUESTIONS = {
    Prometheus: lambda client: client.query("up"),
    Loki: lambda client: client.lines('{a="b"}'),
    Jaeger: lambda client: client.services(),
    Alertmanager: lambda client: client.alerts(),
    Embedded: lambda client: client.traces(),
}


@pytest.fixture
def server():
    """A server that says what the test wants."""
    with answers() as running:
        yield running


@pytest.fixture
def certificate(tmp_path):
    """A certificate that its server has signed itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    request = f"req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -out {files[0]} -keyout {files[1]}"
    subprocess.run([openssl, *request.split()], check=True, capture_output=True)
    return files


def refusal(client):
    """Return what is said when this client's question fails."""
    with pytest.raises(BackendError) as caught:
        QUESTIONS[type(client)](client)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{client.name} at {client.url}: ")
    assert isinstance(caught.value, LlmonError)
    return message.removeprefix(f"{client.name} at {client.url}: ")


@contextmanager
def speaking(words):
    """Listen at a port and greet whoever comes with these bytes; give the address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet():
            with listening.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(words)

        threading.Thread(target=greet, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


# one error that says which server, where, and why


@pytest.mark.parametrize("client", CLIENTS)
def test_a_server_that_is_not_there_is_named_with_its_address(client):
    """Nothing listens: which server, at which address, and the question to ask oneself."""
    asked = client(f"http://127.0.0.1:{free_port()}")
    assert refusal(asked) == "connection refused; is it running there?"
    assert not asked.ready()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_server_that_keeps_silent_is_given_up(client, server):
    """Whoever accepts and never answers costs the timeout and no more."""
    server.elsewhere = server.never
    assert refusal(client(server.url, timeout=0.1)) == "no answer within 0.1 s"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_wants_credentials_says_where_to_put_them(client, server, status):
    """401 and 403 name the setting."""
    server.elsewhere = Says("no", status, "text/plain")
    assert refusal(client(server.url)).endswith("; give it credentials in OTEL_LLMON_BACKEND_HEADERS")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_server_that_fails_is_quoted(client, server):
    """5xx: the status, and what the server has to say, in one line."""
    server.elsewhere = Says("too many\noutstanding\trequests\n", 503, "text/plain")
    assert refusal(client(server.url)) == "503 service unavailable: too many outstanding requests"


@pytest.mark.parametrize("client", CLIENTS)
def test_another_servers_port_is_suspected(client, server):
    """What has no such path, answers no JSON, or JSON of another shape, is not the server that was meant."""
    assert refusal(client(server.url)) == "404 not found; is that another server's port?"
    server.elsewhere = Says("ready\n", 200, "text/plain")
    assert refusal(client(server.url)) == f"answers 'ready', which is not JSON; is that {client.name}?"
    server.elsewhere = Says("[[1]]" if client is not Alertmanager else {"a": 1})
    assert refusal(client(server.url)) == f"answers JSON of another shape; is that {client.name}, and not too old?"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_page_in_the_place_of_an_api_is_recognised(client, server):
    """Jaeger answers unknown paths with 200 and its page, and so do login pages."""
    server.elsewhere = Says("<!DOCTYPE html><title>UI</title>", 200, "text/html; charset=utf-8")
    assert refusal(client(server.url)) == f"answers with a page where {client.name} has its API; check the address"


def test_a_redirection_is_not_followed(server):
    """Credentials go to the address that was given and to no other."""
    server.elsewhere = Says("", 302, "text/plain", {"Location": "http://elsewhere.invalid/login"})
    assert refusal(Loki(server.url, headers={"Authorization": "x"})).startswith("302 found: it sends us elsewhere;")
    assert len(server.asked) == 1


def test_a_name_that_nobody_knows_is_said():
    """The resolver's answer in words."""
    assert refusal(Loki("http://no.such.host.invalid:3100")) == "no such host; check the name"


@pytest.mark.parametrize("address", ["localhost:9090", "http://", "http://host:99999"])
def test_what_is_no_address_is_said(address):
    """A URL was expected."""
    assert "expected a URL such as http://localhost:9090" in refusal(Prometheus(address))


def test_tls_to_a_plain_port_is_recognised(server):
    """https:// where http:// was meant."""
    secure = server.url.replace("http", "https")
    assert refusal(Prometheus(secure)) == "it speaks no TLS; use http:// instead of https://"


def test_a_plain_request_to_a_tls_port_is_recognised(server):
    """http:// where https:// was meant: servers in Go say so in a 400."""
    server.elsewhere = Says("Client sent an HTTP request to an HTTPS server.\n", 400, "text/plain")
    assert refusal(Prometheus(server.url)) == "it speaks TLS; use https:// instead of http://"


def test_a_certificate_that_nobody_trusts_is_said(certificate):
    """The reason, and the variable that names another CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with answers(context) as server:
        said = refusal(Prometheus(server.url))
    assert said.startswith("its certificate is not trusted (")
    assert said.endswith("); name its CA in SSL_CERT_FILE")


def test_a_server_that_hangs_up_is_asked_once_more(server):
    """A kept connection may be closed by the server just when we use it; a second refusal is final."""
    said = iter([HANGS_UP, Says({"services": ["shop"]})])
    server.at["/api/v3/services"] = lambda _: next(said)
    assert Jaeger(server.url).services() == ["shop"]
    server.at["/api/v3/services"] = HANGS_UP
    assert refusal(Jaeger(server.url)).startswith("it hangs up without an answer;")
    assert len(server.asked) == 4


def test_a_port_that_speaks_something_else_is_recognised():
    """A database greets in its own way."""
    with speaking(b"SSH-2.0-OpenSSH_9.2\r\n") as url:
        assert refusal(Loki(url)) == "it speaks no HTTP; is that another server's port?"


def test_an_answer_without_end_is_not_read_to_its_end(server, monkeypatch):
    """Neither a large answer nor a small one that unpacks to a large one fills the memory."""
    monkeypatch.setattr(_http, "LARGEST", 1 << 20)
    server.elsewhere = Says(b" " * (2 << 20))
    assert refusal(Loki(server.url)) == "answers more than 1 MiB; ask for less"
    server.elsewhere = Says(gzip.compress(b" " * (8 << 20)), headers={"Content-Encoding": "gzip"})
    assert refusal(Loki(server.url)) == "answers more than 1 MiB; ask for less"


def test_the_reason_is_kept_apart_for_programs(server):
    """What the message holds can be read one by one."""
    server.elsewhere = Says("no", 401, "text/plain")
    with pytest.raises(BackendError) as caught:
        Loki(server.url).labels()
    assert (caught.value.server, caught.value.address, caught.value.status) == ("Loki", server.url, 401)
    assert caught.value.reason.startswith("401 unauthorized")


# credentials


def test_headers_are_sent_with_every_question(server):
    """Authorization and a tenant reach the server."""
    server.elsewhere = Says({"status": "success", "data": ["a"]})
    Loki(server.url, headers={"Authorization": "Bearer x", "X-Scope-OrgID": "team"}).labels()
    assert server.asked[0].headers["Authorization"] == "Bearer x"
    assert server.asked[0].headers["X-Scope-OrgID"] == "team"


def test_a_password_in_the_address_is_used_and_not_shown(server):
    """It becomes basic authentication, and stays out of messages and of the object's own text."""
    client = Loki(server.url.replace("http://", "http://me:s%40cret@"))
    assert refusal(client)
    assert server.asked[0].headers["Authorization"] == "Basic bWU6c0BjcmV0"
    assert "cret" not in f"{client!r} {client.url}"
    assert client.url == server.url


def test_an_address_may_have_a_path(server):
    """Behind a proxy an API has a prefix, with or without a slash at its end."""
    server.at["/prefix/api/v3/services"] = {"services": ["b", "a"]}
    assert Jaeger(f"{server.url}/prefix/").services() == ["a", "b"]


# Prometheus


def prometheus(server, data, **more):
    """Return a client of a Prometheus that answers everything with `data`."""
    server.elsewhere = Says({"status": "success", "data": data, **more})
    return Prometheus(server.url)


def test_a_vector_is_series_with_one_point_each(server):
    """Labels, time and value; numbers as Prometheus spells them."""
    result = [{"metric": {"job": "a"}, "value": [5.5, "1"]}, {"metric": {"job": "b"}, "value": [5.5, "+Inf"]}]
    found = prometheus(server, {"resultType": "vector", "result": result}).query("up", at=5.5)
    assert [(series.labels, series.value) for series in found] == [({"job": "a"}, 1.0), ({"job": "b"}, float("inf"))]
    assert server.asked[0].query == {"query": ["up"], "time": ["5.5"]}
    with pytest.raises(ValueError, match="found 2 series, expected one"):
        found.value  # noqa: B018


def test_a_scalar_has_a_value_and_nothing_has_none(server):
    """`value` is for queries that have one answer."""
    assert prometheus(server, {"resultType": "scalar", "result": [1, "2.5"]}).query("2.5").value == 2.5
    assert prometheus(server, {"resultType": "vector", "result": []}).query("nothing").value is None


def test_native_histograms_are_kept(server):
    """Count, sum and buckets with what belongs to them, between numbers in the order of time."""
    histogram = {"count": "3", "sum": "0.7", "buckets": [[0, "0.5", "1", "2"], [3, "-0.1", "0.1", "1"]]}
    result = [{"metric": {}, "values": [[2, "1"]], "histograms": [[1, histogram]]}]
    client = prometheus(server, {"resultType": "matrix", "result": result})
    [series] = client.query_range("a", start=0, end=9, step=1)
    assert [point.time for point in series.points] == [1, 2]
    native = series.points[0].value
    assert (native.count, native.sum) == (3, 0.7)
    assert [(each.low, each.high, each.count, each.closed) for each in native.buckets] == [
        (0.5, 1, 2, "right"),
        (-0.1, 0.1, 1, "both"),
    ]


def test_what_prometheus_remarks_is_kept(server):
    """Warnings and infos come with the result."""
    client = prometheus(server, {"resultType": "vector", "result": []}, warnings=["w"], infos=["i"])
    assert (client.query("a").warnings, client.query("a").infos) == (("w",), ("i",))


def test_a_long_query_travels_in_the_body(server):
    """A URL has an end."""
    client = prometheus(server, {"resultType": "vector", "result": []})
    client.query("a" * 2001)
    assert (server.asked[0].method, server.asked[0].query) == ("POST", {})
    assert server.asked[0].body == f"query={'a' * 2001}"


def test_a_query_that_is_wrong_is_said_in_prometheus_words(server):
    """The parser knows best."""
    server.elsewhere = Says({"status": "error", "errorType": "bad_data", "error": "1:5: parse error"}, 400)
    assert refusal(Prometheus(server.url)) == "400 bad request: 1:5: parse error"


def test_exemplars_name_their_trace(server):
    """Value, time, ids and the series' labels, oldest first."""
    raw = [
        {"labels": {"trace_id": "b"}, "value": "2", "timestamp": 2.5},
        {"labels": {"trace_id": "a", "span_id": "s"}, "value": "1", "timestamp": 1},
    ]
    [first, second] = prometheus(server, [{"seriesLabels": {"le": "1"}, "exemplars": raw}]).exemplars("x")
    assert (first.trace_id, first.span_id, first.value, first.labels) == ("a", "s", 1.0, {"le": "1"})
    assert (second.time, second.span_id) == (2_500_000_000, None)


def test_labels_with_dots_can_be_asked_for(server):
    """Prometheus' own escape for names that are not plain."""
    prometheus(server, ["x"]).label_values("service.na_me", '{job="a"}', '{job="b"}')
    assert server.asked[0].path == "/api/v1/label/U__service_2e_na__me/values"
    assert server.asked[0].query == {"match[]": ['{job="a"}', '{job="b"}']}


def test_rules_alerts_targets_and_metadata_are_read(server):
    """What a server says about itself."""
    alert = {"labels": {"a": "b"}, "annotations": {}, "state": "firing", "activeAt": "t", "value": "3e+00"}
    rule = {"name": "r", "query": "up", "type": "alerting", "health": "err", "lastError": "e", "alerts": [alert]}
    [found] = prometheus(server, {"groups": [{"name": "g", "rules": [rule]}]}).rules()
    assert (found.group, found.name, found.kind, found.health, found.error) == ("g", "r", "alerting", "err", "e")
    assert found.alerts[0].value == 3
    assert prometheus(server, {"alerts": [alert]}).alerts()[0].state == "firing"
    raw = {"labels": {"job": "j"}, "scrapeUrl": "u", "health": "down", "lastError": "refused"}
    [target] = prometheus(server, {"activeTargets": [raw]}).targets()
    assert (target.job, target.health, target.error) == ("j", "down", "refused")
    metadata = prometheus(server, {"up": [{"type": "gauge", "unit": "", "help": "h"}], "empty": []}).metadata()
    assert {name: each.kind for name, each in metadata.items()} == {"up": "gauge"}
    assert prometheus(server, {"activeAlertmanagers": [{"url": "u"}]}).alertmanagers() == ["u"]
    assert prometheus(server, [{"job": "a"}]).series("up") == [{"job": "a"}]
    assert prometheus(server, {"web.enable-otlp-receiver": "true"}).flags() == {"web.enable-otlp-receiver": "true"}


# Loki


def lines(server, *values, labels=None):
    """Return what Loki's client makes of these values of one stream."""
    result = [{"stream": labels or {"service_name": "shop"}, "values": list(values)}]
    server.elsewhere = Says({"status": "success", "data": {"resultType": "streams", "result": result}})
    return Loki(server.url).lines("{}", start=1, end=2)


def test_lines_have_structured_metadata_beside_the_labels(server):
    """Ids, level and attributes come from there; the newest line first."""
    metadata = {"trace_id": "t", "span_id": "s", "severity_text": "WARN", "a": "b"}
    newest, oldest = lines(server, ["1", "first"], ["2", "second", {"structuredMetadata": metadata}])
    assert (newest.body, newest.time, newest.trace_id, newest.span_id) == ("second", 2, "t", "s")
    assert (newest.level, newest.service, newest.attributes) == ("WARN", "shop", metadata)
    assert newest.resource == {"service_name": "shop"}
    assert (oldest.body, oldest.trace_id, oldest.attributes) == ("first", None, {})
    assert server.asked[0].headers["X-Loki-Response-Encoding-Flags"] == "categorize-labels"
    assert (server.asked[0].query["start"], server.asked[0].query["end"]) == (["1000000000"], ["2000000000"])


def test_metadata_among_the_labels_is_found_too(server):
    """A Loki that does not keep them apart still says which trace it was."""
    [line] = lines(server, ["1", "a"], labels={"service_name": "shop", "trace_id": "t"})
    assert line.trace_id == "t"


def test_a_query_for_numbers_is_refused(server):
    """`lines` are lines."""
    server.elsewhere = Says({"status": "success", "data": {"resultType": "matrix", "result": []}})
    assert refusal(Loki(server.url)).startswith('{a="b"}: finds numbers, expected lines;')


# Jaeger


SPAN = {
    "traceId": "0af7651916cd43dd8448eb211c80319c",
    "spanId": "b7ad6b7169203331",
    "parentSpanId": "00f067aa0ba902b7",
    "name": "chat",
    "kind": 3,
    "startTimeUnixNano": "1000",
    "endTimeUnixNano": "2500000000",
    "status": {"code": 2, "message": "broken"},
    "attributes": [
        {"key": "i", "value": {"intValue": "7"}},
        {"key": "d", "value": {"doubleValue": 0.5}},
        {"key": "b", "value": {"boolValue": True}},
        {"key": "s", "value": {"stringValue": "x"}},
        {"key": "l", "value": {"arrayValue": {"values": [{"stringValue": "y"}, {"intValue": "1"}]}}},
        {"key": "m", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"intValue": "2"}}]}}},
        {"key": "e", "value": {}},
    ],
    "events": [{"name": "token", "timeUnixNano": "1500", "attributes": [{"key": "n", "value": {"intValue": "1"}}]}],
    "links": [{"traceId": "1af7651916cd43dd8448eb211c80319c", "spanId": "c7ad6b7169203331"}],
}
ROOT = {**SPAN, "spanId": "00f067aa0ba902b7", "parentSpanId": "", "startTimeUnixNano": "500", "name": "ask"}


def otlp(*spans):
    """Return spans as Jaeger's API wraps them."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    scopes = [{"scope": {"name": "lib"}, "spans": list(spans)}]
    return {"result": {"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}}


def test_a_trace_is_read_from_otlps_json(server):
    """Every field of a span, whatever its type; spans in start order."""
    server.elsewhere = otlp(SPAN, ROOT)
    trace = Jaeger(server.url).trace(SPAN["traceId"])
    assert [span.name for span in trace.spans] == ["ask", "chat"]
    assert trace.root.name == "ask"
    [span] = trace.named("chat")
    assert (span.kind, span.status, span.message, span.service, span.scope) == (
        "client",
        "error",
        "broken",
        "shop",
        "lib",
    )
    assert (span.parent_id, trace.root.parent_id) == ("00f067aa0ba902b7", None)
    assert span.seconds == pytest.approx(2.499999)
    assert span.attributes == {"i": 7, "d": 0.5, "b": True, "s": "x", "l": ["y", 1], "m": {"k": 2}, "e": None}
    assert (span.events[0].name, span.events[0].time, span.events[0].attributes) == ("token", 1500, {"n": 1})
    assert span.links[0].span_id == "c7ad6b7169203331"


def test_enums_may_be_names_and_ids_base64(server):
    """Protobuf's own JSON, which a later Jaeger may speak."""
    other = {
        "traceId": "CvdlGRbNQ92ESOshHIAxnA==",
        "spanId": "t61rcWkgMzE=",
        "kind": "SPAN_KIND_CLIENT",
        "status": {"code": "STATUS_CODE_ERROR"},
    }
    server.elsewhere = otlp(SPAN | other)
    [span] = Jaeger(server.url).trace("a").spans
    assert (span.trace_id, span.span_id, span.kind, span.status) == (
        SPAN["traceId"],
        SPAN["spanId"],
        "client",
        "error",
    )


def test_a_trace_that_is_not_there_is_none(server):
    """404 from the API is an answer; 404 from another server is not."""
    server.elsewhere = Says({"error": {"httpCode": 404, "message": "No traces found"}}, 404, "text/plain")
    assert Jaeger(server.url).trace("0" * 32) is None
    assert Jaeger(server.url).find("shop", start=0, end=1) == []
    server.elsewhere = Says("404 page not found", 404, "text/plain")
    with pytest.raises(BackendError, match="another server's port"):
        Jaeger(server.url).trace("0" * 32)


def test_traces_are_asked_for_in_both_spellings(server):
    """Jaeger 2.2 knows underscores only, later ones want capitals; each takes what it knows."""
    server.elsewhere = otlp(SPAN, ROOT, ROOT | {"traceId": "1" * 32, "startTimeUnixNano": "900"})
    found = Jaeger(server.url).find("shop", start=0, end=1.5, min_seconds=0.25, limit=7)
    assert [trace.trace_id for trace in found] == ["1" * 32, SPAN["traceId"]]
    query = server.asked[0].query
    for name, other, value in (
        ("service_name", "serviceName", "shop"),
        ("start_time_min", "startTimeMin", "1970-01-01T00:00:00Z"),
        ("start_time_max", "startTimeMax", "1970-01-01T00:00:01.500000Z"),
        ("duration_min", "durationMin", "0.250000000s"),
        ("search_depth", "searchDepth", "7"),
    ):
        assert query[f"query.{name}"] == query[f"query.{other}"] == [value]
    assert "query.duration_max" not in query


def test_jaegers_version_is_read_from_its_page(server):
    """There is no other place; a page without it has none."""
    server.at["/"] = Says('<script>JAEGER_VERSION = {"gitCommit":"","gitVersion":"v2.2.0"};', 200, "text/html")
    assert Jaeger(server.url).version() == "2.2.0"
    server.at["/"] = Says("<title>Jaeger UI</title>", 200, "text/html")
    assert Jaeger(server.url).version() is None


# Alertmanager and the Collector


def test_alerts_and_silences_are_read(server):
    """States, times and receivers; matchers as one writes them."""
    server.at["/api/v2/alerts"] = [
        {
            "labels": {"alertname": "Slow"},
            "annotations": {},
            "status": {"state": "suppressed", "silencedBy": ["s1"]},
            "startsAt": "2026-11-21T17:22:49.396Z",
            "endsAt": "2026-11-21T17:26:49.396Z",
            "receivers": [{"name": "webhook"}],
        }
    ]
    [alert] = Alertmanager(server.url).alerts('severity="page"')
    assert (alert.name, alert.state, alert.receivers, alert.silenced_by) == (
        "Slow",
        "suppressed",
        ("webhook",),
        ("s1",),
    )
    assert alert.started == datetime(2026, 11, 21, 17, 22, 49, 396000, UTC)
    assert server.asked[0].query == {"filter": ['severity="page"']}
    matcher = {"name": "a", "value": "b", "isRegex": False}
    server.at["/api/v2/silences"] = [
        {
            "id": "s1",
            "status": {"state": "active"},
            "matchers": [matcher, matcher | {"isRegex": True, "isEqual": False}],
            "startsAt": "2026-11-21T17:22:49Z",
            "endsAt": "2026-11-21T18:22:49Z",
        }
    ]
    [silence] = Alertmanager(server.url).silences()
    assert silence.matchers == ('a="b"', 'a!~"b"')
    assert (silence.id, silence.state, silence.comment) == ("s1", "active", "")


def test_the_collectors_metrics_are_read(server):
    """Names, labels with their escapes, values; comments and what is no number are passed over."""
    server.at["/metrics"] = Says(
        "# HELP otelcol_x X\notelcol_x 1.5e+06\n"
        'otelcol_y{exporter="otlp_http/loki",why="a \\"b\\" \\\\ c\\nd"} 2\n'
        'target_info{service_name="otelcol",service_version="0.159.0"} 1\notelcol_z NaNa\n',
        200,
        "text/plain",
    )
    collector = Collector("http://127.0.0.1:1", server.url)
    first, second, _ = collector.metrics()
    assert (first.name, first.value) == ("otelcol_x", 1_500_000)
    assert second.labels == {"exporter": "otlp_http/loki", "why": 'a "b" \\ c\nd'}
    assert collector.version() == "0.159.0"
    assert not collector.ready()


def test_another_servers_metrics_are_not_the_collectors(server):
    """A port that serves metrics is not yet a Collector."""
    server.at["/metrics"] = Says("go_goroutines 7\n", 200, "text/plain")
    with pytest.raises(BackendError, match="serves no metrics of a Collector"):
        Collector(server.url, server.url).metrics()
