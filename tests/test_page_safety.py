"""What the viewer's page must be for everybody: safe with hostile text, readable, light and dark, wide and narrow."""

from __future__ import annotations

import datetime as dt
import re
import struct
import time
from pathlib import Path

import pytest
import scene
from browser import LOCAL
from scene import MS, SECOND, world

from otel_llmon.viewer import Viewer

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect

STATIC = Path(scene.__file__).parents[1] / "otel_llmon/viewer/static"
PICTURE = Path(scene.__file__).parents[1] / "docs/images/viewer.png"
SCRIPT = "<script>window.harmed = 1</script>"
IMAGE = '<img src="x" onerror="window.harmed = 2">'
SVG = '"><svg onload="window.harmed = 3"></svg>'
VIEWS = ("/", "/logs", "/metrics", "/metrics/llmon.phase.duration", "/metrics/process.memory.usage")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A viewer that was sent markup wherever text can be."""
    now = time.time_ns() - 5 * SECOND
    said = {
        **scene.chat(content=False),
        "gen_ai.request.model": SVG,
        "gen_ai.input.messages": f'[{{"role": "{SCRIPT}", "parts": [{{"type": "text", "content": "{SCRIPT}"}}]}}]',
        "gen_ai.output.messages": IMAGE,
        IMAGE: SCRIPT,
        "__proto__": IMAGE,
        "constructor": "javascript:alert(1)",
    }
    raised = {"exception.type": IMAGE, "exception.message": SCRIPT, "exception.stacktrace": f"{IMAGE}\n{SCRIPT}"}
    with Viewer(tmp_path_factory.mktemp("hostile"), LOCAL, LOCAL) as viewer:
        with world(viewer.otlp_url) as to:
            events = [(SCRIPT, now, {IMAGE: IMAGE}), ("exception", now, raised)]
            root = to.span(IMAGE, now, SECOND, None, SCRIPT, attributes=said, error=SCRIPT, events=events)
            to.span(
                SCRIPT, now + MS, SECOND, root, IMAGE, links=[scene.trace.Link(root.get_span_context(), {"a": IMAGE})]
            )
            for body in (IMAGE, SCRIPT, SVG):
                to.log(body, now + 2 * MS, root, SCRIPT, attributes={**raised, "k": body}, event=IMAGE)
            shown = {now: scene.exemplar(root, 0.2, now)}
            to.metric("hostile.wait", SCRIPT, scene.histogram([(now, [0.2])], {IMAGE: SCRIPT}, shown), IMAGE, SCRIPT)
            to.metric("hostile.level", "constructor", scene.level([(now, 2.0)], {IMAGE: SVG}), SCRIPT, IMAGE)
        yield viewer.page_url, f"{root.get_span_context().trace_id:032x}"


def unharmed(page):
    """Tell whether no markup came to life."""
    assert page.evaluate("() => window.harmed") is None
    assert page.locator("main :is(script, img, iframe, object), main svg[onload]").count() == 0


def test_markup_in_traces_is_shown_as_it_was_written(visit, hostile):
    """Span names, services, attributes, events, links, messages and errors, in list, waterfall and panel."""
    url, trace_id = hostile
    page = visit(url).open()
    row = page.locator("li.trace")
    expect(row).to_contain_text(IMAGE)
    expect(row).to_contain_text(SCRIPT)
    unharmed(page)
    page.goto(f"{url}/trace/{trace_id}")
    page.get_by_role("treeitem").first.click()
    panel = page.get_by_role("complementary")
    expect(panel.locator(".message.other pre")).to_have_text(SCRIPT)
    expect(panel.locator(".message.assistant")).to_contain_text(IMAGE)
    expect(panel.locator(".failure")).to_contain_text(SCRIPT)
    expect(panel.locator(".event .stack").first).to_contain_text(f"{IMAGE}\n{SCRIPT}")
    for key, value in ((IMAGE, SCRIPT), ("__proto__", IMAGE), ("constructor", "javascript:alert(1)")):
        shown = panel.get_by_role("table", name="Attributes", exact=True).locator("tr").filter(has_text=key).first
        expect(shown).to_contain_text(value)
    unharmed(page)
    page.get_by_role("treeitem").nth(1).click()
    expect(panel.get_by_role("heading", level=2)).to_have_text(SCRIPT)
    unharmed(page)


def test_markup_in_logs_is_shown_as_it_was_written(visit, hostile):
    """Bodies, event names, attributes."""
    page = visit(hostile[0]).open("/logs")
    rows = page.get_by_role("list", name="Log records, newest first").get_by_role("listitem")
    expect(rows).to_have_count(3)
    for body in (IMAGE, SCRIPT, SVG):
        row = rows.filter(has=page.locator(".said", has_text=body)).last
        expect(row).to_be_visible()
    for row in rows.all():
        row.get_by_role("button").first.click()
    expect(page.locator(".details").first).to_contain_text(SCRIPT)
    unharmed(page)


def test_markup_in_metrics_is_shown_as_it_was_written(visit, hostile):
    """Units, descriptions, series, read-outs and legends."""
    page = visit(hostile[0]).open("/metrics")
    expect(page.get_by_role("list", name="Metrics")).to_contain_text(SCRIPT)
    for name in ("hostile.wait", "hostile.level"):
        page.goto(f"{hostile[0]}/metrics/{name}")
        expect(page.locator(".meta")).to_contain_text(IMAGE if name == "hostile.wait" else SCRIPT)
        page.locator(".chart").first.hover()
        expect(page.locator(".readout").first).to_be_visible()
        expect(page.locator(".series")).to_contain_text(SVG if name == "hostile.level" else SCRIPT)
        unharmed(page)


TURNED = "a\u202egnp.exe"
SHOWN = "a⟨U+202E⟩gnp.exe"
HEBREW = "\u05d0\u05d1\u05d2"


def left(page, inside, text):
    """Return where each of the characters of a text is painted, from left to right."""
    return (
        page.locator(inside)
        .filter(has_text=text)
        .first.evaluate(
            """(element, text) => {
        const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
        let node;
        while ((node = walker.nextNode())) {
            const start = node.data.indexOf(text);
            if (start < 0) continue;
            return [...text].map((_, index) => {
                const range = document.createRange();
                range.setStart(node, start + index);
                range.setEnd(node, start + index + 1);
                return range.getBoundingClientRect().left;
            });
        }
    }""",
            text,
        )
    )


def test_text_that_turns_its_direction_is_shown_as_it_was_sent(visit, viewer):
    """A span's name, an attribute and a log with U+202E and its kin read from left to right, with the sign named."""
    now = time.time_ns() - 5 * SECOND
    with world(viewer.otlp_url) as to:
        root = to.span(TURNED, now, SECOND, attributes={TURNED: f"b\u2067{TURNED}", "gen_ai.output.messages": TURNED})
        to.log(TURNED, now, root, attributes={"k": TURNED})
        to.metric(TURNED, TURNED, scene.level([(now, 2.0)], {"k": TURNED}), TURNED)
    seen = visit(viewer.page_url)
    trace = f"/trace/{root.get_span_context().trace_id:032x}?span={root.get_span_context().span_id:016x}"
    for path in ("/", "/logs", "/metrics", trace):
        page = seen.open(path)
        expect(page.locator("main").get_by_text(SHOWN).first).to_be_visible()
        places = left(page, "main", SHOWN)
        assert places == sorted(places), path
        raw = page.evaluate(
            """() => [...document.querySelectorAll("*")].flatMap((one) => [one.title, one.ariaLabel,
            ...[...one.childNodes].map((node) => node.nodeType === 3 ? node.data : "")])
            .filter((text) => /[\\u202a-\\u202e\\u2066-\\u2069]/.test(text))"""
        )
        assert raw == [], path
        assert not re.search("[\u202a-\u202e]", page.title())
    expect(page.get_by_role("complementary").locator("tr").filter(has_text=f"b⟨U+2067⟩{SHOWN}")).to_be_visible()


