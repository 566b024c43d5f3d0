"""The viewer's page on metrics: rates, levels, percentiles, exemplars, units; and the arithmetic behind them."""

from __future__ import annotations

import dataclasses
import re
import time

import pytest
import scene
from scene import MS, SECOND, world

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect


def chart(page, title):
    """Return a chart by its title."""
    return page.get_by_role("group", name=re.compile(f"^{title} of .* Left and right"))


def reading(page, title, share=0.5):
    """Point at a chart, at this share of its width; return what it reads out, by series."""
    box = chart(page, title).bounding_box()
    page.mouse.move(box["x"] + 70 + (box["width"] - 90) * share, box["y"] + 120)
    read = chart(page, title).locator(".readout")
    expect(read).to_be_visible()
    lines = read.locator("p").all()
    return {line.locator("span").inner_text(): line.locator("b").inner_text() for line in lines}


def call(visit, stage, module, expression):
    """Return what an expression over the exports of one of the page's modules gives."""
    page = visit(stage.url).open()
    return page.evaluate(f"async () => {{ const m = await import('/static/{module}.js'); return {expression}; }}")


def test_metrics_are_listed_and_searched(visit, stage):
    """By name, unit, kind, service and description; one click opens the chart."""
    page = visit(stage.url).open("/metrics")
    rows = page.get_by_role("list", name="Metrics").get_by_role("listitem")
    expect(rows).to_have_count(4)
    page.get_by_role("searchbox").fill("gauge memory")
    expect(rows).to_have_count(1)
    rows.get_by_role("link").click()
    expect(page).to_have_url(f"{stage.url}/metrics/process.memory.usage")
    expect(chart(page, "Value")).to_be_visible()


def test_a_counter_is_shown_as_a_rate_or_as_its_total(visit, stage):
    """50 items in 10 s are 5 a second; the total ends at 2,950."""
    page = visit(stage.url).open("/metrics/llmon.progress.items")
    assert reading(page, "Rate") == {"operation=embed": "5 item/s"}
    page.get_by_role("combobox", name="Show").select_option("Total")
    assert reading(page, "Total", 0.999) == {"operation=embed": "2.95k item"}


def test_a_gauge_is_a_line_in_units_that_people_read(visit, stage):
    """Bytes as MiB, a utilization as percent."""
    page = visit(stage.url).open("/metrics/process.memory.usage")
    [value] = reading(page, "Value").values()
    assert re.fullmatch(r"3[0-4]\d MiB", value)
    page = visit(stage.url).open("/metrics/process.cpu.utilization")
    [value] = reading(page, "Value").values()
    assert re.fullmatch(r"[2-5]\d(\.\d)? %", value)


def test_a_histogram_is_percentiles_and_a_heat_map(visit, stage):
    """Three lines in order, cells of counts, a mean and a number of observations."""
    page = visit(stage.url).open("/metrics/llmon.phase.duration")
    read = reading(page, "Percentiles")
    assert list(read) == ["p99", "p95", "p50"]
    assert all(re.fullmatch(r"[\d.]+ m?s", value) for value in read.values())
    expect(page.locator(".key")).to_contain_text("observations 1,500")
    cells = chart(page, "Distribution").locator("rect.cell")
    assert cells.count() > 100
    counts = reading(page, "Distribution")
    assert all(count.isdigit() for count in counts.values())
    assert all(re.search(r"\d (m?s|min)", bucket) for bucket in counts)


def test_an_exemplar_leads_to_its_trace(visit, stage):
    """From a slow measurement in the chart to the span that was measured."""
    page = visit(stage.url).open("/metrics/llmon.phase.duration")
    mark = chart(page, "Percentiles").get_by_role("link", name="Exemplar 940 ms, to its trace")
    mark.click()
    expect(page).to_have_url(f"{stage.url}/trace/{stage.trace_id}?span={stage.span_id('chat')}")
    expect(page.get_by_role("complementary", name="Span chat qwen3-8b")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.locator(".exemplar-row").click()
    expect(page).to_have_url(f"{stage.url}/trace/{stage.trace_id}?span={stage.span_id('chat')}")


def test_a_chart_is_read_by_keyboard_too(visit, stage):
    """The arrows move the crosshair, and what it reads is said."""
    page = visit(stage.url).open("/metrics/llmon.progress.items")
    chart(page, "Rate").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("status").filter(has_text="operation=embed 5 item/s")).to_be_attached()


