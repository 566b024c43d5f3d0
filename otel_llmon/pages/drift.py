"""The page of a comparison: the verdict, a table of all features, and plots of those that moved most."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from otel_llmon.pages import plots
from otel_llmon.pages.histograms import histogram
from otel_llmon.pages.markup import Markup, joined, table, tag, void
from otel_llmon.scores.columns import Floats
from otel_llmon.scores.counting import PRESENT
from otel_llmon.scores.drift import Drift
from otel_llmon.scores.features import REST, Feature
from otel_llmon.scores.profile import Profile
from otel_llmon.scores.telling import Told, counted, outcome, percent
from otel_llmon.scores.verdicts import Verdict

MOST_PLOTS = 150
"""Features that are drawn; the table has all."""
MOST_LEVELS, MOST_TRACKS = 10, 4
STYLE = Path(__file__).with_name("drift.css").read_text(encoding="utf-8")


class About(NamedTuple):
    """What was compared with what, and when."""

    reference: str
    window: str
    made: str


def page(profile: Profile, drift: Drift, found: Sequence[Told], about: About) -> str:
    """Return the page of a comparison as HTML that fetches nothing and runs nothing."""
    body = tag(
        "main",
        None,
        tag("h1", None, "Drift report"),
        _verdict(drift, found),
        _facts(profile, drift, about),
        tag("h2", None, "Features"),
        tag(
            "div",
            {"class": "scroll overview", "tabindex": "0", "role": "region", "aria-label": "Features"},
            _overview(found),
        ),
        *_plots(profile, found),
        tag(
            "footer",
            None,
            "p is how likely chance alone does as much; an effect that is small is no drift, however unlikely it is.",
        ),
    )
    title = tag("title", None, f"llmon: {outcome(drift)}, {about.window} against {about.reference}")
    style = Markup(f"<style>{STYLE}</style>")
    head = tag("head", None, void("meta", {"charset": "utf-8"}), _policy(), _viewport(), title, style)
    return f"<!doctype html>\n{tag('html', {'lang': 'en'}, head, tag('body', None, body))}\n"


def _policy() -> Markup:
    """Return what the browser is told to refuse: everything but this style."""
    known = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    content = f"default-src 'none'; style-src 'sha256-{known}'; base-uri 'none'; form-action 'none'"
    return void("meta", {"http-equiv": "Content-Security-Policy", "content": content})


def _viewport() -> Markup:
    return void("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"})


def _verdict(drift: Drift, found: Sequence[Told]) -> Markup:
    said = counted(found)
    if drift.correlation and drift.correlation.changed:
        one = drift.correlation
        pair = f"most that of {one.pair[0]!r} and {one.pair[1]!r}, {one.before:.2f} → {one.now:.2f}"
        said.append(f"correlations changed, {pair}")
    name = outcome(drift)
    return tag(
        "div", {"class": f"verdict {name}"}, tag("b", None, name.capitalize()), tag("span", None, "; ".join(said))
    )


def _facts(profile: Profile, drift: Drift, about: About) -> Markup:
    reference = profile.reference
    facts = {
        "Window": f"{about.window}, {drift.rows:,} rows",
        "Reference": f"{about.reference}, {reference.rows:,} rows, {drift.reference}",
        "Model": " ".join(filter(None, (reference.model, reference.version))),
        "Reference made": reference.created or "",
        "Compared": about.made,
    }
    pairs = ((tag("dt", None, name), tag("dd", None, value)) for name, value in facts.items() if value)
    return tag("dl", None, *(joined(pair) for pair in pairs))


def _overview(found: Sequence[Told]) -> Markup:
    headings = ("Feature", "Verdict", "Effect", "p", "Direction", "What changed")
    return table(headings, (_cells(place, one) for place, one in enumerate(found)), "All features, the worst first")


def _cells(place: int, one: Told) -> Iterator[object]:
    drawn = place < MOST_PLOTS and one.drift.kind != "unknown"
    yield tag("a", {"href": f"#f{place}"}, one.drift.name) if drawn else one.drift.name
    yield _badge(one)
    yield from one.cells


def _badge(one: Told) -> Markup:
    return tag("span", {"class": f"badge {one.group}"}, one.drift.verdict.value)


def _plots(profile: Profile, found: Sequence[Told]) -> Iterator[Markup]:
    yield tag("h2", None, "Reference and window")
    yield _legend()
    places = {feature.name: place for place, feature in enumerate(profile.reference.features)}
    apart = cache(lambda: profile.reference.stack.judged(profile.counts, profile.totals).ks)  # of all tracks at once
    cards = [
        _card(profile, places[one.drift.name], one, number, apart)
        for number, one in enumerate(found[:MOST_PLOTS])
        if one.drift.name in places
    ]
    yield tag("div", {"class": "cards"}, *cards)
    if len(found) > MOST_PLOTS:
        yield tag("p", {"class": "quiet"}, f"Drawn are the {MOST_PLOTS} worst of {len(found):,}.")


def _legend() -> Markup:
    filled = tag(
        "svg", {"viewBox": "0 0 26 12", "aria-hidden": "true"}, tag("path", {"class": "before", "d": "M0 0H26V12H0Z"})
    )
    line = tag("svg", {"viewBox": "0 0 26 12", "aria-hidden": "true"}, tag("path", {"class": "now", "d": "M0 6H26"}))
    reference = tag("span", None, filled, "reference")
    window = tag("span", None, line, "window")
    return tag("div", {"class": "legend"}, reference, window, tag("span", None, "height: share of rows"))


def _card(profile: Profile, place: int, one: Told, number: int, apart: Callable[[], Floats]) -> Markup:
    feature = profile.reference.features[place]
    head = tag("header", None, tag("h3", None, feature.name), _badge(one))
    what = tag("p", None, "; ".join(one.what) or f"{feature.kind}, {one.drift.rows:,} rows with a value")
    pictures = tag("div", {"class": "pictures"}, *_pictures(_found_again(profile, place, one), place, feature, apart))
    several = "card several" if len(feature.tracks) > 1 else "card"
    return tag("section", {"class": several, "id": f"f{number}"}, head, what, pictures, _scores(one))


def _found_again(profile: Profile, place: int, one: Told) -> Profile:
    """Return a profile in which a feature under another name has the rows that are of that name."""
    if one.drift.verdict is not Verdict.RENAMED:
        return profile
    feature, rows = profile.reference.features[place], profile.strays[one.drift.name, one.drift.detail[0]]
    found = profile + Profile(profile.reference)
    found.tallies[place, PRESENT] = rows.sum()
    if feature.levels:
        found.levels[feature.name] = rows
    else:
        found.counts[profile.plan.tracks[place], : len(rows)] = rows
    return found


def _pictures(profile: Profile, place: int, feature: Feature, apart: Callable[[], Floats]) -> Iterator[Markup]:
    if feature.levels:
        rows = _levels(profile, place, feature)
        if rows:
            yield plots.of_levels(rows, f"{feature.name}: shares of rows by level, reference and window")
        return
    start = profile.plan.tracks[place]
    tracks = list(range(start, start + len(feature.tracks)))
    if len(tracks) == 1:
        yield _picture(profile, start, feature)
        return
    for track in sorted(tracks, key=lambda track: -float(apart()[track]))[:MOST_TRACKS]:
        name = profile.reference.tracks[track].name.removeprefix(f"{feature.name} ")
        yield tag("div", None, tag("h4", None, name), _picture(profile, track, feature))


def _picture(profile: Profile, place: int, feature: Feature) -> Markup:
    track = profile.reference.tracks[place]
    found = histogram(track, profile.counts[place], float(profile.lows[place]), float(profile.highs[place]))
    if found is None:
        return Markup()
    if feature.kind == "embedding":  # a direction has no unit of its own
        middle, spread = sum(track.centroids) / len(track.centroids), track.spread or 1.0
        found = replace(found, ends=tuple((end - middle) / spread for end in found.ends))
    return plots.of_numbers(found, f"{track.name}: shares of rows by value, reference and window")


def _levels(profile: Profile, place: int, feature: Feature) -> list[plots.Level]:
    """Return the levels that have most rows in either, the largest of the reference first, and the others as one."""
    levels = feature.levels
    assert levels
    before = np.array([*levels.counts, 0], dtype=np.float64) / max(feature.rows, 1)
    now = profile.levels[feature.name] / max(int(profile.tallies[place, PRESENT]), 1)
    names = [*("all others" if name == REST else name for name in levels.names), "new ones"]
    most = np.argsort(-np.maximum(before, now), kind="stable")[:MOST_LEVELS]
    shown = sorted(
        (int(each) for each in most if before[each] or now[each]), key=lambda each: (-before[each], -now[each])
    )
    found = [plots.Level(_named(names[each]), float(before[each]), float(now[each])) for each in shown]
    rest = (1 - sum(one.before for one in found), 1 - sum(one.now for one in found) if now.any() else 0.0)
    if max(rest) > 1e-9:
        found.append(plots.Level(f"{len(names) - len(shown)} more", max(rest[0], 0.0), max(rest[1], 0.0)))
    return found


def _named(name: str) -> str:
    """Return a level's name; an empty one can be seen."""
    return name if name.strip() else repr(name)


def _scores(one: Told) -> Markup:
    rows = [(name, percent(value) if name in _SHARES else f"{value:+.4g}") for name, value in one.drift.scores.items()]
    rows += [("p", f"{one.drift.p_value:.3g}"), ("rows with a value", f"{one.drift.rows:,}")]
    return tag("details", None, tag("summary", None, "all scores"), table(("score", "value"), rows, "Scores"))


_SHARES = frozenset({"missing", "infinite", "wrong type", "new levels"})
