"""The report of a comparison: in a browser without a network, with hostile names, light and dark, and what it draws."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from otel_llmon.cli._output import write_file
from otel_llmon.pages import markup
from otel_llmon.pages.drift import MOST_LEVELS, MOST_PLOTS, About, page
from otel_llmon.pages.histograms import CELLS, histogram
from otel_llmon.scores.drift import compare
from otel_llmon.scores.profile import Profile, Reference
from otel_llmon.scores.telling import told

SCRIPT = "<script>window.harmed = 1</script>"
IMAGE = '"><img src="x" onerror="window.harmed = 2">'
TURNED = "a\u202egnp.exe"
PAGES = Path(markup.__file__).parent


def table(rng, rows, shift=0.0):
    """Return a column of every kind, hostile names and levels among them."""
    words = ["the", "cat", "sat", "on", "mats"]
    return {
        "size": rng.standard_normal(rows) + shift,
        SCRIPT: rng.lognormal(size=rows),
        IMAGE: rng.choice([SCRIPT, IMAGE, TURNED, ""], rows, p=[0.4 - shift / 5, 0.3, 0.2, 0.1 + shift / 5]).tolist(),
        TURNED: rng.poisson(2 + shift, rows),
        "half \ud800": rng.random(rows),
        "flag": rng.random(rows) < 0.3,
        "prompt": [" ".join(rng.choice(words, 3 + int(rng.integers(0, 6 + 6 * shift)))) for _ in range(rows)],
        "vector": rng.standard_normal((rows, 5)) + shift,
        "constant": np.ones(rows),
        "none": np.full(rows, np.nan),
        **({"extra </title>": np.zeros(rows)} if shift else {"gone": rng.random(rows)}),
    }


def report(before, now, about=About("r.json", f"{SCRIPT}.csv", "2026-11-21T13:00:00+00:00"), **options):  # noqa: B008
    """Return the page of a comparison."""
    reference = Reference.fit(before, kinds={"prompt": "text"} if "prompt" in before else None, **options)
    profile = Profile.of(now, reference)
    drift = compare(profile)
    return page(profile, drift, told(drift, profile), about)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A page in a file."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_file(path, report(table(rng, 2000), table(rng, 600, shift=1.0), model="m", version=SCRIPT))
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_it_is_accessible(visit, file, scheme, width):
    """Names, structure and contrast, computed from what is painted; no view scrolls sideways, nothing is asked for."""
    seen = visit(file.as_uri(), color_scheme=scheme, viewport={"width": width, "height": 900})
    opened = seen.open("")
    assert opened.locator("svg.plot").count() > 10
    assert seen.wrong_for_people() == []
    opened.locator("summary").first.click()
    assert seen.wrong_for_people() == []
    assert opened.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_light_and_dark_differ(visit, file):
    """As the system has it."""
    ground = "() => getComputedStyle(document.body).backgroundColor"
    assert (
        len({visit(file.as_uri(), color_scheme=scheme).open("").evaluate(ground) for scheme in ("light", "dark")}) == 2
    )


def test_markup_in_names_and_levels_is_shown_as_it_was_written(visit, file):
    """Of features, levels, the file, the version; nothing of it comes to life, nothing turns a line around."""
    opened = visit(file.as_uri()).open("")
    assert opened.evaluate("() => window.harmed") is None
    assert opened.locator("script, img, iframe, object, link, [onerror], [onload], [style]").count() == 0
    names = opened.locator(".card h3").all_inner_texts()
    for name in (SCRIPT, IMAGE, "a⟨U+202E⟩gnp.exe", "half ⟨U+D800⟩"):
        assert name in names
    assert opened.locator("tbody th", has_text="extra </title>").count() == 1
    assert SCRIPT in opened.title()
    assert f"m {SCRIPT}" in opened.locator("dd").all_inner_texts()
    levels = opened.locator(f"#f{names.index(IMAGE) + _unknown(opened)} text.name").all_text_contents()
    assert {level[:20] for level in levels} == {SCRIPT[:20], IMAGE[:20], "a⟨U+202E⟩gnp.exe"[:20], "''"}
    assert not re.search("[\u202a-\u202e\u2066-\u2069\ud800]", opened.content())


def _unknown(opened):
    """Return how many rows of the table have no card before those that have one."""
    rows = opened.locator(".overview tbody tr")
    return sum("unknown" in text for text in rows.all_inner_texts())


def test_the_browser_would_refuse_a_script_even_if_we_forgot(visit, file):
    """The page's own policy: no script, no other style, nothing from elsewhere."""
    seen = visit(file.as_uri())
    opened = seen.open("")
    picture = "<img src='http://127.0.0.1:1/x' onerror='window.harmed = 3'>"
    opened.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", picture)
    opened.evaluate(
        """() => {
        const script = document.createElement('script');
        script.textContent = 'window.harmed = 4';
        document.body.append(script);
        document.body.setAttribute('style', 'color: rgb(1, 2, 3)');
    }"""
    )
    assert opened.evaluate("() => window.harmed") is None
    assert opened.evaluate("() => getComputedStyle(document.body).color") != "rgb(1, 2, 3)"
    said = "\n".join(seen.complaints)
    for refused in ("Loading the image", "inline script", "inline style", "inline event handler"):
        assert refused in said
    seen.complaints.clear()
    seen.hosts = {""}


