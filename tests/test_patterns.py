"""Regular expressions that cannot hang: they mean what Python's mean, or are refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llmon.errors import LlmonError
from otel_llmon.scores import patterns
from otel_llmon.scores.patterns import Automaton, PatternError, matcher

LETTERS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", "A", "é"])
PATTERNS = st.recursive(
    LETTERS,
    lambda inner: (
        st.lists(inner, max_size=3).map("".join)
        | st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})")
        | st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "*?", "+?", "{2,}"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        )
        | inner.map(lambda found: f"^{found}")
        | inner.map(lambda found: f"{found}$")
    ),
    max_leaves=8,
)


@given(PATTERNS, st.lists(st.text("abAé1\n ", max_size=8), min_size=1, max_size=5), st.booleans())
def test_an_automaton_means_what_python_means(pattern, texts, ignore_case):
    """Also on texts that it reads after others, out of what it remembers."""
    compiled = re.compile(pattern, re.IGNORECASE if ignore_case else 0)
    automaton = Automaton(pattern, compiled.flags)
    accepts = matcher(pattern, ignore_case=ignore_case)
    for text in texts:
        if "\n" in text and "$" in pattern:
            continue  # Python's $ is also before a last line feed
        assert automaton(text) is (compiled.fullmatch(text) is not None)
        assert accepts(text) is automaton(text)


@pytest.mark.parametrize(
    ("pattern", "good", "hostile"),
    [
        (r"(a+)+", "aaa", "a" * 1000 + "!"),
        (r"(a|aa)+", "aaa", "a" * 1000 + "!"),
        (r"(a|a?)+b", "aab", "a" * 1000),
        (r"a*a*a*a*a*a*b", "ab", "a" * 1000),
        (r"(.*)(.*)(.*)(.*)[^a]", "ab", "a" * 1000),
        (r"([a-z]+)*=", "ab=", "a" * 1000),
        (r"(a?){30}a{30}", "a" * 30, "a" * 29),
        (r"^([^@]+\.)*[^@]+@([a-z]+\.)+[a-z]{2,}$", "a.b@c.de", "a." * 300),
    ],
)
def test_what_takes_pythons_matcher_for_ever_is_answered(pattern, good, hostile):
    """The test would not end, were it tried again and again."""
    accepts = matcher(pattern)
    assert accepts(good)
    assert not accepts(hostile)


def test_what_is_simple_is_left_to_python():
    """One choice at most: there is nothing to go back to."""
    for pattern in (r"\d{4}-\d\d-\d\d", "[A-Z]{2}[0-9]+", "yes|no", r"\d++\.\d*", r"(?P<a>x)\bz?"):
        assert not isinstance(matcher(pattern), Automaton)
    for pattern in (r"-?\d+", "(ab?)*", "[^@]+@[^@]+"):
        assert isinstance(matcher(pattern), Automaton)


@pytest.mark.parametrize(
    "pattern",
    [r"(a+)+\1", r"(a+)+(?=b)b", r"(\w+\b)+", "(?:(?i:a)+)+b+", "(?:a{1000}|b){1000}", "(?>a|ab)+c?", r"(?m)(a+)+$"],
)
def test_what_could_hang_and_has_no_automaton_is_refused(pattern):
    """References back, look-around, edges of words, counts that are too large."""
    with pytest.raises(PatternError, match=r"could take for ever on some texts .*; write it without") as caught:
        matcher(pattern)
    assert isinstance(caught.value, LlmonError)


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "[", 7, None, "(?P<x", "*"])
def test_what_is_no_pattern_is_refused(pattern):
    """With the way Python says it."""
    with pytest.raises(PatternError, match="expected a regular expression"):
        matcher(pattern)


def test_steps_are_forgotten_before_they_are_too_many(monkeypatch):
    """A text of ever new letters costs no more memory than there is for it."""
    monkeypatch.setattr(patterns, "MOST_STEPS", 100)
    accepts = Automaton("(.+)+!", re.UNICODE)
    assert accepts("".join(map(chr, range(0x4E00, 0x4E00 + 1000))) + "!")
    assert sum(map(len, accepts._steps.values())) <= 100
