"""Drift as the real servers see it: of one process after one call, and of a fleet by the generated rules."""

from __future__ import annotations

import subprocess
import time

import numpy as np
import pytest
import yaml
from fleet import PERIOD, Replica, send, shapes, union
from servers import until

from otel_llmon.render.drift import rules_file
from otel_llmon.scores import distances, polynomials
from otel_llmon.scores.dense import Tally, dense
from otel_llmon.scores.profile import Profile, Reference
from otel_llmon.stack import native

ONE = """
    import numpy as np
    import otel_llmon
    from otel_llmon.drifts import DriftWatch
    from otel_llmon.scores.profile import Reference

    with otel_llmon.configure("credit", observers=()):
        rng = np.random.default_rng(5)
        make = lambda by: {"age": rng.normal(40 + by, 10, 3000), "@prediction": rng.random(3000) ** (1 + by / 4)}
        watch = DriftWatch(Reference.fit(make(0)), "credit", "3", weights={"age": 3.0, "@prediction": 1.0}, window=5000)
        watch.add(make(4))
        found = watch.check()
        print({name: each.scores["ks"] for name, each in found.features.items()})
"""


@pytest.mark.row("DR1", "DR6", "DR17")
def test_one_call_is_seen_in_every_backend(stack, program):
    """Scores of features and of predictions in Prometheus, the weighted share, a span in Jaeger, a verdict in Loki."""
    done = program(ONE, **stack.environ)
    assert done.returncode == 0, done.stderr
    printed = eval(done.stdout)

    def score(feature):
        query = f'llmon_drift_score{{llmon_model="credit",llmon_feature="{feature}",llmon_method="ks"}}'
        return stack.prometheus.query(query).value

    assert until(lambda: score("age")) == pytest.approx(printed["age"])
    assert score("@prediction") == pytest.approx(printed["@prediction"])
    assert printed["@prediction"] > 0.1
    assert stack.prometheus.query('llmon_drift_weighted_ratio{llmon_model="credit",llmon_model_version="3"}').value == 1
    now = time.time()
    [found] = until(lambda: stack.jaeger.find("credit", operation="drift check", start=now - 600, end=now + 60))
    trace = until(lambda: stack.jaeger.trace(found.trace_id))
    assert trace.named("drift check")[0].attributes["llmon.state"] == "drifted"
    [line] = until(lambda: stack.loki.lines(f'{{service_name="credit"}} | trace_id="{found.trace_id}"'))
    assert "drift.checked" in str(line)
    assert "age: drifted" in str(line)


BATCHES = """
    import numpy as np
    import otel_llmon
    from otel_llmon.drifts import DriftWatch
    from otel_llmon.quality import QualityWatch
    from otel_llmon.scores.profile import Reference

    with otel_llmon.configure("batches", observers=()):
        rng = np.random.default_rng(5)
        reference = Reference.fit({"age": rng.normal(40, 10, 3000)})
        drift, quality = DriftWatch(reference, "credit", window=100), QualityWatch("credit", reference=reference)

        def look(ages):
            drift.add({"age": ages})
            drift.check()
            quality.check({"age": ages})

        for by in (0, 30):
            with otel_llmon.batch(rng.normal(40 + by, 10, 3000), "score", after=look):
                pass
"""


@pytest.mark.row("B11")
def test_a_batch_is_looked_at_by_its_hooks(stack, program):
    """Its span has those of the checks below it, with the verdict as an event."""
    done = program(BATCHES, **stack.environ)
    assert done.returncode == 0, done.stderr
    now = time.time()
    between = {"start": now - 600, "end": now + 60}
    found = until(lambda: len(seen := stack.jaeger.find("batches", operation="score", **between)) == 2 and seen)
    verdicts = {}
    for each in found:
        trace = until(lambda which=each.trace_id: len((seen := stack.jaeger.trace(which)).spans) == 3 and seen)
        [score], [drift], [quality] = (trace.named(name) for name in ("score", "drift check", "quality check"))
        assert drift.parent_id == quality.parent_id == score.span_id
        assert score.attributes["llmon.items.score"] == 3000
        [told] = drift.events
        assert told.name == "drift.checked"
        verdicts[told.attributes["verdict"]] = score.start
    assert verdicts["stable"] < verdicts["drifted"]


