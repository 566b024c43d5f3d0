"""Where bins end: at floats, so that every value is in one, wherever it is looked up."""

from __future__ import annotations

import numpy as np
import pytest

from otel_llmon.scores.binning import binning

SHAPES = {
    "normal": lambda rng: rng.normal(size=500),
    "skewed": lambda rng: rng.lognormal(size=500),
    "squared": lambda rng: rng.random(500) ** 4,
    "whole": lambda rng: rng.integers(0, 50, 500).astype(float),
    "heavy": lambda rng: rng.standard_t(2, 500),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("origin", [0.0, -3.0, 1e9, 1.767e12, -1e-7])
@pytest.mark.parametrize("size", [1e-9, 1.0, 1e6, 1e12])
def test_an_edge_is_the_last_float_of_its_bin(shape, origin, size):
    """The next one is in the next bin: edges lie at the ends of cells, however large or small numbers are."""
    found = binning(np.sort(SHAPES[shape](np.random.default_rng(0)) * size + origin))
    edges = np.array(found.edges)
    bins = np.arange(len(edges))
    assert found.bins(edges)[0].tolist() == bins.tolist()
    assert found.bins(np.nextafter(edges, np.inf))[0].tolist() == (bins + 1).tolist()
