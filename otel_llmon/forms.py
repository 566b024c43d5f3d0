"""What the value of a setting may look like: in words, and as a function that reads it or raises ValueError."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from otel_llmon.prices import Prices

LONGEST = 86400.0
"""Seconds of a day: nobody waits longer, and what waits takes no 1e300."""


class Headers(tuple[tuple[str, str], ...]):
    """HTTP headers, as pairs of name and value. What they hold may be a password and is printed nowhere."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(self.hidden())

    def hidden(self) -> str:
        """Return the names only."""
        return ",".join(f"{name}=***" for name, _ in self)


class Form(NamedTuple):
    """What a value must look like, in words and as a function that raises ValueError."""

    expected: str
    parse: Callable[[object], Any]
    secret: bool = False
    """Whether a wrong value must not be printed."""


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError
    return raw.strip()


def one_of(choices: tuple[str, ...]) -> Form:
    """Return the form of one of these words."""

    def parse(raw: object) -> str:
        word = _text(raw).lower()
        if word not in choices:
            raise ValueError
        return word

    return Form(f"{', '.join(choices[:-1])} or {choices[-1]}", parse)


def _names(raw: object) -> tuple[str, ...]:
    items = raw if isinstance(raw, list | tuple) else _text(raw).split(",")
    names = tuple(dict.fromkeys(name for item in items if (name := _text(item))))
    return () if names == ("none",) else names


def _number(raw: object) -> float:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise ValueError
    number = float(raw)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError
    return number


def _seconds(raw: object) -> float:
    seconds = _number(raw)
    if seconds > LONGEST:
        raise ValueError
    return seconds


def _seconds_above_zero(raw: object) -> float:
    seconds = _seconds(raw)
    if not seconds:
        raise ValueError
    return seconds


def _count(raw: object) -> int:
    count = int(raw) if isinstance(raw, str) else raw
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError
    return count


def _flag(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    return {"true": True, "false": False}[_text(raw).lower()]


def _url(raw: object) -> str:
    from urllib.parse import urlsplit

    url = _text(raw)
    parts = urlsplit(url)
    # A port that is no number is noticed only when it is read.
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or re.search(r"\s", url):
        raise ValueError
    return url


def _headers(raw: object) -> Headers:
    if isinstance(raw, Headers):
        return raw
    if isinstance(raw, Mapping):
        pairs = [(_text(name), _text(value)) for name, value in raw.items()]
    else:
        pairs = [_header(part) for part in _text(raw).split(",") if part.strip()]
    for name, value in pairs:
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(
            r"[\t\x20-\x7e\xa0-\xff]*", value
        ):
            raise ValueError
    return Headers(pairs)


def _header(part: str) -> tuple[str, str]:
    from urllib.parse import unquote

    name, sign, value = part.partition("=")
    if not sign:
        raise ValueError
    return name.strip(), unquote(value.strip())


TEXT = Form("a name", _text)
NAMES = Form("names with commas between them, or none", _names)
SECONDS = Form("a number of seconds, 0 to 86400", _seconds)
SECONDS_ABOVE_ZERO = Form("a number of seconds above 0, 86400 at most", _seconds_above_zero)
NUMBER = Form("a number, 0 or more", _number)
COUNT = Form("a whole number, 1 or more", _count)
FLAG = Form("true or false", _flag)
URL = Form("a URL such as http://localhost:4318", _url)
PRICES = Form('a mapping such as {"cpu_hour": 0.04, "models": {"gpt-4o": {"input": 2.5, "output": 10}}}', Prices.parse)
HEADERS = Form("name=value with commas between them, a comma in a value as %2C", _headers, secret=True)
