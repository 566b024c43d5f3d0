"""A person's way through the viewer's page: find a trace, read it, follow its logs, watch new ones come."""

from __future__ import annotations

import re
import time

import pytest
import scene
from browser import LOCAL, Visit
from opentelemetry._logs import SeverityNumber
from scene import MS, SECOND, world

from otel_llmon.viewer import Viewer

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect


def trace_rows(page):
    """Return the rows of the list of traces."""
    return page.get_by_role("list", name="Traces, newest first").get_by_role("listitem")


def span_row(page, name, nth=0):
    """Return a row of the waterfall by the name of its span."""
    return page.locator(".row").filter(has=page.locator(".name", has_text=re.compile(f"^{re.escape(name)}$"))).nth(nth)


def share(page, name):
    """Return where a span's bar begins and how long it is, in percent of the time axis."""
    bar = span_row(page, name).locator(".bar").bounding_box()
    track = span_row(page, name).locator(".track").bounding_box()
    return 100 * (bar["x"] - track["x"]) / track["width"], 100 * bar["width"] / track["width"]


def test_a_trace_is_found_by_its_text_and_opened(visit, stage):
    """Search looks into names and attributes; the newest is on top; the row says what the trace is."""
    page = visit(stage.url).open()
    expect(trace_rows(page)).to_have_count(50)
    expect(trace_rows(page).first).to_contain_text("pipeline answer")
    page.get_by_role("searchbox").fill("u-1824")
    expect(trace_rows(page)).to_have_count(5)
    first = trace_rows(page).first
    for said in ("answers", "14 spans", "2 s", "1 error"):
        expect(first).to_contain_text(said)
    first.get_by_role("link").click()
    expect(page).to_have_url(f"{stage.url}/trace/{stage.trace_id}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("pipeline answer")
    expect(page.get_by_role("treeitem")).to_have_count(14)


def test_a_pasted_trace_id_finds_its_trace(visit, stage):
    """Whoever has an id from a log file needs no other search."""
    page = visit(stage.url).open()
    page.get_by_role("searchbox").fill(stage.trace_id)
    expect(trace_rows(page)).to_have_count(1)


def test_filters_narrow_the_list_and_stay_in_the_address(visit, stage):
    """Service, errors, minimum duration; the address can be shared, and is understood when it is opened."""
    page = visit(stage.url).open()
    page.get_by_role("combobox", name="Service").select_option("answers")
    expect(trace_rows(page)).to_have_count(5)
    page.get_by_role("button", name="Errors only").click()
    expect(trace_rows(page)).to_have_count(1)
    assert page.url == f"{stage.url}/?service=answers&status=error"
    page.reload()
    expect(trace_rows(page)).to_have_count(1)
    expect(page.get_by_role("combobox", name="Service")).to_have_value("answers")
    expect(page.get_by_role("button", name="Errors only")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("textbox", name="Minimum duration").fill("3s")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Clear the filters").click()
    expect(trace_rows(page)).to_have_count(50)


@pytest.mark.parametrize(("text", "bad"), [("250 ms", False), ("1,5s", False), ("2m", False), ("soon", True)])
def test_a_minimum_duration_is_written_as_people_do(visit, stage, text, bad):
    """What cannot be read is marked, and filters nothing."""
    page = visit(stage.url).open()
    least = page.get_by_role("textbox", name="Minimum duration")
    least.fill(text)
    least.press("Tab")
    expect(least).to_have_attribute("aria-invalid", str(bad).lower())
    assert ("min=" in page.url) is not bad


def test_older_traces_are_loaded_when_asked_for(visit, stage):
    """75 traces are 50 and then 25; then there is nothing more to load."""
    page = visit(stage.url).open()
    page.get_by_role("button", name="Load more").click()
    expect(trace_rows(page)).to_have_count(75)
    expect(page.get_by_role("button", name="Load more")).to_be_hidden()
    times = page.locator("li.trace time").evaluate_all("all => all.map(one => one.dateTime)")
    assert times == sorted(times, reverse=True)


def test_bars_of_the_waterfall_lie_where_the_spans_were(visit, stage):
    """Of 2 s: `load` from 20 to 240 ms, `retrieve` from 810 to 1000, the chat from 1020 to 1960."""
    page = visit(stage.url).open(f"/trace/{stage.trace_id}")
    expect(page.get_by_role("treeitem")).to_have_count(14)
    assert share(page, "pipeline answer") == pytest.approx((0, 100), abs=0.3)
    assert share(page, "load") == pytest.approx((1, 11), abs=0.3)
    assert share(page, "retrieve") == pytest.approx((40.5, 9.5), abs=0.3)
    assert share(page, "chat qwen3-8b") == pytest.approx((51, 47), abs=0.3)
    levels = page.get_by_role("treeitem").evaluate_all("all => all.map(row => row.ariaLevel)")
    assert "".join(levels) == "12333233323323"
    marks = page.locator(".axis span").all_inner_texts()
    assert marks[:3] in (["0 ns", "500 ms", "1 s"], ["0 ns", "200 ms", "400 ms"], ["0 ns", "250 ms", "500 ms"])


def test_folding_hides_what_is_below_and_an_error_below_shows(visit, stage):
    """A folded span says how many it hides, and that one of them failed."""
    page = visit(stage.url).open(f"/trace/{stage.trace_id}")
    span_row(page, "retrieve").locator(".fold").click()
    expect(page.get_by_role("treeitem")).to_have_count(12)
    retrieve = span_row(page, "retrieve")
    expect(retrieve).to_have_attribute("aria-expanded", "false")
    expect(retrieve).to_have_attribute("aria-label", re.compile("2 spans below, 1 with an error"))
    page.get_by_role("button", name="Fold", exact=True).click()
    expect(page.get_by_role("treeitem")).to_have_count(5)
    page.get_by_role("button", name="Unfold").click()
    expect(page.get_by_role("treeitem")).to_have_count(14)
    page.get_by_role("button", name="Next error").click()
    expect(page.get_by_role("complementary")).to_contain_text("no answer within 2 s")


def test_a_part_of_the_time_can_be_looked_at(visit, stage):
    """Dragging over the axis zooms: what was a tenth of the width is then most of it; one key brings the whole back."""
    page = visit(stage.url).open(f"/trace/{stage.trace_id}")
    before = share(page, "load")[1]
    axis = page.locator(".axis").bounding_box()
    page.mouse.move(axis["x"] + 1, axis["y"] + 8)
    page.mouse.down()
    page.mouse.move(axis["x"] + axis["width"] * 0.125, axis["y"] + 8, steps=4)
    page.mouse.up()
    expect(page.get_by_role("button", name="Whole time")).to_be_visible()
    assert share(page, "load")[1] > 5 * before
    page.keyboard.press("0")
    expect(page.get_by_role("button", name="Whole time")).to_be_hidden()
    assert share(page, "load")[1] == pytest.approx(before)


def test_a_model_call_is_shown_as_what_was_asked_and_answered(visit, stage):
    """Model, provider, tokens, time to the first chunk, finish reason, and the conversation."""
    page = visit(stage.url).open(f"/trace/{stage.trace_id}")
    span_row(page, "chat qwen3-8b").click()
    panel = page.get_by_role("complementary", name="Span chat qwen3-8b")
    for said in ("qwen3-8b", "openai", "212 ms", "1,842 in, 126 out", "stop", "173 tokens/s"):
        expect(panel).to_contain_text(said)
    roles = panel.locator(".message header b").all_inner_texts()
    assert roles == ["system", "user", "assistant"]
    expect(panel.locator(".message.user")).to_contain_text(scene.QUESTION)
    expect(panel.locator(".message.assistant")).to_contain_text("audit records for 12 months")
    expect(panel.locator(".message.assistant")).to_contain_text("calls search")
    expect(panel.get_by_role("table", name="Attributes")).not_to_contain_text("gen_ai.input.messages")


def test_a_model_call_without_content_says_how_to_capture_it(visit, viewer):
    """Content is private by default, so most people see this first."""
    with world(viewer.otlp_url) as to:
        made = to.span("chat m", time.time_ns() - SECOND, SECOND, attributes=scene.chat(content=False))
    page = visit(viewer.page_url).open(f"/trace/{made.get_span_context().trace_id:032x}")
    page.get_by_role("treeitem").click()
    expect(page.get_by_role("complementary")).to_contain_text("OTEL_LLMON_CAPTURE_CONTENT=true")


def test_older_instrumentations_messages_are_read_from_their_events(visit, viewer):
    """One event per message, the content in an attribute."""
    now = time.time_ns() - SECOND
    events = [
        ("gen_ai.user.message", now, {"content": "why is the sky blue?"}),
        (
            "gen_ai.choice",
            now + MS,
            {"finish_reason": "stop", "message": '{"role": "assistant", "content": "Rayleigh"}'},
        ),
        ("toString", now + MS, {"content": "not a message"}),
    ]
    with world(viewer.otlp_url) as to:
        made = to.span("chat m", now, SECOND, attributes=scene.chat(content=False), events=events)
    page = visit(viewer.page_url).open(f"/trace/{made.get_span_context().trace_id:032x}")
    page.get_by_role("treeitem").click()
    messages = page.locator(".message")
    expect(messages).to_have_count(2)
    expect(messages.nth(0)).to_contain_text("why is the sky blue?")
    expect(messages.nth(1)).to_contain_text("Rayleigh")


def test_attributes_can_be_filtered_and_copied(visit, stage):
    """Ten attributes are narrowed to one, and its value lands in the clipboard."""
    page = visit(stage.url, permissions=["clipboard-read", "clipboard-write"]).open(f"/trace/{stage.trace_id}")
    span_row(page, "chat qwen3-8b").click()
    page.get_by_role("searchbox", name="Filter attributes").fill("address")
    rows = page.locator("table.attributes").first.locator("tr:visible")
    expect(rows).to_have_count(1)
    rows.first.hover()
    page.get_by_role("button", name="Copy the value of server.address").click()
    assert page.evaluate("() => navigator.clipboard.readText()") == "127.0.0.1"


def test_an_exception_shows_its_stack_trace(visit, stage):
    """In the panel of the span that failed, with the records that belong to it."""
    page = visit(stage.url).open(f"/trace/{stage.trace_id}?span={stage.span_id('rank')}")
    panel = page.get_by_role("complementary", name="Span rank")
    expect(panel).to_contain_text("TimeoutError")
    expect(panel.locator(".event .stack")).to_contain_text('File "answers/model.py", line 31, in score')
    expect(panel).to_contain_text("ranking failed, order kept")


def test_a_link_leads_to_the_other_trace(visit, viewer):
    """Batch work points to what it came from."""
    now = time.time_ns() - SECOND
    with world(viewer.otlp_url) as to:
        cause = to.span("cause", now, 5 * MS)
        link = scene.trace.Link(cause.get_span_context(), {"why": "retry"})
        made = to.span("effect", now + 10 * MS, 5 * MS, links=[link])
    page = visit(viewer.page_url).open(f"/trace/{made.get_span_context().trace_id:032x}")
    page.get_by_role("treeitem").click()
    page.get_by_role("complementary").get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("cause")
    expect(page.get_by_role("complementary", name="Span cause")).to_be_visible()


def test_a_log_of_the_trace_leads_to_its_span(visit, stage):
    """Logs stand below the waterfall in order of time."""
    page = visit(stage.url).open(f"/trace/{stage.trace_id}")
    logs = page.get_by_role("region", name="Logs of this trace").get_by_role("listitem")
    expect(logs).to_have_count(5)
    expect(logs.first).to_contain_text("+25 ms")
    logs.filter(has_text="ranking failed").get_by_role("button").click()
    expect(page.get_by_role("complementary", name="Span rank")).to_be_visible()
    expect(span_row(page, "rank")).to_have_attribute("aria-selected", "true")


def test_logs_are_searched_by_text_and_severity_and_lead_to_their_trace(visit, stage):
    """An error's record opens to its stack trace, and goes to the span that wrote it."""
    page = visit(stage.url).open("/logs")
    page.get_by_role("combobox", name="Severity").select_option("Errors and above")
    rows = page.get_by_role("list", name="Log records, newest first").get_by_role("listitem")
    expect(rows).to_have_count(1)
    rows.first.get_by_role("button").first.click()
    expect(rows.first.locator(".stack")).to_contain_text("raise TimeoutError")
    page.get_by_role("link", name="Open its trace").click()
    expect(page.get_by_role("complementary", name="Span rank")).to_be_visible()
    page.go_back()
    page.get_by_role("combobox", name="Severity").select_option("All severities")
    page.get_by_role("searchbox").fill("to read")
    expect(rows).to_have_count(5)


def test_a_record_without_a_severity_is_given_none(visit, viewer):
    """What nobody said is left open, rather than called the least severe."""
    with world(viewer.otlp_url) as to:
        to.log("just so", time.time_ns(), severity=SeverityNumber.UNSPECIFIED)
        to.flush()
        page = visit(viewer.page_url).open("/logs")
        row = page.get_by_role("list", name="Log records, newest first").get_by_role("listitem")
        expect(row).to_contain_text("just so")
        expect(row).not_to_contain_text("TRACE")


def test_new_traces_appear_without_losing_the_place(visit, viewer):
    """At the top they slide in; further down nothing moves, and a button says how many came."""
    with world(viewer.otlp_url) as to:
        now = time.time_ns()
        for index in range(40):
            to.span(f"old {index}", now - (index + 1) * SECOND, 5 * MS)
        to.flush()
        page = visit(viewer.page_url, viewport={"width": 1280, "height": 500}).open()
        expect(trace_rows(page)).to_have_count(40)
        to.span("first new", time.time_ns(), 5 * MS)
        to.flush()
        expect(trace_rows(page).first).to_contain_text("first new")
        page.locator("main").evaluate("main => main.scrollTo(0, 500)")
        read = trace_rows(page).filter(has_text="old 20")
        place = read.bounding_box()
        for index in range(3):
            to.span(f"newer {index}", time.time_ns(), 5 * MS)
        to.flush()
        offer = page.get_by_role("button", name="3 new traces")
        expect(offer).to_be_visible()
        assert read.bounding_box()["y"] == pytest.approx(place["y"], abs=1)
        offer.click()
        expect(trace_rows(page).first).to_be_in_viewport()
        expect(trace_rows(page).first).to_contain_text("newer 2")
        expect(offer).to_be_hidden()


def test_pausing_keeps_the_list_as_it_is(visit, viewer):
    """What comes meanwhile is counted, and there when live again."""
    with world(viewer.otlp_url) as to:
        to.span("before", time.time_ns() - SECOND, 5 * MS)
        to.flush()
        page = visit(viewer.page_url).open()
        expect(trace_rows(page)).to_have_count(1)
        page.get_by_role("button", name="Live").click()
        to.span("meanwhile", time.time_ns(), 5 * MS)
        to.flush()
        paused = page.get_by_role("button", name="Paused, 1 new")
        expect(paused).to_be_visible()
        expect(trace_rows(page)).to_have_count(1)
        paused.click()
        expect(trace_rows(page)).to_have_count(2)


def test_an_open_trace_grows_as_spans_arrive(visit, viewer):
    """A root comes last: until then its children stand alone, and say so."""
    start = time.time_ns() - 2 * SECOND
    with world(viewer.otlp_url) as to:
        parent = scene.trace.NonRecordingSpan(
            scene.trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=scene.trace.TraceFlags(1))
        )
        to.span("child", start + 100 * MS, 200 * MS, parent)
        to.flush()
        page = visit(viewer.page_url).open(f"/trace/{0xABC:032x}")
        expect(page.get_by_role("treeitem")).to_have_count(1)
        expect(page.get_by_role("treeitem")).to_contain_text("parent missing")
        to.span("second", start + 400 * MS, 200 * MS, parent)
        to.flush()
        expect(page.get_by_role("treeitem")).to_have_count(2)


def test_everything_can_be_reached_by_keyboard(visit, stage):
    """Search, pick, open, move in the tree, next error, next model call, back to the same row; keys are listed."""
    page = visit(stage.url).open()
    expect(trace_rows(page)).to_have_count(50)
    keys = page.keyboard
    keys.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    keys.type("u-1824")
    expect(trace_rows(page)).to_have_count(5)
    keys.press("Escape")
    keys.press("j")
    keys.press("ArrowDown")
    keys.press("k")
    expect(trace_rows(page).nth(0).get_by_role("link")).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_role("tree")).to_be_focused()
    expect(page.get_by_role("treeitem")).to_have_count(14)
    keys.press("j")
    keys.press("ArrowDown")
    expect(span_row(page, "load")).to_have_attribute("aria-selected", "true")
    keys.press("ArrowLeft")
    expect(span_row(page, "load")).to_have_attribute("aria-expanded", "false")
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    expect(span_row(page, "GET /documents/{id}")).to_have_attribute("aria-selected", "true")
    keys.press("e")
    expect(page.get_by_role("complementary", name="Span rank")).to_be_visible()
    keys.press("n")
    expect(page.get_by_role("complementary", name="Span chat qwen3-8b")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("complementary")).to_have_count(0)
    keys.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    keys.press("Backspace")
    expect(trace_rows(page)).to_have_count(5)
    expect(trace_rows(page).nth(0).get_by_role("link")).to_be_focused()
    keys.press("l")
    expect(page.get_by_role("heading", level=1)).to_have_text("Logs")
    keys.press("m")
    expect(page.get_by_role("heading", level=1)).to_have_text("Metrics")