def _boxes(opened, card):
    """Return where the words and the bars of a plot lie: lists of (left, right, top, bottom)."""
    script = """found => found.map(one => {
        const box = one.getBoundingClientRect();
        return [box.left, box.right, box.top, box.bottom];
    })"""
    plots = opened.locator(f".card:has(h3:text-is('{card}'))")
    return [plots.locator(f"svg.plot {kind}").evaluate_all(script) for kind in ("text", "rect, path.before")]


def test_words_touch_neither_each_other_nor_a_bar(visit, tmp_path):
    """Of levels with long shares, and of large numbers: a date is a number of seconds."""
    rng = np.random.default_rng(0)
    before, now = (
        {
            "rare": rng.choice(["a", "b"], 4000, p=[0.9995, 0.0005]),
            "even": rng.choice(["a", "b"], 4000, p=[0.512 - shift, 0.488 + shift]),
            "when": 1.767e9 + rng.random(4000) * 1e7,
            "day": 1.767e9 + 86_400 * rng.integers(0, 12, 4000),
            "milliseconds": 1.767e12 + rng.random(4000) * 1e10,
        }
        for shift in (0.0, 0.093)
    )
    write_file(tmp_path / "r.html", report(before, now, ordered=False))
    opened = visit((tmp_path / "r.html").as_uri()).open("")
    for name in before:
        words, bars = _boxes(opened, name)
        assert len(words) >= 4
        for place, (left, right, top, bottom) in enumerate(words):
            for others, room in ((words[place + 1 :], 4), (bars if name in ("rare", "even") else [], 3)):
                for one in others:
                    apart = one[0] - right >= room or left - one[1] >= room or one[2] >= bottom or top >= one[3]
                    assert apart, (name, left, right, one)


def test_the_ends_of_a_plot_can_be_told_apart():
    """As precisely as they differ."""
    rng = np.random.default_rng(0)
    table = {"when": 1.767e9 + rng.random(2000) * 1e6, "day": 1.767e9 + 86_400 * rng.integers(0, 3, 2000)}
    text = report(table, table, ordered=False)
    labels = re.findall(r">(1,76[0-9,]+)<", text)
    assert len(labels) >= 3 + 3
    assert len(set(labels)) == len(labels)


