"""doctor: what it finds in the viewer, and which hop it names when something is in the way."""

from __future__ import annotations

import json
import ssl
import threading
import time

import pytest
from answers import HANGS_UP, Says, answers
from serving import certificate
from sink import free_port

from otel_llmon import cli
from otel_llmon.backends import BackendError, Embedded
from otel_llmon.backends.collector import Sample
from otel_llmon.backends.records import Exemplar, Log
from otel_llmon.doctor import choose, examine
from otel_llmon.doctor.asking import Limit, Met, search, search_all, skew_of, together
from otel_llmon.doctor.ledger import Ledger, kept, missing
from otel_llmon.doctor.plan import plan
from otel_llmon.doctor.sending import Sent
from otel_llmon.doctor.stack import of_exemplars, of_log
from otel_llmon.doctor.verdict import of_clocks, of_version
from otel_llmon.errors import SettingsError
from otel_llmon.settings import Settings
from otel_llmon.viewer import Viewer

NOWHERE = {f"OTEL_LLMON_{name}_URL": "http://127.0.0.1:1" for name in ("PROMETHEUS", "JAEGER", "LOKI", "ALERTMANAGER")}
NOWHERE |= {f"OTEL_LLMON_COLLECTOR_{name}_URL": "http://127.0.0.1:1" for name in ("HEALTH", "METRICS")}
NOWHERE |= {"OTEL_LLMON_VIEWER_URL": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    """The real viewer, on free ports."""
    with Viewer(tmp_path_factory.mktemp("viewer"), ("127.0.0.1", 0), ("127.0.0.1", 0)) as running:
        yield running


@pytest.fixture
def here(viewer):
    """The environment of somebody who sends to the viewer."""
    return NOWHERE | {"OTEL_LLMON_VIEWER_URL": viewer.page_url, "OTEL_EXPORTER_OTLP_ENDPOINT": viewer.otlp_url}


@pytest.fixture
def server():
    """A server that says what the test wants."""
    with answers() as running:
        yield running


def states(report):
    """Return the state of each check by its name."""
    return {check.name: check.state for check in report.checks}


def said(report, name):
    """Return what the last check of this name says, advice included."""
    [*_, check] = [check for check in report.checks if check.name == name]
    return f"{check.found}; {check.advice}" if check.advice else check.found


# with the real viewer


def test_all_three_arrive_in_the_viewer_and_lead_to_one_another(here):
    """The viewer that listens is found, and everything with it."""
    report = examine(here)
    assert report.ok
    assert (report.way, report.because.split(" receives")[0]) == (
        "embedded",
        f"the viewer at {here['OTEL_LLMON_VIEWER_URL']}",
    )
    assert states(report) == dict.fromkeys(
        (
            "versions",
            "viewer",
            "clocks",
            "endpoint",
            "trace",
            "metric",
            "log",
            "exemplar -> trace",
            "trace -> log",
        ),
        "ok",
    )
    client = Embedded(here["OTEL_LLMON_VIEWER_URL"])
    trace = client.trace(report.trace_id)
    assert [span.name for span in trace.spans] == [report.mark]
    assert trace.spans[0].attributes["llmon.keep"] is True
    assert client.logs(trace_id=report.trace_id)[0].body == report.mark


def test_the_viewers_client_reads_all_that_the_viewer_tells(here):
    """Lists, one of each, and what is not there."""
    mark = examine(here).mark
    client = Embedded(here["OTEL_LLMON_VIEWER_URL"])
    assert client.ready()
    assert client.services() == ["llmon-doctor"]
    assert client.status().spans >= 1
    [summary] = client.traces(search=mark)
    assert (summary.root, summary.service, summary.spans, summary.complete) == (mark, "llmon-doctor", 1, True)
    assert client.traces(service="nobody") == client.traces(errors=True) == client.traces(min_seconds=3600) == []
    assert client.trace("0" * 32) is None
    assert client.logs(search=mark)[0].level == "INFO"
    assert client.logs(severity=17) == []
    [metric] = [each for each in client.metrics() if each.name == "llmon.phase.duration"]
    assert (metric.kind, metric.unit, metric.services) == ("histogram", "s", ("llmon-doctor",))
    [series] = [each for each in client.series(metric.name) if each.attributes["llmon.phase"] == mark]
    assert series.points[-1].count == sum(series.points[-1].buckets) == 1
    assert client.series("no.such.metric") == []


def test_grpc_to_a_port_that_speaks_http_is_named(here):
    """The exporters that a program would use are used: by gRPC where it says so."""
    report = examine(here | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert "no answer by gRPC" in said(report, "endpoint")
    assert "is that a port for gRPC" in said(report, "endpoint")
    assert not report.ok


def test_what_is_switched_off_is_said_and_the_rest_is_sent(here):
    """Each signal stands for itself."""
    report = examine(here | {"OTEL_LOGS_EXPORTER": "none"})
    assert said(report, "log") == "program: OTEL_LOGS_EXPORTER=none: programs send no logs over OTLP; unset it"
    assert (states(report)["trace"], states(report)["metric"], states(report)["exemplar -> trace"]) == ("ok",) * 3
    assert not report.ok


@pytest.mark.parametrize(
    ("variable", "value", "thing", "reason"),
    [
        ("OTEL_TRACES_SAMPLER", "always_off", "trace", "program: OTEL_TRACES_SAMPLER=always_off"),
        ("OTEL_LLMON_LEVEL", "basic", "trace", "program: the level is basic: phases make no spans"),
        ("OTEL_METRICS_EXPORTER", "console", "metric", "program: OTEL_METRICS_EXPORTER=console"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "always_off", "exemplar -> trace", "OTEL_METRICS_EXEMPLAR_FILTER=always_off"),
        ("OTEL_SDK_DISABLED", "true", "log", "program: OTEL_SDK_DISABLED=true: programs send nothing; unset it"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "log", "program: nothing was sent: OpenTelemetry takes no such"),
    ],
)
def test_an_unusual_environment_is_named(here, variable, value, thing, reason):
    """A program with this environment would not send it: which variable it is comes first."""
    report = examine(here | {variable: value})
    assert said(report, thing).startswith(reason)
    assert not report.ok


@pytest.mark.parametrize(
    "unusual",
    [
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.000001"},
        {"OTEL_SERVICE_NAME": "shop", "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,service.namespace=team"},
        {"OTEL_LLMON_HISTOGRAMS": "exponential"},
        {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"},
        {"OTEL_TRACES_EXPORTER": "otlp,console", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"},
        {"OTEL_EXPORTER_OTLP_TIMEOUT": "forever", "OTEL_BSP_SCHEDULE_DELAY": "3600000"},
    ],
)
def test_an_environment_in_which_programs_do_send_is_no_obstacle(here, unusual):
    """Sampling, names, resources and formats of one's own."""
    assert examine(here | unusual).ok


def test_the_viewer_is_not_taken_for_the_way_when_programs_send_elsewhere(here, server):
    """A viewer that runs is not enough: it must be where the endpoint leads."""
    report = examine(here | {"OTEL_EXPORTER_OTLP_ENDPOINT": server.url}, wait=0)
    assert report.way == "stack"
    assert f"but programs send to {server.url}" in report.because


def test_a_viewer_that_is_asked_for_and_is_not_the_one_is_named(here, server):
    """The data went elsewhere."""
    server.elsewhere = Says(b"", 200, "application/x-protobuf")
    report = examine(here | {"OTEL_EXPORTER_OTLP_ENDPOINT": server.url}, way="embedded", wait=0)
    assert said(report, "trace").startswith("program -> viewer: the trace did not arrive within 0 s;")
    assert states(report)["endpoint"] == "ok"


# endpoints that take nothing


def test_an_endpoint_where_nothing_listens_is_named_with_the_ways_to_start_one():
    """The newcomer's first case."""
    endpoint = f"http://127.0.0.1:{free_port()}"
    report = examine(NOWHERE | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
    assert said(report, "endpoint").startswith(f"{endpoint}: nothing listens there; start one: `llmon view`, or")
    assert said(report, "log") == f"program -> {endpoint}: the log was not taken"
    assert said(report, "Loki") == "connection refused at http://127.0.0.1:1; is it running there?"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Says("404 page not found", 404, "text/plain"), "404: what listens there takes no OTLP;"),
        (Says("no", 401, "text/plain"), "401: it wants credentials; set OTEL_EXPORTER_OTLP_HEADERS"),
        (Says("overloaded", 503, "text/plain"), "503 service unavailable: overloaded"),
        (HANGS_UP, "it hangs up without an answer;"),
    ],
)
def test_an_endpoint_that_takes_nothing_is_named_with_the_reason(server, answer, reason):
    """Another server's port, credentials, trouble of its own, or no HTTP at all."""
    server.elsewhere = answer
    report = examine(NOWHERE | {"OTEL_EXPORTER_OTLP_ENDPOINT": server.url})
    assert said(report, "endpoint").startswith(f"{server.url}: {reason}")
    assert said(report, "trace") == f"program -> {server.url}: the trace was not taken"


@pytest.mark.parametrize("kind", ["text/plain", ""])
def test_another_server_that_says_yes_to_everything_is_no_endpoint(server, kind):
    """Its 200 is no acknowledgement: what it says is not OTLP."""
    server.elsewhere = Says("<html>hello", 200, kind)
    report = examine(NOWHERE | {"OTEL_EXPORTER_OTLP_ENDPOINT": server.url})
    assert not report.ok
    found = f"answers OTLP with {kind or 'something without a type'}: another server has the port"
    assert found in said(report, "endpoint")


def test_an_endpoint_that_never_answers_is_given_up(server):
    """A bound holds whatever listens."""
    server.elsewhere = server.never
    report = examine(NOWHERE | {"OTEL_EXPORTER_OTLP_ENDPOINT": server.url})
    assert said(report, "endpoint") == f"{server.url}: no answer within 2.5 s"
    assert report.seconds < 20


def test_tls_to_a_plain_endpoint_is_named(server):
    """https:// where http:// was meant."""
    endpoint = server.url.replace("http", "https")
    report = examine(NOWHERE | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
    assert said(report, "endpoint") == f"{endpoint}: it speaks no TLS; use http:// instead of https://"


@pytest.mark.parametrize("trusted", ["", "SSL_CERT_FILE", "OTEL_EXPORTER_OTLP_CERTIFICATE", "REQUESTS_CA_BUNDLE"])
def test_the_ca_of_an_endpoint_is_named_where_exporters_look_for_it(tmp_path, monkeypatch, trusted):
    """They do not read the variable that OpenSSL, and with it whoever asks the servers, goes by."""
    file = str(certificate(tmp_path, names="IP:127.0.0.1"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    if trusted == "SSL_CERT_FILE":
        monkeypatch.setenv(trusted, file)
    with answers(context) as server:
        server.elsewhere = Says(b"", 200, "application/x-protobuf")
        given = {"OTEL_EXPORTER_OTLP_ENDPOINT": server.url} | ({trusted: file} if trusted else {})
        found = said(examine(NOWHERE | given, wait=0), "endpoint")
    if trusted in {"OTEL_EXPORTER_OTLP_CERTIFICATE", "REQUESTS_CA_BUNDLE"}:
        assert found == f"{server.url} takes http/protobuf"
    else:
        assert found.startswith(f"{server.url}: its certificate is not trusted (")
        assert "; name its CA in OTEL_EXPORTER_OTLP_CERTIFICATE" in found


def test_an_endpoint_gets_the_credentials_that_programs_send(server):
    """The first question is asked as a program would."""
    server.elsewhere = lambda asked: Says(b"", 200 if asked.headers.get("Api-Key") == "k y" else 401, "text/plain")
    sends = {"OTEL_EXPORTER_OTLP_ENDPOINT": server.url, "OTEL_EXPORTER_OTLP_HEADERS": "api-key=k%20y"}
    assert said(examine(NOWHERE | sends, wait=0), "endpoint") == f"{server.url} takes http/protobuf"


def test_the_servers_get_the_headers_that_are_set_for_them(server):
    """And nobody else: what is sent over OTLP has headers of its own."""
    address = {f"OTEL_LLMON_{name}_URL": server.url for name in ("PROMETHEUS", "JAEGER", "LOKI", "ALERTMANAGER")}
    headers = {"OTEL_LLMON_BACKEND_HEADERS": "Authorization=Bearer topsecret"}
    with answers() as otlp:
        report = examine(NOWHERE | address | headers | {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url}, wait=0)
        assert not any("Authorization" in asked.headers for asked in otlp.asked)
    assert {asked.headers["Authorization"] for asked in server.asked} == {"Bearer topsecret"}
    assert "topsecret" not in repr(report)


def test_a_wrong_setting_of_ours_is_an_error():
    """The command prints it in one line."""
    with pytest.raises(SettingsError, match="OTEL_LLMON_LEVEL='loud'"):
        examine({"OTEL_LLMON_LEVEL": "loud"})


# the plan, from the environment alone


def planned(**environ):
    """Return the plan of a program with this environment."""
    return plan(Settings.load(environ), environ)


def test_each_signal_goes_where_its_own_variable_says():
    """Signal over general, environment over setting, and upstream's defaults."""
    assert set(planned().endpoints.values()) == {"http://localhost:4318"}
    assert set(planned(OTEL_EXPORTER_OTLP_PROTOCOL="grpc").endpoints.values()) == {"http://localhost:4317"}
    ours = planned(OTEL_LLMON_ENDPOINT="http://a:1", OTEL_EXPORTER_OTLP_LOGS_ENDPOINT="http://b:2/x/v1/logs")
    assert ours.endpoints == {"traces": "http://a:1", "metrics": "http://a:1", "logs": "http://b:2/x"}
    assert ours.places == {"http://a:1": ["traces", "metrics"], "http://b:2/x": ["logs"]}
    assert (ours.request("traces"), ours.request("logs")) == ("http://a:1/v1/traces", "http://b:2/x/v1/logs")
    both = planned(OTEL_LLMON_ENDPOINT="http://a:1", OTEL_EXPORTER_OTLP_ENDPOINT="http://c:3")
    assert both.endpoints["traces"] == "http://c:3"


def test_what_is_sent_is_bounded_and_marked_as_doctors():
    """The program's own time limits do not hold up doctor, and its name is not used."""
    given = {"OTEL_EXPORTER_OTLP_LOGS_TIMEOUT": "60", "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "1"}
    environ = planned(**given, OTEL_SERVICE_NAME="shop", OTEL_TRACES_SAMPLER="x").environ
    assert environ["OTEL_EXPORTER_OTLP_TIMEOUT"] == environ["OTEL_EXPORTER_OTLP_LOGS_TIMEOUT"] == "4"
    assert environ["OTEL_EXPORTER_OTLP_METRICS_TIMEOUT"] == "1"
    assert "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT" not in environ
    assert (environ["OTEL_SERVICE_NAME"], environ["OTEL_TRACES_SAMPLER"]) == ("llmon-doctor", "always_on")


def test_an_endpoint_that_is_no_url_is_off():
    """OpenTelemetry's exporters say nothing useful about it."""
    off = planned(OTEL_EXPORTER_OTLP_ENDPOINT="me:secret@host:4318").off
    assert off["logs"] == "host:4318 is no endpoint; expected a URL such as http://localhost:4318"
    assert not planned(OTEL_EXPORTER_OTLP_ENDPOINT="host:4317", OTEL_EXPORTER_OTLP_PROTOCOL="grpc").off


@pytest.mark.parametrize(
    ("sampler", "share", "is_off"),
    [
        ("traceidratio", "0", True),
        ("parentbased_traceidratio", "0.0", True),
        ("parentbased_always_off", "", True),
        ("traceidratio", "0.5", False),
        ("traceidratio", "half", False),
        ("always_on", "", False),
    ],
)
def test_a_sampler_that_takes_nothing_is_off(sampler, share, is_off):
    """A share is not nothing; doctor's own trace is always sampled."""
    found = planned(OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=share)
    assert ("traces" in found.off) == is_off
    assert bool(found.remarks) == (not is_off and sampler != "always_on")


# the way


def test_the_way_is_the_viewers_where_programs_send_to_it():
    """Names of the same address count as one; another port does not."""
    status = type("Status", (), {"otlp_url": "http://127.0.0.1:4318"})
    met = Met("0.1.0", 0.0, status)
    assert choose(planned(), met, None, "v")[0] == "embedded"
    assert choose(planned(OTEL_EXPORTER_OTLP_ENDPOINT="http://localhost:4319"), met, None, "v")[0] == "stack"
    assert choose(planned(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.2:4318"), met, None, "v")[0] == "stack"
    assert choose(planned(), BackendError("viewer", "v", "no"), None, "v") == (
        "stack",
        "no viewer at v, so what programs send to http://localhost:4318 should reach the servers",
    )
    assert choose(planned(), met, "stack", "v") == ("stack", "asked for by --stack")


# which hop, from the Collector's numbers


def numbers(*more, accepted=1, refused=0, sent=0, failed=0, waiting=0):
    """Return a Collector's numbers about logs."""
    to = {"exporter": "otlp_http/loki"}
    return [
        Sample("otelcol_receiver_accepted_log_records", {"transport": "http"}, accepted),
        Sample("otelcol_receiver_refused_log_records_total", {"transport": "http"}, refused),
        Sample("otelcol_exporter_sent_log_records", to, sent),
        Sample("otelcol_exporter_send_failed_log_records", to, failed),
        Sample("otelcol_exporter_queue_size", to | {"data_type": "logs"}, waiting),
        Sample("otelcol_exporter_queue_size", {"exporter": "jaeger", "data_type": "traces"}, 9),
        *more,
    ]


@pytest.mark.parametrize(
    ("after", "hop"),
    [
        (
            numbers(accepted=0),
            "program -> collector: the log did not arrive within 7 s, and the Collector counted none",
        ),
        (numbers(refused=1), "collector: the log did not arrive within 7 s, it was refused"),
        (numbers(failed=1), "collector -> loki: the log did not arrive within 7 s: otlp_http/loki could not deliver"),
        (
            numbers(waiting=3),
            "collector -> loki: the log did not arrive within 7 s: it waits in the queue of otlp_http",
        ),
        (numbers(sent=1), "loki: the log did not arrive within 7 s, though otlp_http/loki handed it over"),
        (numbers(), "collector -> loki: the log did not arrive within 7 s: no exporter got it"),
    ],
)
def test_the_collectors_numbers_name_the_hop(after, hop):
    """What grew while our log passed says where it is."""
    check = missing("logs", "Loki", 7.0, Ledger(numbers(accepted=0), after))
    assert check.state == "fail"
    assert check.found.startswith(hop)
    assert check.advice


def test_numbers_from_before_are_not_ours():
    """A Collector that has failed for a week fails for others."""
    before = numbers(accepted=50, failed=40, refused=30)
    check = missing("logs", "Loki", 7.0, Ledger(before, numbers(accepted=51, failed=40, refused=30, sent=1)))
    assert check.found.startswith("loki: ")


def test_without_numbers_the_hop_is_the_likely_one():
    """Many Collectors do not publish theirs."""
    check = missing("metrics", "Prometheus", 7.0, None)
    assert check.found == "collector -> prometheus: the metric did not arrive within 7 s"
    assert kept("logs", None) == ""


def test_tail_sampling_asks_for_patience():
    """A trace that is not decided on is not lost."""
    tail = (Sample("otelcol_processor_tail_sampling_sampling_traces_on_memory", {}, 1),)
    after = [Sample("otelcol_receiver_accepted_spans", {}, 1), *tail]
    assert "--wait 70" in missing("traces", "Jaeger", 7.0, Ledger([], after)).advice


# the joins


SENT = Sent("a" * 32, "b" * 16)


@pytest.mark.parametrize(
    ("trace_id", "span_id", "state", "found"),
    [
        ("a" * 32, "b" * 16, "ok", "the log in Loki names the span"),
        ("a" * 32, "c" * 16, "fail", "loki: the log names another span"),
        (None, None, "fail", "loki: the log names no trace"),
    ],
)
def test_a_log_that_arrived_must_name_its_span(trace_id, span_id, state, found):
    """A log that nobody finds from its trace is half lost."""
    check = of_log(SENT, Log(1, "x", trace_id=trace_id, span_id=span_id), "Loki", "what to do")
    assert (check.state, check.found) == (state, found)


@pytest.mark.parametrize(
    ("ids", "state", "found"),
    [
        (["c" * 32, "a" * 32], "ok", "the exemplar in Prometheus names the trace"),
        (["c" * 32], "fail", "prometheus: the exemplar names another trace"),
        ([None], "fail", "prometheus: the exemplar names another trace"),
        ([], "fail", "prometheus: the metric has no exemplar"),
    ],
)
def test_a_metric_that_arrived_must_lead_to_its_trace(ids, state, found):
    """By one of its exemplars."""
    check = of_exemplars(SENT, [Exemplar(1.0, 1, each, None) for each in ids], "Prometheus")
    assert (check.state, check.found) == (state, found)


# bounds, clocks, versions


def test_one_that_hangs_costs_its_own_answer():
    """Names that never resolve hold a thread, and nobody else."""
    gate = threading.Event()
    found = together({"slow": gate.wait, "quick": lambda: 7}, 0.2)
    gate.set()
    assert found["quick"] == 7
    assert found["slow"].reason == "no answer within 0 s"


def test_a_bug_in_a_question_is_an_answer_too():
    """Nobody sees a traceback."""
    assert together({"a": lambda: 1 / 0}, 5)["a"].reason == "ZeroDivisionError: division by zero"


def test_searching_ends_as_soon_as_it_is_there():
    """Asked again until it is found; an error on the way is forgotten."""
    turns = iter([BackendError("a", "b", "c"), None, "it"])

    def ask():
        turn = next(turns)
        if isinstance(turn, BackendError):
            raise turn
        return turn

    found = search(ask, Limit(60))
    assert (found.found, found.error) == ("it", None)


def test_searching_ends_when_the_time_is_over():
    """The last reason is kept."""

    def fail():
        raise BackendError("Loki", "there", "503")

    assert search_all({"logs": fail}, Limit(0))["logs"].error.reason == "503"
    assert search(lambda: None, Limit(0)).found is None


def test_a_clock_is_compared_with_ours(server):
    """The Date header knows seconds; nonsense there says nothing."""
    server.at["/"] = Says("", headers={"X": "y"})
    client = Embedded(server.url)
    answer = client.ask("/")
    assert abs(skew_of(answer, time.time())) < 2
    assert skew_of(answer, time.time() - 60) > 50
    assert skew_of(answer._replace(date="yesterday"), 0.0) is None
    assert skew_of(answer._replace(date=None), 0.0) is None


def test_clocks_that_differ_are_warned_about():
    """By name and by how much."""
    check = of_clocks([("Loki", 75.4), ("Jaeger", 0.5), ("Prometheus", -3.0)])
    assert (check.state, check.found) == ("warn", "Loki is 75 s ahead, Prometheus is 3 s behind")
    assert of_clocks([("Jaeger", 1.0)]).state == "ok"
    assert of_clocks([]).state == "note"


@pytest.mark.parametrize(
    ("server_name", "version", "state"),
    [
        ("Prometheus", "3.14.0", "ok"),
        ("Prometheus", "2.42.0", "warn"),
        ("Prometheus", "4.0.0-rc.1", "warn"),
        ("Jaeger", "2.2.0", "ok"),
        ("Jaeger", None, "ok"),
        ("Collector", "0.149.0", "warn"),
    ],
)
def test_versions_outside_of_the_tested_range_are_warned_about(server_name, version, state):
    """Older and newer majors; a version that nobody tells is none."""
    assert of_version(server_name, version)[0] == state


# the command


@pytest.fixture
def llmon(monkeypatch, capsys, here):
    """A function that runs `llmon doctor` with options and environment, and returns exit status, stdout and stderr."""
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        monkeypatch.delenv(name, raising=False)

    def run(*options, **environ):
        for name, value in (here | environ).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.argv", ["llmon", "doctor", *options])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code, *capsys.readouterr()

    return run


def test_the_command_leaves_with_0_when_all_arrived(llmon):
    """In a pipe: state, name and finding, with tabs between them; the verdict at the end."""
    status, out, err = llmon()
    rows = [line.split("\t") for line in out.splitlines()]
    assert (status, err) == (0, "")
    assert {len(row) for row in rows} == {3}
    assert rows[0][:2] == ["way", "embedded"]
    assert rows[-1][:2] == ["ok", "verdict"]
    assert rows[-1][2].startswith("all three arrived and lead to one another")


def test_the_command_leaves_with_1_when_one_did_not(llmon):
    """And the verdict names it."""
    status, out, err = llmon(OTEL_TRACES_SAMPLER="always_off")
    assert (status, err) == (1, "")
    assert out.splitlines()[-1].startswith("fail\tverdict\tnot well: trace;")


def test_json_holds_the_same_facts(llmon):
    """For programs, and for a bug report."""
    status, out, _ = llmon("--json", OTEL_LOGS_EXPORTER="none")
    printed = json.loads(out)
    assert (status, printed["ok"], printed["way"]) == (1, False, "embedded")
    assert [check["name"] for check in printed["checks"] if check["state"] == "fail"] == ["log"]
    assert set(printed["checks"][0]) == {"name", "state", "found", "advice"}


def test_a_terminal_gets_marks(llmon, monkeypatch):
    """One line per check, nothing cut off."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")
    _, out, _ = llmon(OTEL_LOGS_EXPORTER="none")
    assert "✔ trace" in out
    assert "✘ log" in out
    assert max(map(len, out.splitlines())) <= 100


def test_a_terminal_that_knows_ascii_only_gets_words(monkeypatch, here, tmp_path):
    """No mark and no quotation ends in a traceback."""
    out = tmp_path / "out"
    with out.open("w", encoding="ascii") as terminal:
        terminal.isatty = lambda: True
        monkeypatch.setattr("sys.stdout", terminal)
        monkeypatch.setattr("sys.argv", ["llmon", "doctor"])
        for name, value in (here | {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "ü"}).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit):
            cli.main()
    assert "ok\ttrace\t" in out.read_text()
    assert "\\xfc is no endpoint" in out.read_text()


def test_both_ways_at_once_are_refused(llmon):
    """One or none."""
    assert llmon("--embedded", "--stack") == (
        1,
        "",
        "llmon: --embedded and --stack: found both, expected one or none\n",
    )
