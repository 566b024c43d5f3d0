"""Drift as the real servers see it: of one process after one call, and of a fleet by the generated rules."""

from __future__ import annotations

import subprocess
import time

import numpy as np
import pytest
from fleet import PERIOD, Replica, send, shapes, union
from servers import until

from otel_llmon.render.drift import rules_file
from otel_llmon.scores import distances, polynomials
from otel_llmon.scores.dense import dense
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
    alerts = {(alert.labels["alertname"], alert.labels["llmon_model"]) for alert in stack.prometheus.alerts()}
    assert {("LlmonDriftKs", "moved"), ("LlmonDriftPsi", "moved"), ("LlmonDriftScore", "moved")} <= alerts
    assert not [name for name, model in alerts if model == "calm"]


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
        model: {alert.labels["alertname"] for alert in alerts if alert.labels["llmon_model"] == model}
        for model in fleets
    }
    for model, (moved, _) in fleets.items():
        expected = {"LlmonDriftKs", "LlmonDriftPsi", "LlmonDriftScore"} if moved else set()
        assert told[model] == (expected or ({"LlmonDriftMixedReferences"} if model == "mixed" else set())), model


def _load(stack, text, every):
    """Have Prometheus evaluate these rules every so often."""
    file = stack.data / "config" / "prometheus" / "rules" / "drift.yml"
    file.write_text(text.replace("  rules:", f"  interval: {every}\n  rules:", 1))
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