def test_every_stop_of_the_tab_key_can_be_seen(visit, stage):
    """Whatever has the focus shows it."""
    page = visit(stage.url).open()
    expect(trace_rows(page)).to_have_count(50)
    stops = []
    for _ in range(14):
        page.keyboard.press("Tab")
        stops.append(
            page.evaluate(
                "() => [document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle]"
            )
        )
    assert len({tuple(stop) for stop in stops}) > 1
    assert [stop for stop in stops if stop[1] in ("none", "hidden")] == []


def test_a_trace_of_five_thousand_spans_costs_as_many_rows_as_fit(visit, viewer):
    """Two hundred levels deep; the last span is one key away."""
    start = time.time_ns() - 60 * SECOND
    with world(viewer.otlp_url) as to:
        root = parent = to.span("root", start, 60 * SECOND)
        for index in range(200):
            parent = to.span(f"deep {index}", start + index * MS, 30 * SECOND, parent, f"service {index % 14}")
        for index in range(4800):
            to.span(f"leaf {index}", start + index * 10 * MS, 8 * MS, root, "worker")
        to.flush()
    page = visit(viewer.page_url).open(f"/trace/{root.get_span_context().trace_id:032x}")
    expect(page.get_by_role("tree")).to_be_focused()
    expect(page.locator(".meta")).to_contain_text("5,001 spans")
    page.keyboard.press("End")
    expect(span_row(page, "leaf 4799")).to_be_in_viewport()
    assert page.get_by_role("treeitem").count() < 80
    page.keyboard.press("Home")
    expect(span_row(page, "root")).to_be_in_viewport()
    page.get_by_role("searchbox").fill("leaf 47")
    expect(page.get_by_text("111 spans", exact=True)).to_be_visible()
    page.get_by_role("searchbox").press("Enter")
    expect(span_row(page, "leaf 47")).to_be_in_viewport()


