"""Scores of classifiers and the limits of single values, as laws."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from otel_llmon.scores import confusion, surprise
from otel_llmon.scores.reference import Reference

LABELS = [(5 * place) % 7 % 4 for place in range(200)]
SAID = [(label + (place % 5 == 0)) % 4 for place, label in enumerate(LABELS)]
SCIKIT = {"accuracy": 0.8, "precision": 0.7920728545501685, "recall": 0.8034336919885922, "f1": 0.7951712801485288}
"""What scikit-learn 1.9.1 says of these."""


def test_scores_are_scikit_learn_s():
    """Accuracy, and macro precision, recall and F1."""
    found = confusion.quality(Counter(zip(map(str, SAID), map(str, LABELS), strict=True)))
    assert {name: getattr(found, name) for name in SCIKIT} == pytest.approx(SCIKIT, abs=1e-12)


def test_scores_are_scikit_learn_s_where_it_is():
    """On classes of chance, with one that is never predicted and one that never is true."""
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(1)
    said, true = random.choice(["a", "b", "c"], 500), random.choice(["b", "c", "d"], 500)
    found = confusion.quality(Counter(zip(said.tolist(), true.tolist(), strict=True)))
    macro = metrics.precision_recall_fscore_support(true, said, average="macro", zero_division=0)
    assert (found.precision, found.recall, found.f1) == pytest.approx(macro[:3])
    assert found.accuracy == pytest.approx(metrics.accuracy_score(true, said))


def test_nothing_known_is_no_score():
    """Rather than 0."""
    assert confusion.quality({}) is None
    assert confusion.errors(0, 0, 0, 0) is None


SHAPES = {
    "normal": lambda random, size: random.normal(size=size),
    "uniform": lambda random, size: random.uniform(size=size),
    "lognormal": lambda random, size: random.lognormal(size=size),
    "pareto": lambda random, size: random.pareto(1.2, size),
    "student": lambda random, size: random.standard_t(3, size),
    "poisson": lambda random, size: random.poisson(3, size).astype(float),
    "binary": lambda random, size: (random.uniform(size=size) < 0.1).astype(float),
    "two humps": lambda random, size: random.normal(size=size) + 10 * random.integers(0, 2, size),
    "mostly zero": lambda random, size: random.exponential(size=size) * (random.uniform(size=size) < 0.05),
}


@pytest.mark.parametrize("rows", [1000, 10_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_as_the_reference_had_are_hardly_ever_surprising(shape, rows):
    """Whatever the tails: at most one in a thousand, where one in ten thousand is asked for."""
    random = np.random.default_rng(3)
    known = surprise.limits(Reference.fit(SHAPES[shape](random, (rows, 20)), correlation=False))
    fresh = SHAPES[shape](random, (20_000, 20))
    outside = (fresh > known.highs) | (fresh < known.lows)
    assert outside.any(axis=1).mean() <= 1e-3


@pytest.mark.parametrize("shape", ["normal", "uniform", "two humps", "binary"])
def test_a_value_far_beyond_the_reference_is_surprising(shape):
    """Of so light a tail, three times its range is far."""
    random = np.random.default_rng(3)
    table = SHAPES[shape](random, (10_000, 3))
    known = surprise.limits(Reference.fit(table, correlation=False))
    row = np.array([0.0, 0.5, table.max() + 3 * (table.max() - table.min())])
    found = surprise.surprise(known, row)
    assert (found.feature, found.side, found.features) == ("2", "above", 1)
    assert surprise.surprise(known, -row).side == "below"


@pytest.mark.parametrize("rows", [np.full(5000, 3.0), np.arange(500.0)], ids=["constant", "few rows"])
def test_nothing_surprises_where_nothing_is_known(rows):
    """Of a constant, or of few rows, no tail was seen."""
    known = surprise.limits(Reference.fit({"a": rows}))
    assert surprise.surprise(known, np.array([1e9])) is None
    assert surprise.surprise(known, np.array([np.nan])) is None
