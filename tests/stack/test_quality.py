"""Data quality as Prometheus, Jaeger and Loki know it."""

from __future__ import annotations

import time

import pytest
from servers import until

HEAD = """
    import numpy as np
    import otel_llmon as llmon
    from otel_llmon.quality import QualityWatch
    from otel_llmon.scores.quality import (
        binary, matches, missing, one_of, outliers, positive, probability, satisfies, within,
    )
    from otel_llmon.scores.reference import Reference

    llmon.configure("{service}", observers=())
    rng = np.random.default_rng(0)

    def table(rows=1000):
        return {{"size": rng.standard_normal(rows), "price": rng.lognormal(size=rows)}}

    reference = Reference.fit(table(5000))
"""


@pytest.fixture
def ran(stack, program):
    """Run a program that watches a model to its end; return when it began."""

    def run(service, source, **environ):
        began = time.time()
        head = program.write("head.py", HEAD.format(service=service)).read_text()
        done = program(head + program.write("body.py", source).read_text(), **stack.environ, **environ)
        assert done.returncode == 0, done.stderr
        return began

    return run


def value(stack, expr):
    """The one value of a query, or None."""
    found = stack.prometheus.query(expr)
    return found.value if len(found) == 1 else None


def share(service, model, feature, check):
    """The share of a feature's values that failed a check, as PromQL."""
    labels = f'service_name="{service}",llmon_model="{model}",llmon_feature="{feature}",llmon_check="{check}"'
    values = f"llmon_quality_values_total{{{labels}"
    return f'sum({values},llmon_outcome="failed"}}) / sum({values}}})'


@pytest.mark.row("Q1", "Q2", "Q5", "Q6", "Q8")
def test_prometheus_knows_what_was_wrong_with_each_batch(stack, ran):
    """Shares by feature and check, violations by kind, and a score that reaches 0."""
    began = ran(
        "batches",
        """
        def check(model, table):
            QualityWatch(model, "1", reference=reference).check(table)

        check("fine", table())
        holes = table()
        holes["size"][:300] = np.nan
        check("holes", holes)
        check("dropped", {"price": table()["price"]})
        check("far", table() | {"size": 100 + table()["size"]})
        check("void", {name: np.full(1000, np.nan) for name in table()})
        """,
    )
    mine = 'service_name="batches"'
    score = f"llmon_quality_score_ratio{{{mine},llmon_model_version=%s,llmon_model=%s}}"
    assert until(lambda: value(stack, score % ('"1"', '"fine"'))) > 0.99
    assert value(stack, f'llmon_quality_healthy{{{mine},llmon_model="fine"}}') == 1
    assert value(stack, f'llmon_quality_healthy{{{mine},llmon_model="holes"}}') == 0
    assert value(stack, share("batches", "holes", "size", "missing")) == pytest.approx(0.3)
    assert value(stack, share("batches", "holes", "price", "missing")) == 0
    violations = f"llmon_quality_violations_total{{{mine},llmon_model=%s,llmon_kind=%s}}"
    assert value(stack, violations % ('"holes"', '"missing"')) == 1
    assert value(stack, violations % ('"dropped"', '"missing_column"')) == 1
    assert value(stack, violations % ('"far"', '"range"')) == 1
    assert value(stack, score % ('"1"', '"void"')) == 0
    assert stack.prometheus.query(f'llmon_quality_violations_total{{{mine},llmon_model="fine"}}').value is None
    assert value(stack, f'llmon_quality_rows_total{{{mine},llmon_model="fine"}}') == 1000
    assert began - 1 < value(stack, f'llmon_quality_last_batch_seconds{{{mine},llmon_model="void"}}') < time.time() + 1