def test_a_renamed_feature_is_drawn_with_the_rows_of_its_new_name():
    """Numbers as a line, levels as bars."""
    rng = np.random.default_rng(0)
    before, now = (
        {f"size{end}": rng.lognormal(size=2000), f"town{end}": rng.choice(["x", "y"], 2000, p=[0.7, 0.3])}
        for end in ("", " in the new form")
    )
    text = report(before, now)
    cards = {name: next(card for card in text.split("<section")[1:] if f"<h3>{name}</h3>" in card) for name in before}
    assert 'class="now" d=' in cards["size"]
    assert re.search(r"7\d(\.\d)? % → [67]\d(\.\d)? %|69\.\d % → ", cards["town"])


@pytest.mark.parametrize("gone", [False, True])
def test_bars_of_few_values_stand_above_their_value(gone):
    """Those of the window and those of the reference, also where there is only one of them."""
    rng = np.random.default_rng(0)
    before = {"other": rng.random(2000), "few": rng.integers(1, 5, 2000)}
    now = {"other": rng.random(900)} | ({} if gone else {"few": rng.integers(1, 4, 900)})
    card = next(card for card in report(before, now).split("<section")[1:] if "<h3>few</h3>" in card)
    ticks = [float(x) for x in re.findall(r'<text x="([0-9.]+)"[^>]* text-anchor="middle"', card)]
    for name, count in (("before", 4), ("now", 0 if gone else 3)):
        bars = re.findall(rf'class="{name}" d="M([0-9.]+) [0-9.]+V[0-9.]+H([0-9.]+)V', card)
        middles = [(float(left) + float(right)) / 2 for left, right in bars]
        assert middles == pytest.approx(ticks[:count], abs=0.1)


def test_the_table_leads_to_the_plots(visit, file):
    """The worst first, each with its verdict, and each but unknown columns with a plot."""
    opened = visit(file.as_uri()).open("")
    assert opened.locator(".verdict").inner_text().startswith("Drifted")
    rows = opened.locator(".overview tbody tr")
    verdicts = [text.split("\t")[1] for text in rows.all_inner_texts()]
    assert verdicts[:2] == ["absent", "unknown"]
    assert verdicts[-1] == "stable" or verdicts[-1] == "insufficient"
    link = rows.filter(has_text="size").locator("a")
    link.click()
    card = opened.locator(f".card{link.get_attribute('href')}")
    assert card.locator("h3").inner_text() == "size"
    assert card.evaluate("card => card.matches(':target') && card.getBoundingClientRect().top < innerHeight")


def test_a_shift_is_seen_in_the_picture(visit, file):
    """The window's line lies to the right of the reference's area, as far as its values moved."""
    opened = visit(file.as_uri()).open("")
    card = opened.locator(".card", has=opened.locator("h3", has_text=re.compile("^size$")))
    middles = card.evaluate(
        """card => ['path.before', 'path.now'].map((name) => {
          const path = card.querySelector(name).getAttribute('d');
          const points = path.match(/[\\d.]+ [\\d.]+/g).map((pair) => pair.split(' ').map(Number));
          const ground = Math.max(...points.map(([, y]) => y));
          const mass = points.map(([x, y]) => [x, ground - y]);
          return mass.reduce((sum, [x, y]) => sum + x * y, 0) / mass.reduce((sum, [, y]) => sum + y, 0);
        })"""
    )
    labels = [float(text) for text in card.locator("svg text").all_text_contents() if "%" not in text]
    width = card.evaluate("card => card.querySelector('svg').viewBox.baseVal.width") - 44
    moved = (middles[1] - middles[0]) / width * (max(labels) - min(labels))
    assert moved == pytest.approx(1.0, abs=0.25)


def test_it_is_one_file_that_names_nobody_else():
    """No address, no script, and the sources hold none."""
    rng = np.random.default_rng(1)
    text = report({"a": rng.random(100)}, {"a": rng.random(100)})
    sources = "".join(path.read_text(encoding="utf-8") for path in PAGES.iterdir() if path.suffix in (".py", ".css"))
    for found in (text, sources):
        assert not re.search(r"https?://|//[a-z0-9-]+\.[a-z]|@import|url\(|<script(?!>window)", found)