def test_text_from_right_to_left_leaves_its_neighbours_alone(visit, viewer):
    """A service with a Hebrew name does not move the number behind it to its other side."""
    now = time.time_ns() - 5 * SECOND
    with world(viewer.otlp_url) as to:
        to.span(HEBREW, now, SECOND, None, HEBREW)
    page = visit(viewer.page_url).open()
    expect(page.locator("li.trace")).to_have_count(1)
    inline = page.evaluate(
        """() => [...document.querySelectorAll("main *, header *, footer *")].filter((one) => one.childNodes.length
        && [...one.childNodes].some((node) => node.nodeType === 3)).map((one) => getComputedStyle(one))
        .filter((style) => style.display === "inline" && style.unicodeBidi !== "isolate").length"""
    )
    assert inline == 0


def test_the_browser_would_refuse_markup_even_if_we_forgot(visit, stage):
    """Policy on policy: no markup from strings, no inline script or style, nothing from elsewhere."""
    seen = visit(stage.url)
    page = seen.open()
    expect(page.locator("li.trace").first).to_be_visible()
    for attempt in (
        "document.body.innerHTML = '<b>no</b>'",
        "document.body.insertAdjacentHTML('beforeend', '<b>no</b>')",
        "document.createElement('script').textContent = 'window.harmed = 1'",
    ):
        with pytest.raises(sync_api.Error, match="This document requires 'Trusted"):
            page.evaluate(f"() => {{ {attempt} }}")
    page.evaluate("() => document.body.setAttribute('style', 'color: rgb(1, 2, 3)')")
    assert page.evaluate("() => getComputedStyle(document.body).color") != "rgb(1, 2, 3)"
    assert page.evaluate("() => fetch('http://127.0.0.1:1/').then(() => 'sent', () => 'refused')") == "refused"
    said = "\n".join(seen.complaints)
    for directive in ("TrustedHTML", "style-src", "connect-src"):
        assert directive in said
    seen.complaints.clear()


