"""What is checked, as plain data: the kinds of targets, and the form of each of their options.

`llmon.yaml` and the functions of `otel_llmon.checks` are read by the same table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from otel_llmon import forms
from otel_llmon.forms import Form, Headers
from otel_llmon.prices import NotAllowedError

_SECRET = re.compile(
    r"([?&;][^=&;#\s]*(?:key|token|secret|passw|auth|signature)[^=&;#\s]*=)[^&;#\s'\"]+", re.IGNORECASE
)
SHAPE = 'a mapping such as {"ollama": {"ollama": "localhost:11434", "every": 30}}'


@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """One thing that is checked. Its options are those that were said, checked and brought into their form."""

    name: str
    kind: str
    address: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __repr__(self) -> str:
        return f"Target({self.name!r}, {self.kind!r}, {self.told()!r}, {_shown(self.options)!r})"

    def told(self) -> str:
        """Return the address without the password that may be in it."""
        return without_password(self.address)


class Targets(tuple[Target, ...]):
    """The targets that the settings name."""

    __slots__ = ()

    def spelt(self) -> str:
        """Return them as JSON, without what headers hold; empty where there are none."""
        return json.dumps(self.plain()) if self else ""

    def plain(self) -> dict[str, dict[str, Any]]:
        """Return them as the file has them, without what headers hold."""
        return {each.name: {each.kind: each.told(), **_shown(each.options)} for each in self}


def without_password(text: str) -> str:
    """Return text with no password in its URLs, nor what their queries call a key, a token or a secret."""
    return re.sub(_SECRET, r"\1***", re.sub(r"//[^/?#\s]*@", "//***@", text))


def refused(raw: object) -> str:
    """Return what is no address as a message shows it: a password may stand anywhere before the @ of one."""
    before, at, after = str(raw).rpartition("@")
    scheme = before[: before.find("//") + 2] if "//" in before else ""
    return without_password(repr(f"{scheme}***@{after}" if at else raw))


def target(kind: str, name: object, address: object, options: Mapping[str, Any]) -> Target:
    """Return a target of this kind; raises NotAllowedError for what is not allowed."""
    if not isinstance(name, str) or not name.strip() or len(name) > 128 or not name.isprintable():
        raise NotAllowedError("", f": name {name!r}: expected a word or two, such as 'ollama'")
    where = f".{name}"
    known = {**OPTIONS[kind], **PLAN}
    for option in options:
        if option not in known:
            raise NotAllowedError(f"{where}.{option}", f": unknown option, {_nearest(str(option), known)}")
    given = {option: raw for option, raw in options.items() if raw is not None}
    form = ADDRESSES.get(kind)
    place = "" if form is None else _parsed(form, address, f"{where}.{kind}")
    return Target(
        name.strip(),
        kind,
        place,
        {option: _parsed(known[option], raw, f"{where}.{option}") for option, raw in given.items()},
    )


def _parsed(form: Form, raw: object, where: str) -> Any:
    try:
        return form.parse(raw)
    except NotAllowedError:
        raise
    except (ValueError, KeyError, OverflowError):
        found = "***" if form.secret else refused(raw)
        raise NotAllowedError(where, f"={found}: expected {form.expected}") from None


def _nearest(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    nearest = get_close_matches(name, list(known), n=1)
    return f"did you mean {nearest[0]!r}" if nearest else f"expected one of {', '.join(known)}"


def _targets(raw: object) -> Targets:
    if isinstance(raw, Targets):
        return raw
    if raw == "":
        return Targets()
    found = json.loads(raw, object_pairs_hook=_once) if isinstance(raw, str) else raw
    if not isinstance(found, Mapping):
        raise ValueError
    return Targets(_one(str(name), options) for name, options in found.items())


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise NotAllowedError("", f": {name!r} is there twice")
        found[name] = value
    return found


def _one(name: str, options: object) -> Target:
    if not isinstance(options, Mapping):
        raise NotAllowedError(f".{name}", f"={options!r}: expected a mapping such as {{http: https://host/health}}")
    kinds = [kind for kind in ADDRESSES if kind in options]
    if len(kinds) != 1:
        said = "found none" if not kinds else f"found {' and '.join(kinds)}"
        raise NotAllowedError(f".{name}", f": {said}, expected one of {', '.join(ADDRESSES)} with its address")
    [kind] = kinds
    return target(kind, name, options[kind], {option: raw for option, raw in options.items() if option != kind})


def _shown(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: dict.fromkeys(dict(value), "***") if isinstance(value, Headers) else value
        for name, value in options.items()
    }


# the forms of addresses and options


def _url(default_port: int | None = None) -> Form:
    """Return the form of a URL; with a default port a host will do, too."""

    def parse(raw: object) -> str:
        text = (
            forms.URL.parse(raw) if default_port is None or "//" in str(raw) else f"http://{_place(raw, default_port)}"
        )
        path = urlsplit(text).path if default_port is None else ""
        return str(text) if path else str(text).rstrip("/")

    example = "http://localhost:8000/health" if default_port is None else f"http://localhost:{default_port}"
    return Form(f"a URL such as {example}" + ("" if default_port is None else " or localhost"), parse)


def _place(raw: object, default_port: int | None = None) -> str:
    """Return `host:port`."""
    if not isinstance(raw, str) or re.search(r"[\s/@?#]", raw.removeprefix("tcp://")):
        raise ValueError
    parts = urlsplit(f"//{raw.removeprefix('tcp://')}")
    port = parts.port or default_port  # a port that is no number is noticed only here
    if not parts.hostname or not port:
        raise ValueError
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{port}"


def _path(raw: object) -> str:
    if not isinstance(raw, str) or not raw.startswith("/") or re.search(r"\s", raw):
        raise ValueError
    return raw


def _file(raw: object) -> str:
    import os

    path = os.fspath(raw) if isinstance(raw, str | os.PathLike) else ""
    if not isinstance(path, str) or not path:
        raise ValueError
    return path


def _text(raw: object) -> str:
    if not isinstance(raw, str) or not raw:
        raise ValueError
    return raw


def _pattern(raw: object) -> str:
    try:
        re.compile(_text(raw))
    except re.error as exc:
        raise ValueError from exc
    return str(raw)


def _statuses(raw: object) -> tuple[int, ...]:
    found = tuple(raw) if isinstance(raw, list | tuple | set | frozenset | range) else (raw,)
    if not found or any(type(each) is not int or not 100 <= each <= 599 for each in found):
        raise ValueError
    return found


def _values(raw: object) -> dict[str, Any]:
    if not isinstance(raw, Mapping) or not raw or not all(isinstance(path, str) and path for path in raw):
        raise ValueError
    return dict(raw)


def _texts(raw: object) -> dict[str, str]:
    found = _values(raw)
    if not all(isinstance(text, str) for text in found.values()):
        raise ValueError
    return found


def _retries(raw: object) -> int:
    if type(raw) is not int or not 0 <= raw <= 10:
        raise ValueError
    return raw


def _share(raw: object) -> float:
    share = forms.SECONDS.parse(raw)
    if share >= 1:
        raise ValueError
    return float(share)


TEXT = Form("text", _text)
MODEL = Form("the name of a model", _text)

ADDRESSES: Mapping[str, Form] = {
    "http": _url(),
    "tcp": Form("a host and a port, such as localhost:5432", _place),
    "ollama": _url(11434),
    "openai": _url(8000),
    "disk": Form("a folder", _file),
}
"""The kinds that a file can name, and what their address looks like."""

PLAN: Mapping[str, Form] = {
    "every": forms.SECONDS_ABOVE_ZERO,
    "timeout": forms.SECONDS_ABOVE_ZERO,
    "retries": Form("a whole number, 0 to 10", _retries),
    "rise": forms.COUNT,
    "fall": forms.COUNT,
    "required": forms.FLAG,
}
_SERVER: Mapping[str, Form] = {"headers": forms.HEADERS, "ca": Form("a file with certificates", _file)}

OPTIONS: Mapping[str, dict[str, Form]] = {
    "http": {
        **_SERVER,
        "method": forms.one_of(("get", "head")),
        "status": Form("a status such as 200, or a list of them", _statuses),
        "has": Form("a mapping of headers with what they contain", _texts),
        "contains": TEXT,
        "matches": Form("a regular expression", _pattern),
        "json": Form("a mapping such as {status: ok, data.0.id: x}", _values),
        "certificate_days": forms.NUMBER,
    },
    "tcp": {},
    "ollama": {**_SERVER, "model": MODEL},
    "openai": {**_SERVER, "model": MODEL, "health": Form("a path such as /health", _path)},
    "disk": {"free": Form("a share of the disk, 0 or more and below 1", _share)},
    "database": {"query": TEXT},
    "function": {},
}
CHECKS = Form(SHAPE, _targets, secret=True)
