"""Rewrite the generated files: pages, rules and the dashboard; with --check, only say which are out of step."""

from __future__ import annotations

import ast
import csv
import sys
from pathlib import Path

from otel_llmon import semconv, settings
from otel_llmon.render import docs, panels, redaction, rules
from otel_llmon.semconv import events
from otel_llmon.semconv.attributes import MEANINGS

ROOT = Path(__file__).parents[1]
TESTS, BENCHMARKS = ROOT / "tests", ROOT / "benchmarks"


def proven() -> dict[str, list[str]]:
    """Return what proves a row, in the order of tests/rows.csv: tests that carry its mark, and figures that name it."""
    found: dict[str, list[str]] = {row: [] for row in capabilities()}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for mark in getattr(node, "decorator_list", ()):
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.row":
                    for row in mark.args:
                        found[ast.literal_eval(row)].append(f"`{path.relative_to(TESTS)}::{node.name}`")
    for path in sorted(BENCHMARKS.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for word in node.keywords if isinstance(node, ast.Call) and ast.unparse(node.func) == "Figure" else ():
                if word.arg == "row":
                    found[ast.literal_eval(word.value)].append(f"`benchmarks/{path.name}`")
    return {row: tests for row, tests in found.items() if tests}


def capabilities() -> dict[str, str]:
    """Return what the project is to be able to do, by row."""
    with (TESTS / "rows.csv").open(encoding="utf-8", newline="") as lines:
        return {line["row"]: line["capability"] for line in csv.DictReader(lines)}


FILES = {
    "docs/coverage.md": docs.coverage_page(capabilities(), proven()),
    "docs/events.md": docs.events_page(events.rows()),
    "docs/metrics.md": docs.metrics_page(semconv.rows(), MEANINGS),
    "docs/settings.md": docs.settings_page(settings.rows(), settings.CONFIG),
    "collector-config/grafana/dashboards/otel-llmon.json": panels.dashboard_file(),
    "collector-config/prometheus/rules/llmon.yml": rules.rules_file(),
    "collector-config/redaction.yaml": redaction.redaction_file(),
}


def stale(root: Path) -> list[str]:
    """Return the names of the files that are missing below the root, or differ."""
    return [
        name
        for name, text in FILES.items()
        if not (root / name).exists() or (root / name).read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str], root: Path) -> str | None:
    """Write the files that differ, or return what is wrong when only asked to check."""
    names = stale(root)
    if "--check" not in arguments:
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(FILES[name], encoding="utf-8")
    elif names:
        return f"generated files out of step: {', '.join(names)}; run: make docs"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], ROOT))