def test_sources_hold_no_markup_from_strings_no_inline_style_and_no_address_elsewhere():
    """What the browser refuses should not be written in the first place."""
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|\bstyle=|@import"
    )
    elsewhere = re.compile(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-z0-9-]+\.[a-z]", re.IGNORECASE)
    files = [path for path in STATIC.iterdir() if path.suffix in (".js", ".css", ".html", ".svg")]
    assert len(files) > 10
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not forbidden.search(text), path.name
        assert not elsewhere.search(text), path.name


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_every_view_is_accessible(visit, stage, scheme, width):
    """Names, structure, room for a finger, and contrast computed from what is painted."""
    seen = visit(stage.url, color_scheme=scheme, viewport={"width": width, "height": 900})
    for path in VIEWS:
        page = seen.open(path)
        expect(page.locator("main li, main .chart").first).to_be_visible()
        assert seen.wrong_for_people() == [], path
    for name in ("rank", "chat"):
        page = seen.open(f"/trace/{stage.trace_id}?span={stage.span_id(name)}")
        expect(page.get_by_role("complementary")).to_be_visible()
        assert seen.wrong_for_people() == [], name
        page.get_by_role("button", name="Close the span").click()
        assert seen.wrong_for_people() == [], "waterfall"
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert seen.wrong_for_people() == [], "keys"


def test_an_empty_page_is_accessible(visit, viewer):
    """The first page that anybody sees."""
    seen = visit(viewer.page_url)
    expect(seen.open().locator(".empty code").first).to_be_visible()
    assert seen.wrong_for_people() == []


def test_the_check_finds_what_is_wrong(visit, stage):
    """A check that finds nothing proves nothing: grey on grey, a button without a name, an id twice."""
    seen = visit(stage.url)
    page = seen.open()
    expect(page.locator("li.trace").first).to_be_visible()
    page.evaluate(
        """() => {
        document.querySelector("li.trace .name").style.color = "rgb(190, 190, 190)";
        document.querySelector(".traces .bar").style.background = "rgb(240, 240, 240)";
        document.getElementById("theme").removeAttribute("aria-label");
        document.getElementById("theme").removeAttribute("title");
        document.getElementById("help").id = "live";
        document.querySelector("main input").removeAttribute("aria-label");
        document.querySelector("h1").remove();
    }"""
    )
    found = "\n".join(seen.wrong_for_people())
    for wrong in (
        "contrast 1.",
        "contrast of the mark",
        'button.icon "": has no name',
        "given twice",
        'input. "": has no name',
        "0 h1",
    ):
        assert wrong in found


