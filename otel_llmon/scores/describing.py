"""Text as numbers: what can be counted in a text, and which words it has, without a model of the language."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np

from otel_llmon.scores.binning import Ints
from otel_llmon.scores.columns import Floats

MEASURES = ("length", "words", "word length", "letters", "digits", "capitals", "foreign")
"""Characters; words; letters per word; shares of letters, digits, capitals and of what is not ASCII."""
LONGEST = 8192
"""Characters that are looked at; the length is that of the whole text."""
WORDS = 64
"""Buckets that words are counted in, by a checksum of each."""
WHOLE = 1024
"""What the counts of one text add up to, so that a long text weighs no more than a short one."""
_WORD = re.compile(r"\w+")


def measured(texts: Sequence[str]) -> Floats:
    """Return a row per measure and a column per text."""
    found = np.empty((len(MEASURES), len(texts)))
    for place, text in enumerate(texts):
        found[:, place] = _measure(text)
    return found


def _measure(text: str) -> tuple[float, ...]:
    head = text[:LONGEST]
    words, size = _WORD.findall(head), max(len(head), 1)
    letters = sum(map(str.isalpha, head))
    capitals = sum(map(str.isupper, head))
    digits = sum(map(str.isdecimal, head))
    foreign = len(head) - len(head.encode("ascii", "ignore"))
    mean = sum(map(len, words)) / max(len(words), 1)
    return (len(text), len(words), mean, letters / size, digits / size, capitals / size, foreign / size)


def bag(texts: Sequence[str]) -> Floats:
    """Return a row per text of how often its words fall into each bucket."""
    found = np.empty((len(texts), WORDS))
    for place, text in enumerate(texts):
        found[place] = _counted(text)
    return found


def _counted(text: str) -> Ints:
    words = _WORD.findall(text[:LONGEST].lower())
    buckets = [zlib.crc32(word.encode(errors="replace")) % WORDS for word in words]
    counts = np.bincount(np.array(buckets, dtype=np.int64), minlength=WORDS)
    return (counts * WHOLE) // max(len(words), 1)