def test_series_are_told_apart_and_can_be_picked(visit, viewer):
    """Twenty series: twelve are drawn, the legend narrows and picks, and one alone is one click away."""
    now = time.time_ns()
    with world(viewer.otlp_url) as to:
        for index in range(20):
            points = [(now - (5 - beat) * 10 * SECOND, float(index + beat)) for beat in range(5)]
            to.metric("queue.depth", "1", scene.level(points, {"queue": f"q{index:02}", "zone": "eu"}))
    page = visit(viewer.page_url).open("/metrics/queue.depth")
    lines = chart(page, "Value").locator("path.line")
    expect(lines).to_have_count(12)
    expect(page.get_by_text("queue=q00", exact=True)).to_be_visible()
    page.get_by_role("searchbox", name="Filter the series").fill("q19")
    page.get_by_role("checkbox").check()
    expect(lines).to_have_count(13)
    page.get_by_role("button", name="Only queue=q19").click()
    expect(lines).to_have_count(1)
    assert reading(page, "Value", 0.999) == {"queue=q19": "23"}


def test_new_points_are_drawn_while_one_looks(visit, viewer):
    """A gauge that is exported again grows its line."""
    with world(viewer.otlp_url) as to:
        to.metric("heat", "1", scene.level([(time.time_ns() - 20 * SECOND, 20.0)]))
        page = visit(viewer.page_url).open("/metrics/heat")
        expect(page.locator("td.number")).to_have_text("20")
        to.metric("heat", "1", scene.level([(time.time_ns(), 30.0)]))
        expect(page.locator("td.number")).to_have_text("30")


def test_a_metric_that_ended_long_ago_is_shown_when_it_was(visit, viewer):
    """The last hour holds nothing, so everything is shown."""
    then = time.time_ns() - 5 * 3600 * SECOND
    with world(viewer.otlp_url) as to:
        to.metric("old", "s", scene.level([(then + beat * 10 * SECOND, 0.25) for beat in range(4)]))
    page = visit(viewer.page_url).open("/metrics/old")
    assert list(reading(page, "Value").values()) == ["250 ms"]


def test_a_program_that_exported_once_has_its_histogram_shown(visit, viewer):
    """Short scripts export at their end only: what they counted is all there is."""
    now = time.time_ns()
    with world(viewer.otlp_url) as to:
        to.metric("once", "s", scene.histogram([(now, [0.02, 0.2, 0.2])]))
        to.metric("items", "{item}", scene.total([(now, 7)]))
    page = visit(viewer.page_url).open("/metrics/once")
    expect(page.locator(".key")).to_contain_text("observations 3")
    assert reading(page, "Percentiles")["p50"].endswith("ms")
    page = visit(viewer.page_url).open("/metrics/items")
    assert list(reading(page, "Total").values()) == ["7 item"]


def test_a_short_program_has_its_rate_drawn_from_its_start(visit, viewer):
    """It exported once, 20 s after its beginning: 60 items are 3 a second all that time, and so is its histogram."""
    now = time.time_ns()
    counted, waited = scene.total([(now, 60)]), scene.histogram([(now, [0.02, 0.2, 0.2])])
    for held in (counted, waited):
        held.data_points[0] = dataclasses.replace(held.data_points[0], start_time_unix_nano=now - 20 * SECOND)
    with world(viewer.otlp_url) as to:
        to.metric("items", "{item}", counted)
        to.metric("waits", "s", waited)
    page = visit(viewer.page_url).open("/metrics/items")
    for share in (0.01, 0.99):
        assert list(reading(page, "Rate", share).values()) == ["3 item/s"]
    page = visit(viewer.page_url).open("/metrics/waits")
    for share in (0.1, 0.9):
        assert set(reading(page, "Distribution", share).values()) <= {"1", "2"}
    box, cell = chart(page, "Distribution").bounding_box(), chart(page, "Distribution").locator("rect.cell").first
    assert cell.bounding_box()["width"] > 0.8 * box["width"]


def test_a_first_interval_is_drawn_where_all_of_it_was_asked_for(visit, stage):
    """Not where earlier points were left out, nor where the program began before the time that is shown."""
    points = [{"time": f"{second}000000000", "start": "4000000000", "value": 30} for second in (10, 20)]
    given = f"{{points: {points}, earlier: false}}"
    left_out = f"{{points: {points}, earlier: true}}"
    found = call(
        visit,
        stage,
        "series",
        f"[m.opening({given}), m.opening({given}, 4000), m.opening({given}, 5000),"
        f" m.opening({left_out}), m.reach([{given}]), m.reach([{left_out}]), m.rates({points}, 4000)]",
    )
    assert found == [4000, 4000, None, None, [4000, 20000], [10000, 20000], [[4000, 5], [10000, 5], [20000, 0]]]