WORKER = """
    import os, sys, time
    import numpy as np
    import otel_llmon
    from otel_llmon.drifts import DriftWatch
    from otel_llmon.scores.profile import Reference

    model, file, out, shift = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
    handle = otel_llmon.configure("scoring", observers=())
    rng = np.random.default_rng(os.getpid())
    watch = DriftWatch(Reference.load(file), model, window=500)
    handle.flush()
    parts = []
    for _ in range(6):
        part = {"a": rng.normal(shift, 1, 700), "b": rng.lognormal(0, 1, 700) * (1 + shift)}
        watch.add(part)
        parts.append(np.stack([part["a"], part["b"]]))
        time.sleep(0.5)
    time.sleep(8)  # Prometheus adds to each process what half of its interval is of its life: little, of a longer one
    handle.shutdown()
    np.save(out, np.concatenate(parts, axis=1))
"""


@pytest.mark.timeout(240)
def test_processes_are_one_fleet_by_the_generated_rules(servers, program, tmp_path):
    """Three workers, one of them twice: Prometheus says what numpy says of all their rows together.

    From their SDK through the Collector. Of the fleet that has moved there are alerts, of the other there is none.
    """
    stack = servers()
    rng = np.random.default_rng(2)
    reference = Reference.fit({"a": rng.normal(size=9000), "b": rng.lognormal(0, 1, 9000)})
    reference.save(tmp_path / "reference.json")
    llmon = [
        "llmon",
        "rules",
        "drift",
        str(tmp_path / "reference.json"),
        "--window",
        "2m",
        "--out",
        str(tmp_path / "drift.yml"),
    ]
    done = subprocess.run(llmon, env=program.environ, capture_output=True, text=True, check=True)
    assert done.stdout
    _load(stack, (tmp_path / "drift.yml").read_text(), every="1s")
    file = program.write("worker.py", WORKER)
    command = [*program.command("")[:-1], str(file)]
    rows: dict[str, list] = {"moved": [], "calm": []}

    def start(model, place, shift):
        out = tmp_path / f"{model}-{place}-{time.monotonic_ns()}.npy"
        rows[model].append(out)
        instance = {"OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id={model}-{place}"}
        arguments = [model, str(tmp_path / "reference.json"), str(out), str(shift)]
        return program.start([*command, *arguments], **stack.environ, **instance, OTEL_METRIC_EXPORT_INTERVAL="500")

    for shifts in ((0.6, 0.6, 0.0), (0.6,)):  # the second time the first worker begins anew
        begun = [start("moved", place, shift) for place, shift in enumerate(shifts)]
        begun += [start("calm", place, 0.0) for place in range(2 * len(shifts) // 3)]
        for process in begun:
            _, err = process.communicate(timeout=90)
            assert process.returncode == 0, err
    for model, files in rows.items():
        every = np.concatenate([np.load(each) for each in files], axis=1)
        profile = Profile.of({"a": every[0], "b": every[1]}, reference)
        until(
            lambda m=model, n=every.shape[1]: (
                all(x.value > 0.97 * n for x in _fleet(stack, "rows", m, "2m")) and _fleet(stack, "z", m, "2m")
            )
        )
        _agree(stack, reference, profile, model, "2m")
    alerts = {(alert.labels["alertname"], alert.labels.get("llmon_model")) for alert in stack.prometheus.alerts()}
    assert {("LlmonDriftKs", "moved"), ("LlmonDriftPsi", "moved"), ("LlmonDriftScore", "moved")} <= alerts
    assert not [name for name, model in alerts if model == "calm"]
    assert not list(stack.prometheus.query('last_over_time(ALERTS{llmon_model="calm"}[3m])'))  # nor has there been one


def _replicas(*names, **how):
    return [Replica(name, **({"every": 15.0, "rate": 8.0} | how)) for name in names]


LATE = PERIOD / 2


def _fleets(other):
    """Return what an hour may bring, by the name of a model: whether its rows have moved, and its processes."""
    return {
        "calm": (0.0, _replicas("a", "b", "c")),
        "jitter": (1.0, _replicas("a", "b", "c", jitter=2.0)),
        "one-restarts": (1.0, [*_replicas("a", "b"), *_replicas("c", restarts=(LATE,))]),
        "all-restart": (0.0, _replicas("a", "b", "c", restarts=(LATE, LATE + 700))),
        "one-lost": (1.0, [*_replicas("a", "b"), *_replicas("c", gone=PERIOD - 1200)]),
        "two-born": (0.0, [*_replicas("a"), *_replicas("b", born=LATE), *_replicas("c", born=LATE + 300)]),
        "mixed": (0.0, [*_replicas("a", "b"), *_replicas("c", "d", reference=other)]),
        "few": (0.0, _replicas("a", "b", "c", rate=0.02)),
    }


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_hour_of_a_fleet_is_what_numpy_says_of_all_rows(servers):
    """Restarts, jitter, processes that come and go, and two references under one model.

    Every score is within its bound of numpy on the union. There are alerts of every fleet that has moved, and none of
    one that has not.
    """
    stack = servers()
    rng = np.random.default_rng(7)
    reference = Reference.fit(shapes(rng, 20_000))
    other = Reference.fit({name: column * 1.3 + 1 for name, column in shapes(rng, 20_000).items()})
    fleets = _fleets(other)
    _load(stack, rules_file(reference.hash, len(dense(reference))), every="5s")
    start = send(f"{stack.urls['prometheus']}/api/v1/otlp", fleets, reference)
    until(lambda: len(_fleet(stack, "z", "two-born")) == 20)
    time.sleep(6)  # one more evaluation, after the last request was taken
    at = max(series.value for series in stack.prometheus.query("timestamp(feature:llmon_drift_z:increase1h)"))
    for model, (_, replicas) in fleets.items():
        ours = [replica for replica in replicas if replica.reference is not other]
        profile = union(ours, reference, at - start - 3600, at - start)
        if model != "few":
            _agree(stack, reference, profile, model, "1h", at)
    assert [rule for rule in stack.prometheus.rules() if rule.health != "ok"] == []
    alerts = stack.prometheus.alerts()
    told = {
        model: {alert.labels["alertname"] for alert in alerts if alert.labels.get("llmon_model") == model}
        for model in fleets
    }
    for model, (moved, _) in fleets.items():
        expected = {"LlmonDriftKs", "LlmonDriftPsi", "LlmonDriftScore"} if moved else set()
        assert told[model] == (expected or ({"LlmonDriftMixedReferences"} if model == "mixed" else set())), model


def _load(stack, text, every):
    """Have Prometheus evaluate these rules every so often."""
    file = stack.data / "config" / "prometheus" / "rules" / "drift.yml"
    file.write_text(text.replace("interval: 1m", f"interval: {every}"))
    done = subprocess.run(
        [native.binaries()["prometheus"].with_name("promtool"), "check", "rules", "--lint=all", "--lint-fatal", file],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    stack.reload("prometheus")


def _fleet(stack, what, model, window="1h", at=None):
    """Return the recorded series of a model."""
    return list(stack.prometheus.query(f'feature:llmon_drift_{what}:increase{window}{{llmon_model="{model}"}}', at=at))


def _agree(stack, reference, profile, model, window, at=None):  # noqa: PLR0917  # what is asked, and of whom
    """Prometheus' scores of a fleet are those of the profile of all of its rows."""
    found = reference.stack.judged(profile.counts, profile.totals)
    raw = distances.psi(profile.counts.astype(float), reference.stack.counts, reference.stack.there)
    for what, expected, bound in (("ks", found.ks, 1e-3), ("psi", raw, 2e-3), ("wasserstein", found.wasserstein, 5e-3)):
        told = {series.labels["llmon_feature"]: series.value for series in _fleet(stack, what, model, window, at)}
        for track, value in zip(reference.tracks, expected.tolist(), strict=True):
            assert abs(told[track.name] - value) <= bound, (model, what, track.name, told[track.name], value)
    told = {
        (series.labels["llmon_feature"], series.labels["llmon_method"]): series.value
        for series in _fleet(stack, "z", model, window, at)
    }
    for track, z in zip(reference.tracks, found.z.tolist(), strict=True):
        for method, value in zip(polynomials.NAMES, z, strict=True):
            assert told[track.name, method] == pytest.approx(value, abs=0.5, rel=0.01), (model, track.name, method)


def test_the_rules_say_what_can_be_worked_out_by_hand(tmp_path):
    """Promtool plays two processes of one feature with three bins; a third one compares with another reference."""
    reference, feature = "abc", '__name__,service_name="s",llmon_model="m",llmon_reference="abc",llmon_feature="f"'

    def series(row, more, values, of=feature, who=""):
        labels = f"{of.replace('__name__,', '')}{more and ',' + more}{who and f',instance={who!r}'}".replace("'", '"')
        return {"series": f"llmon_drift_{row}{{{labels}}}", "values": values}

    bins = [
        ('llmon_bin="00",llmon_bin_next="01"', 10, 1000),
        ('llmon_bin="01",llmon_bin_next="02"', 40, 3000),
        ('llmon_bin="02"', 60, 4000),
    ]
    given = []
    for labels, per_minute, before in bins:
        given += [series("bin_rows_total", labels, f"0+{per_minute}x90", who=who) for who in ("a", "b")]
        given.append(series("bin_rows_total", labels, "0+7x90", feature.replace('"abc"', '"other"'), "c"))
        given.append(series("reference_rows", labels, f"{before}x90", 'llmon_reference="abc",llmon_feature="f"', "a"))
    constants = 'llmon_reference="abc",llmon_feature="f"'
    given += [series("reference_step", f'llmon_bin="0{n}"', f"{step}x90", constants) for n, step in enumerate((0.5, 2))]
    given += [
        series("reference_effect", "", "2x90", constants),
        series("bin_shift_total", 'llmon_direction="up"', "0+6x90"),
        series("bin_shift_total", 'llmon_direction="down"', "0+3x90"),
        series("bin_score_total", 'llmon_method="location"', "0+180x90"),
        series("reference_lowest", 'llmon_method="location"', "-1.25x90", constants),
        series("reference_reach", 'llmon_method="location"', "4x90", constants),
    ]
    n, total = 120 * 60, 4000
    now, then = (np.array(counts, dtype=float) for counts in ([20 * 60, 60 * 60, 40 * 60], [1000, 2000, 1000]))
    chance = 2 * (1 / n + 1 / total)
    expected = {
        "rows": n,
        "chance": chance,
        "ks": 1 / 12,  # 10 of 60 where 1,000 of 4,000 are
        "psi": float(distances.psi(now, then)),
        "wasserstein": 0.5 / 12 + 2 / 12,
        "score": 0.25,
        "z": 0.25 / chance**0.5,
    }
    of = 'llmon_reference="abc"'
    asked = [
        f"abs(sum(feature:llmon_drift_{what}:increase1h{{{of}}}) / {value!r} - 1) < bool 1e-9"
        for what, value in expected.items()
    ]
    asked.append("count(feature:llmon_drift_rows:increase1h)")
    asked += [f'count(ALERTS{{alertname="LlmonDrift{name}"}})' for name in ("Score", "MixedReferences")]
    _play(tmp_path, rules_file(reference, 1), given, asked)


def test_chance_beside_a_small_reference_alerts_nobody(tmp_path):
    """A reference of a hundred rows has seen few of the tails: means that lie too far out for a normal one do not."""
    rng = np.random.default_rng(4)
    names = [f"f{number}" for number in range(60)]
    reference = Reference.fit({name: rng.poisson(3, 100).astype(float) for name in names}, correlation=False)
    columns = {name: rng.poisson(5 if name == "f0" else 3, 4000).astype(float) for name in names}
    tally = Tally.of(Profile.of(columns, reference))
    given, far = [], 0
    for one in dense(reference):
        of = f'llmon_reference="{reference.hash}",llmon_feature="{one.name}"'
        sums = one.sums(tally)
        z = (sums.scores / 4000 + one.lowest) / np.sqrt((1 / 4000 + 1 / 100) * one.effect)
        far += one.name != "f0" and bool((abs(z) > 4.3).any())
        ends = [f'llmon_bin="{n:02d}",llmon_bin_next="{n + 1:02d}"' for n in range(len(one.ends) - 1)]
        ends.append(f'llmon_bin="{len(ends):02d}"')
        methods = [f'llmon_method="{method}"' for method in polynomials.NAMES]
        for row, places, numbers in (
            ("bin_rows_total", ends, sums.rows),
            ("bin_score_total", methods, sums.scores),
            ("reference_rows", ends, one.rows),
            ("reference_step", [end.split(",")[0] for end in ends[1:]], one.steps),
            ("reference_lowest", methods, one.lowest),
            ("reference_reach", methods, one.reach),
            ("reference_effect", [""], [one.effect]),
        ):
            grows = row.endswith("_total")
            for place, number in zip(places, numbers, strict=True):
                values = f"0+{float(number) / 60!r}x90" if grows else f"{float(number)!r}x90"
                given.append({"series": f"llmon_drift_{row}{{{of}{place and ','}{place}}}", "values": values})
    assert far
    asked = [
        'count(count by (llmon_feature) (ALERTS{llmon_feature!=""}))',
        'count(ALERTS{alertname="LlmonDriftScore",llmon_feature="f0",llmon_method="location"})',
    ]
    _play(tmp_path, rules_file(reference.hash, 1), given, asked)


def _play(folder, rules, given, asked):
    """Have promtool play series for an hour and more: every expression that is asked is 1 then."""
    (folder / "rules.yml").write_text(rules)
    case = {
        "interval": "1m",
        "input_series": given,
        "promql_expr_test": [
            {"expr": expr, "eval_time": "80m", "exp_samples": [{"labels": "{}", "value": 1}]} for expr in asked
        ],
    }
    cases = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [case]}
    (folder / "cases.yml").write_text(yaml.safe_dump(cases))
    promtool = native.binaries()["prometheus"].with_name("promtool")
    done = subprocess.run(
        [promtool, "test", "rules", folder / "cases.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


PLAIN = """
    import numpy as np
    from opentelemetry import metrics
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from otel_llmon.drifts import DriftWatch
    from otel_llmon.scores.dense import dense
    from otel_llmon.scores.profile import Reference

    provider = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())])
    metrics.set_meter_provider(provider)
    rng = np.random.default_rng(3)
    reference = Reference.fit({f"f{number}": rng.normal(size=300) for number in range(150)}, correlation=False)
    watch = DriftWatch(reference, "wide")
    watch.add({f"f{number}": rng.normal(size=40) for number in range(150)})
    provider.shutdown()
    print(sum(len(one.ends) for one in dense(reference)))
"""


def test_what_the_sdk_reports_in_several_scopes_is_one_metric_in_prometheus(stack, program):
    """A user's own provider, and more bins than it takes for an instrument: all arrive, in series of one name."""
    done = program(PLAIN, **stack.environ)
    assert done.returncode == 0, done.stderr
    ask = stack.prometheus.query
    name = 'llmon_drift_bin_rows_total{llmon_model="wide"}'
    assert until(lambda: ask(f"count({name})").value) == int(done.stdout) > 4000
    last = name.replace("}", ',llmon_bin_next=""}')
    assert ask(f"sum({last})").value == 150 * 40
    [labels] = stack.prometheus.series(last.replace("}", ',llmon_feature="f149"}'))
    assert not [label for label in labels if "scope" in label]
