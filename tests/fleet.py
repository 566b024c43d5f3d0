"""A fleet on paper: replicas that count rows as the product does, and what each exports at its own times.

Their counts are a `Ledger`'s and their requests the real encoder's, so that Prometheus gets what it would get from
processes; only the clock is made up, since an hour is too long for a test.
"""

from __future__ import annotations

import time
import urllib.request
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_llmon import metering
from otel_llmon.drifts import bins
from otel_llmon.metering.points import _data
from otel_llmon.scores.dense import Tally
from otel_llmon.scores.profile import Profile
from otel_llmon.semconv.attributes import MODEL, SERVICE_NAME

PERIOD = 3720.0
"""Seconds that the fleet lives: a bit more than the rules look back."""


def shapes(rng, rows, moved=0.0):
    """Five columns as they come, moved each in its own way where `moved` is 1."""
    other = rng.random(rows) < 0.05 * moved
    return {
        "normal": rng.normal(50 + 3 * moved, 10, rows),
        "wider": rng.normal(0, 1 + 0.3 * moved, rows),
        "lognormal": rng.lognormal(0.25 * moved, 1, rows),
        "mixture": np.where(other, 5.0, rng.normal(0, 1, rows)),
        "count": rng.poisson(4 + moved, rows).astype(float),
    }


@dataclass
class Replica:
    """One process: it lives from `born` to `gone`, exports every `every` seconds and begins anew at `restarts`."""

    name: str
    born: float = 0.0
    gone: float = PERIOD
    every: float = 30.0
    jitter: float = 0.0
    restarts: tuple[float, ...] = ()
    rate: float = 1.0
    reference: object = None
    rows: dict = field(default_factory=dict)
    at: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def live(self, model, reference, rng, moved):
        """Yield (time, request) for every export."""
        reference = self.reference or reference
        count = int((self.gone - self.born) * self.rate)
        self.at = np.sort(rng.uniform(self.born, self.gone, count))
        self.rows = shapes(rng, count, moved)
        lives = [self.born, *self.restarts, self.gone]
        for begin, end in pairwise(lives):
            yield from self._life(model, reference, rng, (begin, end))

    def _life(self, model, reference, rng, life):
        ledger = bins.Ledger(reference, {MODEL: model})
        nothing = Tally.of(Profile(reference))
        template, points = None, []
        before = life[0]
        offset = rng.uniform(0, self.every)
        for moment in np.arange(life[0] + offset, life[1], self.every):
            at = min(max(moment + rng.uniform(-self.jitter, self.jitter), before + 0.1), life[1])
            chosen = (self.at > before) & (self.at <= at)
            if chosen.any():
                profile = Profile.of({name: column[chosen] for name, column in self.rows.items()}, reference)
                ledger.grow(Tally.of(profile), nothing)
            readings = [*_counts(ledger)]
            if template is None:
                template, points = _request(self.name, [*readings, *_constants(ledger)])
            for point, reading in zip(points, readings, strict=False):
                point.as_double = reading.value
            yield at, template, points
            before = at


def _counts(ledger):
    for row in bins.COUNTS:
        yield from ledger.counts(row)


def _constants(ledger):
    for row in bins.CONSTANTS:
        yield from ledger.constants(row)


def _request(replica, readings):
    """Return a request that holds these readings, and its points in their order."""
    from opentelemetry.sdk.metrics.export import Metric, NumberDataPoint

    metrics = {}
    for row, value, attributes in readings:
        metrics.setdefault(row, []).append(NumberDataPoint(attributes, 1, 1, float(value)))
    made = [Metric(row.name, row.description, row.unit, _data(row.kind, points)) for row, points in metrics.items()]
    resource = Resource({SERVICE_NAME: "scoring", "service.instance.id": replica})
    scope = InstrumentationScope(metering.SCOPE)
    request = encode_metrics(MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, made, "")], "")]))
    points = [
        point
        for metric in request.resource_metrics[0].scope_metrics[0].metrics
        for point in getattr(metric, metric.WhichOneof("data")).data_points
    ]
    return request, points


BATCH = 100
"""Requests that are sent as one: two of them behind each other are one with the contents of both."""


def send(endpoint, fleets, reference, seed=0):
    """Send what fleets of replicas export, (moved, replicas) by model; return at which unix time their life began.

    It ends a minute from now, so that rules that are evaluated meanwhile look back on a whole hour.
    """
    rng = np.random.default_rng(seed)
    start = time.time() + 60 - PERIOD
    sent = []
    for model, (moved, replicas) in fleets.items():
        for replica in replicas:
            for at, request, points in replica.live(model, reference, rng, moved):
                for point in points:
                    point.time_unix_nano = round((start + at) * 1e9)
                sent.append((at, request.SerializeToString()))
    sent.sort(key=lambda each: each[0])
    for first in range(0, len(sent), BATCH):
        body = b"".join(request for _, request in sent[first : first + BATCH])
        headers = {"Content-Type": "application/x-protobuf"}
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/v1/metrics", body, headers), timeout=60).close()
    return start


def union(replicas, reference, since, until):
    """Return the profile of all rows of some replicas in a stretch of their life."""
    profile = Profile(reference)
    for replica in replicas:
        chosen = (replica.at > since) & (replica.at <= until)
        profile.add({name: column[chosen] for name, column in replica.rows.items()})
    return profile