def test_a_restart_counts_from_its_own_start(visit, stage):
    """A new process began 5 s before its first point, and did more than the one before it ever had."""
    given = [
        {"time": "10000000000", "start": "1000000000", "value": 10},
        {"time": "20000000000", "start": "15000000000", "value": 50},
    ]
    assert call(visit, stage, "series", f"m.rates({given})") == [[20000, 10]]


def test_quantiles_interpolate_within_their_bucket(visit, stage):
    """100 values, evenly in (0, 1] and (1, 2]: the median is 1, p95 is 1.9; nothing is nothing."""
    half = "{edges: [1, 2], buckets: [50, 50, 0], low: null, high: null}"
    found = call(visit, stage, "series", f"[m.quantile({half}, 0.5), m.quantile({half}, 0.95)]")
    assert found == pytest.approx([1.0, 1.9])
    assert call(visit, stage, "series", "m.quantile({edges: [1], buckets: [0, 0], low: null, high: null}, 0.5)") is None
    beyond = "{edges: [1], buckets: [0, 4], low: 1.5, high: 8}"
    assert call(visit, stage, "series", f"m.quantile({beyond}, 1)") == 8


def test_rates_survive_a_restart_and_leave_holes_open(visit, stage):
    """A counter that fell began again at zero; no line is drawn over ten minutes without a point."""
    points = [(0, 10), (10, 30), (20, 5), (30, 15), (630, 20), (640, 30)]
    given = [{"time": f"{seconds}000000000", "value": value} for seconds, value in points]
    found = call(visit, stage, "series", f"m.rates({given})")
    assert [rate for _, rate in found] == pytest.approx([2, 0.5, 1, None, 5 / 600, 1])


def test_histograms_with_other_edges_add_up(visit, stage):
    """A bucket that another's edge cuts gives each half its share."""
    one = "{edges: [1, 3], buckets: [2, 4, 0], count: 6, sum: 9, low: null, high: null}"
    other = "{edges: [2], buckets: [0, 5], count: 5, sum: 15, low: null, high: 9}"
    found = call(visit, stage, "series", f"m.together([{one}, {other}])")
    assert (found["edges"], found["count"], found["high"]) == ([1, 2, 3], 11, 9)
    assert sum(found["buckets"]) == 11
    assert found["buckets"][:2] == [2, 2]


def test_differences_of_a_histogram_that_began_again_are_what_came_since(visit, stage):
    """A new process of the same name starts at nothing."""
    points = [
        {"time": f"{second}000000000", "count": sum(buckets), "sum": 1, "edges": [1], "buckets": buckets}
        for second, buckets in ((0, [4, 0]), (10, [6, 1]), (20, [1, 0]))
    ]
    found = call(visit, stage, "series", f"m.differences({points})".replace("None", "null"))
    assert [one["buckets"] for one in found] == [[4, 0], [2, 1], [1, 0]]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (('{unit: "s"}', 0.0002, 0.00015), "150 µs"),
        (('{unit: "s"}', 7200, 5400), "1.5 h"),
        (('{unit: "ms"}', 1500, 1500), "1.5 s"),
        (('{unit: "By"}', 3 * 2**30, 1.5 * 2**30), "1.5 GiB"),
        (('{unit: "1", name: "hw.gpu.utilization"}', 0.9, 0.25), "25 %"),
        (('{unit: "1", name: "queue.depth"}', 40, 12), "12"),
        (('{unit: "{token}"}', 20000, 15000), "15k token"),
        (('{unit: "constructor"}', 20, 15), "15 constructor"),
    ],
)
def test_units_are_written_as_people_read_them(visit, stage, written, text):
    """Small times in µs, memory in GiB, shares in percent; a depth is no share."""
    metric, largest, value = written
    assert call(visit, stage, "format", f"m.scale({metric}, {largest}).text({value})") == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (1500, "1.5 µs"),
        (12_345_678, "12.3 ms"),
        (2_000 * MS, "2 s"),
        (61 * SECOND, "1 min 01 s"),
        (7_200 * SECOND, "2 h"),
        (3_660 * SECOND, "1 h 01 min"),
    ],
)
def test_durations_have_three_figures(visit, stage, ns, text):
    """From nanoseconds to hours."""
    assert call(visit, stage, "format", f"m.duration({ns})") == text