@pytest.mark.parametrize("width", [400, 1600])
def test_nothing_is_wider_than_the_window(visit, stage, width):
    """No view scrolls sideways, and the page itself does not scroll."""
    seen = visit(stage.url, viewport={"width": width, "height": 900})
    for path in (*VIEWS, f"/trace/{stage.trace_id}", f"/trace/{stage.trace_id}?span={stage.span_id('chat')}"):
        page = seen.open(path)
        expect(page.locator("main li, main .chart, main .row").first).to_be_visible()
        sizes = page.evaluate(
            """() => [document.documentElement, document.querySelector("main"), document.querySelector(".side")]
            .filter(Boolean).map((box) => [box.scrollWidth - box.clientWidth, box.className])"""
        )
        assert [size for size in sizes if size[0] > 0] == [], path
        assert page.evaluate("() => document.documentElement.scrollHeight <= innerHeight")


def test_light_and_dark_follow_the_system_until_one_is_chosen(visit, stage):
    """The choice is kept in the browser, and is there before the first paint."""
    page = visit(stage.url, color_scheme="dark").open()
    ground = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(ground)
    assert dark != light
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate(ground) == dark
    page.reload()
    assert page.evaluate(ground) == dark
    page.keyboard.press("d")
    assert page.evaluate(ground) == light


def test_nothing_moves_for_those_who_asked_for_that(visit, stage):
    """With less motion no animation runs; without that wish the live dot breathes."""
    running = "() => document.getAnimations().length"
    assert visit(stage.url).open().evaluate(running) == 0
    assert visit(stage.url, reduced_motion="no-preference").open().evaluate(running) > 0


def test_a_service_keeps_its_colour(visit, stage):
    """In the list, in the waterfall, after a reload; and five services have five colours."""
    page = visit(stage.url).open("/?search=u-1824")
    dot = page.locator("li.trace .dot").first
    listed = dot.evaluate("dot => getComputedStyle(dot).backgroundColor")
    page.locator("li.trace a").first.click()
    legend = page.get_by_role("list", name="Services").get_by_role("listitem")
    expect(legend).to_have_count(4)
    colours = legend.locator(".dot").evaluate_all("all => all.map((dot) => getComputedStyle(dot).backgroundColor)")
    assert len(set(colours)) == 4
    assert colours[legend.all_inner_texts().index("answers")] == listed
    page.reload()
    expect(legend).to_have_count(4)
    assert (
        legend.locator(".dot").evaluate_all("all => all.map((dot) => getComputedStyle(dot).backgroundColor)") == colours
    )


def test_the_picture_of_the_readme_is_what_the_page_shows(visit, tmp_path, request):
    """One failing question with its model call; --update-golden rewrites the picture that the README shows."""
    end = 1_795_266_000 * SECOND  # 2026-11-21, 13:00 UTC
    with Viewer(tmp_path / "data", LOCAL, LOCAL) as viewer:
        with world(viewer.otlp_url) as to:
            spans = scene.populate(to, end, measured=False)  # old points would be thinned
        seen = visit(
            viewer.page_url, viewport={"width": 1360, "height": 900}, device_scale_factor=1.5, color_scheme="light"
        )
        seen.page.clock.set_fixed_time(dt.datetime.fromtimestamp(end / SECOND, dt.UTC))
        page = seen.open("/?search=u-1824")
        page.locator("li.trace a").first.click()
        page.locator(".row", has_text="chat qwen3-8b").click()
        expect(page.locator(".message.assistant")).to_be_visible()
        expect(page.locator("footer")).to_contain_text(f"{74 + 1} traces")
        page.locator("footer").evaluate(
            "footer => footer.querySelector('code').replaceChildren('http://127.0.0.1:4318')"
        )
        made = PICTURE if request.config.getoption("--update-golden") else tmp_path / "viewer.png"
        made.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=made, animations="disabled")
    assert f"{spans['root'].get_span_context().trace_id:032x}" in page.url
    assert size(made) == size(PICTURE) == (2040, 1350)


def size(picture):
    """Return the width and height of a PNG."""
    return struct.unpack(">II", picture.read_bytes()[16:24])