def test_odd_windows_have_a_page_too():
    """Empty, of five rows, all missing, infinite: each says its verdict, none fails to draw."""
    rng = np.random.default_rng(2)
    before = {
        "a": rng.standard_normal(500),
        "b": ["x", "y"] * 250,
        "prompt": ["so it is"] * 500,
        "v": rng.random((500, 3)),
    }
    windows = {
        "empty": {"a": [], "b": [], "prompt": [], "v": np.zeros((0, 3))},
        "insufficient": {name: column[:5] for name, column in before.items()},
        "all missing": {"a": [None] * 90, "b": [None] * 90, "prompt": [None] * 90, "v": [None] * 90},
        "infinite": {**before, "a": np.full(500, np.inf)},
        "new levels": {**before, "b": ["z", "w"] * 250},
        "absent": {"a": before["a"]},
        "constant": {**before, "a": np.zeros(500)},
        "stable": before,
    }
    for verdict, now in windows.items():
        text = report(before, now)
        assert f">{verdict}</span>" in text
        assert text.count("<svg") > 4
        assert "nan" not in re.sub(r"<style>.*</style>", "", text, flags=re.DOTALL)
        assert "inf " not in text


def test_of_many_features_the_worst_are_drawn():
    """The table has all, and says so; a feature of many levels shows the largest, and the rest as one."""
    rng = np.random.default_rng(3)
    count = MOST_PLOTS + 30
    before = {f"c{place}": rng.random(60) for place in range(count)}
    text = report(
        {**before, "word": [f"w{row % 40}" for row in range(60)]}, {**before, "word": ["w1"] * 60}, correlation=False
    )
    assert len(re.findall('class="card( several)?"', text)) == MOST_PLOTS
    assert f"Drawn are the {MOST_PLOTS} worst of {count + 1}." in text
    assert text.count('<th scope="row">') - 60 > count
    levels = {"word": [f"w{row % 40}" for row in range(4000)]}
    text = report(levels, levels)
    assert text.count('class="name"') == MOST_LEVELS + 1
    assert "31 more</text>" in text


def test_few_values_have_bars_and_many_have_cells():
    """A bar for each of few values, cells of one width for many, growing ones where the largest are far away."""
    rng = np.random.default_rng(4)
    counts = Reference.fit({"n": rng.poisson(2, 5000), "x": rng.standard_normal(5000), "p": rng.lognormal(3, 2, 5000)})
    few, many, wide = (_drawn(counts, name) for name in ("n", "x", "p"))
    assert few.discrete
    assert few.ends[:4] == (0, 1, 2, 3)
    assert few.before[0] == pytest.approx(np.exp(-2), abs=0.03)
    assert not many.discrete
    assert len(many.before) == CELLS
    assert sum(many.before) == pytest.approx(0.99, abs=0.005)
    assert np.allclose(np.diff(many.ends), np.diff(many.ends)[0])
    assert np.allclose(np.diff(np.log(wide.ends)), np.diff(np.log(wide.ends))[0])
    beyond = histogram(counts["n"].tracks[0], [0] * (counts["n"].tracks[0].binning.size - 1) + [10], 50, 50)
    assert beyond.outside == (0.0, 1.0)


def _drawn(reference, name):
    track = reference[name].tracks[0]
    return histogram(track, track.counts, track.low, track.high)


def test_markup_escapes_all_text_and_names_what_cannot_be_seen():
    """Also in attributes; markup itself stays."""
    inner = markup.tag("b", None, '1 < 2 & "3"', markup.Markup("<i>"))
    assert inner == "<b>1 &lt; 2 &amp; &quot;3&quot;<i></b>"
    assert markup.tag("a", {"href": '"x', "id": None}, "a\x00b\u2066\n") == '<a href="&quot;x">a⟨U+0000⟩b⟨U+2066⟩ </a>'