def test_spans_that_are_each_others_parents_are_all_shown(visit, viewer):
    """A broken program draws a ring; nobody waits for ever."""
    now = time.time_ns() - SECOND
    context = scene.trace.SpanContext

    def parent(span_id):
        return scene.trace.NonRecordingSpan(
            context(0x77, span_id, is_remote=False, trace_flags=scene.trace.TraceFlags(1))
        )

    with world(viewer.otlp_url) as to:
        first = to._ids._random.getstate()
        ids = [to._ids.generate_span_id() for _ in range(3)]
        to._ids._random.setstate(first)
        to.span("one", now, 5 * MS, parent(ids[1]))
        to.span("two", now + MS, 5 * MS, parent(ids[0]))
        to.span("hangs on", now + 2 * MS, MS, parent(ids[0]))
    page = visit(viewer.page_url).open(f"/trace/{0x77:032x}")
    expect(page.get_by_role("treeitem")).to_have_count(3)


def test_an_empty_viewer_says_what_to_do(visit, viewer):
    """The endpoint to set and the commands, ready to copy; and the first trace takes their place."""
    page = visit(viewer.page_url).open()
    expect(page.get_by_role("heading", name="Waiting for the first telemetry")).to_be_visible()
    expect(page.locator(".empty")).to_contain_text("llmon run -- python app.py")
    expect(page.locator(".empty")).to_contain_text(f"OTEL_EXPORTER_OTLP_ENDPOINT={viewer.otlp_url}")
    with world(viewer.otlp_url) as to:
        to.span("first", time.time_ns(), MS)
    expect(trace_rows(page)).to_have_count(1)
    expect(page.get_by_role("heading", name="Waiting for the first telemetry")).to_be_hidden()


