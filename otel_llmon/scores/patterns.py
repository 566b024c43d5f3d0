"""Regular expressions in a time that grows with the text and no faster, whatever the pattern and the text.

Python's own matcher goes back and tries again, which for some patterns takes for ever on a text of thirty characters.
It is used where a pattern leaves it one choice at most; else the pattern becomes an automaton, which reads each
character once. What is neither is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from otel_llmon.errors import LlmonError

LONGEST = 1024
"""Characters of a text that is matched; a longer one does not match."""
MOST_STATES = 2000
MOST_STEPS = 20_000
"""Steps of an automaton that are remembered; then it forgets them all and begins to learn them anew."""
FINAL = -1

_parser: Any
_compiler: Any
try:
    from re import _compiler, _parser  # type: ignore[attr-defined,no-redef]  # Python's own, without a promise
except ImportError:  # a Python of later times
    _parser = _compiler = None


class PatternError(LlmonError, ValueError):
    """A regular expression that is none, or that could take for ever."""


def matcher(pattern: str, *, ignore_case: bool = False) -> Callable[[str], bool]:
    """Return what tells whether the whole of a text matches; raises PatternError."""
    flags = re.IGNORECASE if ignore_case else 0
    try:
        compiled = re.compile(pattern, flags)
    except (re.error, TypeError, OverflowError, RecursionError) as exc:
        raise PatternError(f"pattern {pattern!r}: {exc}, expected a regular expression") from None
    if _parser is not None and _choices(_parser.parse(pattern, flags)) <= 1:
        return lambda text: compiled.fullmatch(text) is not None
    try:
        return Automaton(pattern, compiled.flags)
    except (_UnfitError, RecursionError) as exc:
        raise PatternError(
            f"pattern {pattern!r}: could take for ever on some texts ({exc}); write it without look-around, references"
            " back and large counts of repeats, or check with a function of yours"
        ) from None


class _UnfitError(Exception):
    """A part of a pattern that an automaton cannot have."""


def _choices(nodes: Any) -> float:
    """Return how many choices a pattern leaves that can be taken back; a choice within a repeat counts for ever."""
    found = 0.0
    for operation, value in nodes:
        name = str(operation)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            least, most, inner = value
            inside = _choices(inner)
            found += float("inf") if inside else float(least != most and name != "POSSESSIVE_REPEAT")
        elif name == "BRANCH":
            found += 1 + sum(map(_choices, value[1]))
        elif name == "SUBPATTERN":
            found += _choices(value[-1])
        elif name not in _LEAVES and not name.startswith("AT"):
            return float("inf")
    return found


_LEAVES = ("LITERAL", "NOT_LITERAL", "ANY", "IN")


@dataclass
class _State:
    """A place in a pattern: where it goes on without reading, or what it reads and where it goes on then."""

    free: list[int] = field(default_factory=list)
    reads: Callable[[str], object] | None = None
    then: int = FINAL
    only: str = ""
    """`start` or `end` where the way without reading is open at an end of the text only."""


class Automaton:
    """A pattern as places, of which any number are held at once; steps between sets of them are remembered."""

    def __init__(self, pattern: str, flags: int) -> None:
        if _parser is None or flags & (re.MULTILINE | re.LOCALE):
            raise _UnfitError("not on this Python" if _parser is None else "lines of their own")
        parsed = _parser.parse(pattern, flags)
        self._parsed, self._flags = parsed.state, flags | parsed.state.flags
        self._states: list[_State] = []
        end = self._new(_State())
        self._start = self._nodes(parsed, end)
        self._end = end
        self._leaves: dict[Any, Callable[[str], object]] = {}
        self._steps: dict[frozenset[int], dict[str, frozenset[int]]] = {}
        self._known = 0
        self._first = self._closure([self._start], start=True)
        self._blank = self._ends(self._closure([self._start], start=True, end=True))

    def __call__(self, text: str) -> bool:
        """Return whether the whole of a text matches."""
        if not text:
            return self._blank
        here, steps = self._first, self._steps
        for letter in text:
            known = steps.get(here)
            there = known.get(letter) if known is not None else None
            here = self._step(here, letter) if there is None else there
            if not here:
                return False
        return self._ends(self._closure(here, end=True))

    def _step(self, here: frozenset[int], letter: str) -> frozenset[int]:
        found = [state.then for place in here if (state := self._states[place]).reads and state.reads(letter)]
        there = self._closure(found)
        if self._known >= MOST_STEPS:
            self._steps.clear()
            self._known = 0
        self._steps.setdefault(here, {})[letter] = there
        self._known += 1
        return there

    def _closure(self, places: Iterable[int], *, start: bool = False, end: bool = False) -> frozenset[int]:
        """Return all places that are reached without reading."""
        found: set[int] = set()
        left = list(places)
        while left:
            place = left.pop()
            if place in found:
                continue
            found.add(place)
            state = self._states[place]
            if not state.only or (state.only == "start" and start) or (state.only == "end" and end):
                left += state.free
        return frozenset(found)

    def _ends(self, places: frozenset[int]) -> bool:
        return self._end in places

    # from the pattern, last part first: each part is told where to go on

    def _new(self, state: _State) -> int:
        if len(self._states) >= MOST_STATES:
            raise _UnfitError("too large")
        self._states.append(state)
        return len(self._states) - 1

    def _nodes(self, nodes: Any, then: int) -> int:
        for node in reversed(list(nodes)):
            then = self._node(node, then)
        return then

    def _node(self, node: Any, then: int) -> int:
        operation, value = node
        name = str(operation)
        if name in _LEAVES:
            return self._new(_State(reads=self._leaf(node), then=then))
        if name == "BRANCH":
            return self._new(_State(free=[self._nodes(branch, then) for branch in value[1]]))
        if name == "SUBPATTERN":
            if value[1] or value[2]:
                raise _UnfitError("flags of a part")
            return self._nodes(value[3], then)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            return self._repeat(value, then)
        if name == "AT":
            return self._edge(str(value), then)
        raise _UnfitError(name.lower().replace("_", " "))

    def _repeat(self, repeat: Any, then: int) -> int:
        least, most, inner = repeat
        if most == _parser.MAXREPEAT:
            loop = self._new(_State())
            self._states[loop].free = [self._nodes(inner, loop), then]
            then = loop
        else:
            last = then
            for _ in range(most - least):
                then = self._new(_State(free=[self._nodes(inner, then), last]))
        for _ in range(least):
            then = self._nodes(inner, then)
        return then

    def _edge(self, where: str, then: int) -> int:
        ends = {"AT_BEGINNING": "start", "AT_BEGINNING_STRING": "start", "AT_END": "end", "AT_END_STRING": "end"}
        if where not in ends:
            raise _UnfitError("edges of words")
        return self._new(_State(free=[then], only=ends[where]))

    def _leaf(self, node: Any) -> Callable[[str], object]:
        """Return what reads one character: Python's own matcher of that part alone, so that it means the same."""
        part = _parser.SubPattern(self._parsed, [node])
        reads: Callable[[str], object] = _compiler.compile(part, self._flags).fullmatch
        return reads
