"""Traces and metrics in a terminal: every line as a person sees it, at several widths, with and without colours."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from otel_llmon.backends.embedded import Metric, Point, Series
from otel_llmon.backends.records import Event, Span, Trace
from otel_llmon.terminal import TIMES, Table, Tree, Value, amount, newest

MS = 1_000_000
START = 1_795_000_000_000_000_000
ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def span(identity, parent, name, begin, took, **more):
    """A span, with times in milliseconds after the trace's start."""
    start = START + int(begin * MS)
    known = {"service": "notes", "kind": "internal"} | more
    return Span(ID, identity, parent, name, start=start, end=start + int(took * MS), **known)


def failed(kind, message):
    """What a failed span says."""
    event = Event("exception", START, {"exception.type": kind, "exception.message": message})
    return {"status": "error", "message": f"{kind}: {message}", "events": (event,)}


def tokens(given, answered):
    """What an LLM span says."""
    counts = {"gen_ai.usage.input_tokens": given, "gen_ai.usage.output_tokens": answered}
    return {"attributes": counts, "service": "models"}


def trace(*spans):
    """These spans as a trace."""
    return Trace(ID, spans)


BUSY = failed("openai.RateLimitError", "429, too many requests")
NOTES = trace(
    span("1", None, "notes", 0, 1000),
    span("2", "1", "load", 0, 61.5),
    span("3", "1", "embed", 62, 333),
    span("4", "1", "answer", 400, 520),
    span("5", "4", "retrieve", 400, 0.057),
    span("6", "4", "ask", 401, 118, **BUSY),
    span("7", "6", "chat busy", 402, 117, **BUSY, attributes={"gen_ai.request.model": "busy"}),
    span("8", "4", "ask", 520, 400),
    span("9", "8", "chat parrot-mini", 521, 398, **tokens(26, 9)),
    span("a", "1", "summarise", 992, 8),
)


def drawn(*what, width=80, **terminal):
    """Return what a console prints."""
    out = io.StringIO()
    console = Console(file=out, width=width, _environ={}, **terminal)
    for each in what:
        console.print(each)
    return out.getvalue()


@pytest.mark.parametrize("width", [46, 80, 120])
def test_a_trace_is_a_tree_with_bars(width, golden):
    """Names, durations, bars on one time line, tokens and the error's message, tidy at this width."""
    text = drawn(Tree(NOTES), width=width)
    assert max(map(len, text.splitlines())) <= width
    golden(f"trace-{width}.txt", text)


def test_colours_are_for_terminals(golden):
    """A pipe gets no control characters; a terminal gets errors in red and LLM calls in magenta."""
    assert "\x1b" not in drawn(Tree(NOTES))
    golden("trace-colours.txt", drawn(Tree(NOTES), force_terminal=True, color_system="standard"))


def test_a_terminal_that_knows_ascii_only_gets_ascii(golden):
    """Where the encoding holds no line characters, others stand in for them, and nothing fails."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    snapshot = trace(*NOTES.spans, span("b", "1", "größer", 995, 5))
    console = Console(file=out, width=80, _environ={})
    console.print(Tree(snapshot))
    console.print(Table([Value("llmon.phase.duration", "größer", f"1 {TIMES} 34.5 µs")]))
    out.flush()
    golden("trace-ascii.txt", out.buffer.getvalue().decode("ascii"))


def test_the_error_is_told_once():
    """A message that came up through several spans stands below the one where it began; all of them are marked."""
    text = drawn(Tree(NOTES))
    assert text.count("too many requests") == 1
    assert text.count("✗") == 2
    [told] = [number for number, line in enumerate(text.splitlines()) if "too many requests" in line]
    assert "chat busy" in text.splitlines()[told - 1]


def test_the_span_that_says_most_tells_the_error():
    """A client that knows the class only leaves it to the phase around it, which knows the message."""
    bare = {"status": "error", "message": "E", "events": ()}
    text = drawn(Tree(trace(span("1", None, "ask", 0, 9, **failed("E", "busy")), span("2", "1", "chat", 1, 8, **bare))))
    assert [line.strip("│ ") for line in text.splitlines() if "E" in line] == ["E: busy"]


def test_an_error_without_a_word_is_still_an_error():
    """A span that only says that it failed is marked and counted."""
    text = drawn(Tree(trace(span("1", None, "a", 0, 1, status="error"))))
    assert "✗ a" in text
    assert "1 error" in text


def test_a_missing_parent_is_said():
    """A span whose parent did not arrive stands at the root and says so."""
    text = drawn(Tree(trace(span("1", None, "root", 0, 9), span("3", "2", "lost", 1, 2))))
    assert [line.endswith("parent missing") for line in text.splitlines()] == [False, False, True]


def test_spans_that_are_each_others_parents_are_all_there():
    """A circle, or a span that is its own parent, is drawn once and to its end."""
    text = drawn(Tree(trace(span("1", "2", "egg", 0, 9), span("2", "1", "hen", 1, 2), span("3", "3", "self", 1, 2))))
    assert [text.count(name) for name in ("egg", "hen", "self")] == [1, 1, 1]


def test_a_tree_of_any_depth_is_drawn():
    """No depth is too deep for it."""
    spans = [span(str(at), str(at - 1) if at else None, f"level {at}", 0, 1) for at in range(1200)]
    assert "level 1199" in drawn(Tree(trace(*spans), most=1200), width=8000)


def test_only_so_many_spans_are_drawn():
    """The rest is counted."""
    spans = [span(str(at), None, f"span {at}", 0, 1) for at in range(30)]
    lines = drawn(Tree(trace(*spans), most=10)).splitlines()
    assert len(lines) == 1 + 10 + 1
    assert lines[-1] == "… and 20 more spans"


def test_names_move_no_cursor():
    """Control characters in what somebody sent reach no terminal, and a name stays on its line."""
    text = drawn(
        Tree(trace(span("1", None, "a\x1b[2J\r\nb", 0, 1, **failed("E\x07", "x\ny")))),
        Table([Value("m\x1b]0;t\x07", "s\n", "1")]),
        force_terminal=True,
        color_system=None,
    )
    assert not set(text) & set("\x1b\x07\r")
    assert len(text.splitlines()) == 5


def test_a_bracket_in_a_name_is_no_markup():
    """Names are printed as they are."""
    assert "[red]a[/]" in drawn(Tree(trace(span("1", None, "[red]a[/]", 0, 1))))


def test_a_trace_that_took_no_time_is_drawn():
    """Without a length of its own, each bar is one mark."""
    assert drawn(Tree(trace(span("1", None, "now", 0, 0)))).count("━") == 1


def histogram(count, total):
    """A histogram's point."""
    return Point(1, count=count, sum=total)


