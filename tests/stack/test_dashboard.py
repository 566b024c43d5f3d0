"""Every panel of the dashboard is answered for what the demo sends."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from processes import INSTRUMENT
from servers import until

from otel_llmon.stack import files

PANELS = [
    panel
    for panel in json.loads((files() / "collector-config/grafana/dashboards/otel-llmon.json").read_text())["panels"]
    if panel["type"] != "row"
]
DEMO = Path(__file__).parents[2] / "examples" / "pipeline.py"


@pytest.fixture(scope="module")
def demonstrated(stack, tmp_path_factory):
    """The stack, after two runs of the demo."""
    from processes import Program

    program = Program(tmp_path_factory.mktemp("demo"), stack.urls["otlp"])
    for _ in range(2):
        with program.start([*INSTRUMENT, sys.executable, str(DEMO)], **stack.environ) as process:
            out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err
    return stack


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_is_answered(demonstrated, panel):
    """Grafana's variables are put in, and the data source is asked what Grafana would ask it."""
    for target in panel["targets"]:
        expr = target["expr"].replace("$__rate_interval", "5m").replace("$__range", "30m").replace("$service", ".+")
        if panel["type"] == "logs":
            assert until(lambda expr=expr: demonstrated.loki.lines(expr))
        else:
            found = until(lambda expr=expr: demonstrated.prometheus.query(expr).series, 60)
            assert all(series.value == series.value for series in found), "a quantile of nothing is no answer"


def test_panels_are_placed_without_overlap():
    """Each has its own cells of the grid, and a number of its own."""
    taken = set()
    for panel in PANELS:
        box = panel["gridPos"]
        cells = {(x, y) for x in range(box["x"], box["x"] + box["w"]) for y in range(box["y"], box["y"] + box["h"])}
        assert not cells & taken
        assert box["x"] + box["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