@pytest.mark.row("Q3", "Q4", "Q13")
def test_prometheus_knows_each_check_by_its_name_and_limit(stack, ran):
    """Outliers against the reference; values that are not allowed; another threshold counts others."""
    ran(
        "checks",
        """
        QualityWatch("shifted", reference=reference).check({name: column + 5 for name, column in table().items()})
        wanted = {
            "amount": positive(), "chance": probability(), "flag": binary(), "colour": one_of(["red", "blue"]),
            "mail": matches(r"[^@]+@[^@]+"), "age": within(0, 120), "even": satisfies("even", lambda x: x % 2 == 0),
        }
        QualityWatch("valid", checks=wanted).check({
            "amount": [1, 2, 3, -4], "chance": [0.5, 1.0, 1.5, -1], "flag": [0, 1, 1, 2], "age": [1, 2, 3, 999],
            "colour": ["red", "red", "blue", "mauve"], "mail": ["a@b", "c@d", "e@f", "g"], "even": [2, 4, 6, 7],
        })
        holes = table()
        holes["size"][:100] = np.nan
        for model, share, beyond in (("strict", 0.05, 2), ("loose", 0.15, 4)):
            wanted = {"size": [missing(share), outliers(beyond, at_most=1)]}
            QualityWatch(model, reference=reference, checks=wanted).check(holes)
        """,
    )
    assert until(lambda: value(stack, share("checks", "shifted", "size", "outliers"))) > 0.9
    expected = {
        ("amount", "positive"): 0.25,
        ("chance", "probability"): 0.5,
        ("flag", "binary"): 0.25,
        ("age", "range"): 0.25,
        ("colour", "set"): 0.25,
        ("mail", "pattern"): 0.25,
        ("even", "even"): 0.25,
    }
    assert {place: value(stack, share("checks", "valid", *place)) for place in expected} == expected
    mine = 'llmon_quality_violations_total{service_name="checks",llmon_kind="missing",llmon_model=%s}'
    assert value(stack, mine % '"strict"') == 1
    assert value(stack, mine % '"loose"') is None
    strict, loose = (value(stack, share("checks", model, "size", "outliers")) for model in ("strict", "loose"))
    assert 0.02 < strict < 0.08, "beyond two deviations"
    assert loose < 0.005


@pytest.mark.row("Q5", "Q7")
def test_jaeger_has_types_and_ranges_and_loki_the_names_of_what_is_wrong(stack, ran):
    """The violation stands in the span's trace; values stand there because they were asked for."""
    began = ran(
        "details",
        """
        watch = QualityWatch("m", checks={"age": within(0, 120), "gone": within(0, 1)}, values=True)
        watch.check({"age": [31, 140], "word": ["x", "y"]})
        """,
    )

    def found():
        return stack.jaeger.find("details", start=began, end=time.time() + 1)

    [trace] = until(found)
    span = trace.root
    assert span.name == "quality check"
    assert "age: integer" in str(span.attributes["llmon.quality.types"])
    assert "age: 31 to 140" in str(span.attributes["llmon.quality.ranges"])
    line = until(lambda: stack.loki.lines('{service_name="details"} |= "llmon.quality.violation"'))[0]
    assert line.trace_id == trace.trace_id
    told = str(dict(line.attributes))
    assert "age: range" in told
    assert "gone: missing_column" in told


@pytest.mark.row("Q10")
def test_the_trend_is_a_range_in_prometheus(stack, ran):
    """Each score is there at its time."""
    began = ran(
        "trend",
        """
        import time

        watch = QualityWatch("m")
        for failing in (0, 5, 10):
            watch.check({"x": [np.nan] * failing + [1.0] * (10 - failing)})
            time.sleep(1.5)
        """,
        OTEL_METRIC_EXPORT_INTERVAL="200",
    )

    def scores():
        found = stack.prometheus.query_range(
            'llmon_quality_score_ratio{service_name="trend"}', start=began, end=time.time(), step=0.25
        )
        values = [point.value for series in found for point in series.points]
        return values if values and values[-1] == 0 else None

    seen = until(scores)
    assert list(dict.fromkeys(seen)) == [1.0, 0.5, 0.0]
    lowest = 'min_over_time(llmon_quality_score_ratio{service_name="trend"}[5m])'
    assert value(stack, lowest) == 0


def test_rows_of_numbers_of_a_service_that_ends_are_all_there(stack, ran):
    """Few at a time, and fewer than a window at the end."""
    ran(
        "rows",
        """
        watch = QualityWatch("m", reference=reference)
        for _ in range(100):
            watch.add_matrix(rng.standard_normal((17, 2)))
        """,
    )
    mine = '{service_name="rows"}'
    assert until(lambda: value(stack, f"llmon_quality_rows_total{mine}")) == 1700
    assert value(stack, f"llmon_quality_healthy{mine}") == 0, "prices are never negative"