@pytest.mark.parametrize(
    "path", ["/trace/" + "0" * 31 + "1", "/trace/nonsense", "/metrics/there.is.none", "/trace/%E0%A4%A"]
)
def test_an_address_of_nothing_says_so(visit, stage, path):
    """A link from an old log may lead to what was removed."""
    seen = visit(stage.url)
    page = seen.open(path)
    expect(page.get_by_role("alert")).to_be_visible()
    assert all("status of 40" in complaint for complaint in seen.complaints)
    seen.complaints.clear()


def test_the_page_finds_a_viewer_that_was_restarted(visit, tmp_path):
    """A quiet note while it is gone; afterwards everything goes on by itself."""

    def send(viewer: Viewer, name: str) -> None:
        with world(viewer.otlp_url, seed=hash(name)) as to:
            to.span(name, time.time_ns(), MS)

    def port(viewer: Viewer) -> tuple[str, int]:
        return "127.0.0.1", int(viewer.page_url.rpartition(":")[2])

    with Viewer(tmp_path / "data", LOCAL, LOCAL) as first:
        send(first, "before")
        seen: Visit = visit(first.page_url)
        page = seen.open()
        expect(trace_rows(page)).to_have_count(1)
        address = port(first)
    expect(page.get_by_role("banner")).to_contain_text("Reconnecting")
    with Viewer(tmp_path / "data", LOCAL, address) as second:
        expect(page.get_by_role("banner")).not_to_contain_text("Reconnecting")
        send(second, "after")
        expect(trace_rows(page)).to_have_count(2)
        assert all("ERR_" in complaint for complaint in seen.complaints), seen.complaints
        seen.complaints.clear()