def metric(name, unit, **series):
    """A metric and its series, each with its points."""
    told = [Series("notes", {"a": which, "b": "same"}, tuple(points)) for which, points in series.items()]
    return Metric(name, unit, "counter", "A thing."), told


PHASES = metric("llmon.phase.duration", "s", embed=[histogram(1, 0.333)], ask=[histogram(1, 9.0), histogram(3, 0.8)])
ITEMS = metric("llmon.progress.items", "{item}", chunks=[Point(1, 3), Point(2, 1_234)])


@pytest.mark.parametrize("width", [40, 80])
def test_metrics_are_a_table(width, golden):
    """A line for each series, the name of the metric once, numbers under each other."""
    memory = metric("process.memory.usage", "By", x=[Point(1, 81_788_928)])
    text = drawn(Table([*newest(*PHASES), *newest(*ITEMS), *newest(*memory)]), width=width)
    assert max(map(len, text.splitlines())) <= width
    golden(f"metrics-{width}.txt", text)


def test_no_metrics_are_an_empty_table():
    """The heading alone."""
    assert drawn(Table([])) == "metric  series  value\n"


def test_the_newest_point_counts():
    """Of each series the last point is told, of a histogram how many and their mean; one without points is left out."""
    assert newest(*PHASES) == [
        Value("llmon.phase.duration", "ask", f"3 {TIMES} 267 ms"),
        Value("llmon.phase.duration", "embed", f"1 {TIMES} 333 ms"),
    ]
    assert newest(*metric("m", "1", x=[], y=[Point(1, 0.25)])) == [Value("m", "y same", "0.25")]
    assert newest(*metric("m", "s", x=[histogram(0, 0.0)])) == [Value("m", "x same", "none")]


def test_series_are_told_apart_by_what_differs():
    """What the others say as well is left out, and so is what adds nothing; a single one says everything."""
    assert [value.series for value in newest(*PHASES)] == ["ask", "embed"]
    assert [value.series for value in newest(*ITEMS)] == ["chunks same"]
    usage = Metric("gen_ai.client.token.usage", "{token}", "histogram", "Tokens.")
    told = [
        Series(
            "notes",
            {"gen_ai.token.type": kind, "gen_ai.response.model": f"{model}-2026", "gen_ai.request.model": model},
            (histogram(1, 8),),
        )
        for model in ("parrot", "owl")
        for kind in ("input", "output")
    ]
    assert [value.series for value in newest(usage, told)] == [
        "owl input",
        "owl output",
        "parrot input",
        "parrot output",
    ]


def test_services_are_told_apart_where_there_are_several():
    """The same attributes from two services are two series."""
    named, _ = PHASES
    told = [Series(service, {"llmon.phase": "ask"}, (histogram(1, 1.0),)) for service in ("a", "b")]
    assert [value.series for value in newest(named, told)] == ["a", "b"]


def test_the_telling_attributes_come_first():
    """A series of a metric of ours is called in the order of its row; that it went well needs no word."""
    told = {"llmon.outcome": "failure", "mine": "x", "llmon.pipeline": "notes", "llmon.phase": "ask"}
    named, _ = PHASES
    assert newest(named, [Series("s", told, (histogram(1, 1.0),))])[0].series == "ask notes failure x"
    told["llmon.outcome"] = "success"
    assert newest(named, [Series("s", told, (histogram(1, 1.0),))])[0].series == "ask notes x"


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0, "s", "0 s"),
        (0.0000000004, "s", "4e-10 s"),
        (0.0000345, "s", "34.5 µs"),
        (0.0123, "s", "12.3 ms"),
        (59.96, "s", "60.0 s"),
        (90, "s", "1.50 min"),
        (7200, "s", "120 min"),
        (0, "By", "0 B"),
        (1023, "By", "1,023 B"),
        (81_788_928, "By", "78 MiB"),
        (5 * 2**40, "By", "5,120 GiB"),
        (0.424, "1", "0.42"),
        (0.0012345, "1", "0.0012"),
        (1, "{item}", "1 item"),
        (12_345, "{token}", "12,345 tokens"),
        (-3, "{item}", "-3 items"),
        (7, "{series}", "7 series"),
        (6, "{file_descriptor}", "6 file descriptors"),
        (42.5, "W", "42.5 W"),
    ],
)
def test_amounts_are_written_for_people(value, unit, said):
    """Three digits that matter, in a unit of a fitting size."""
    assert amount(value, unit) == said
