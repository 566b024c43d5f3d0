"""A reference as one JSON file: a format with a version, and a hash that tells a damaged file from a whole one."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from otel_llmon.errors import LlmonError, reason
from otel_llmon.scores.binning import Binning
from otel_llmon.scores.clouds import Cloud
from otel_llmon.scores.correlation import Correlation
from otel_llmon.scores.features import Feature, Levels, Track
from otel_llmon.scores.reference import Reference

FORMAT, VERSION = "otel-llmon reference", 1
DIGITS = 12


class ReferenceFileError(LlmonError, ValueError):
    """A file holds no reference that can be read here."""


def digest(reference: Reference) -> str:
    """Return the hash of a reference's content."""
    return _digest(asdict(reference))


def dumps(reference: Reference) -> str:
    """Return a reference as text; raises ReferenceFileError where a part of it has no place in JSON."""
    content = asdict(reference)
    return json.dumps({"format": FORMAT, "version": VERSION, "hash": _digest(content), "reference": content})


def loads(text: str | bytes, source: str = "reference") -> Reference:
    """Return the reference that a text holds; raises ReferenceFileError, which says `source`, for what is none."""
    try:
        found = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as exc:
        raise ReferenceFileError(f"{source}: no JSON ({exc}), expected a file that a reference was saved in") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ReferenceFileError(f"{source}: no format {FORMAT!r}, expected a file that a reference was saved in")
    version, content = found.get("version"), found.get("reference")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ReferenceFileError(f"{source}: found version {version!r}, expected {VERSION}; save the reference again")
    if version > VERSION:
        raise ReferenceFileError(f"{source}: found version {version!r}, expected {VERSION} at most; update otel-llmon")
    if not isinstance(content, dict) or found.get("hash") != _digest(content):
        raise ReferenceFileError(f"{source}: damaged, its content and its hash differ; save the reference again")
    try:
        return _reference(content)
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise ReferenceFileError(f"{source}: incomplete ({exc!r}); save the reference again") from exc


def save(reference: Reference, path: Path) -> None:
    """Write a reference beside its place first, and then move it there."""
    if not path.name or "\0" in str(path):
        raise ReferenceFileError(f"{str(path)!r}: no name of a file, expected one to write the reference into")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(dumps(reference) + "\n", encoding="utf-8")
        beside.replace(path)
    except OSError as exc:
        beside.unlink(missing_ok=True)
        raise ReferenceFileError(f"{path}: not written, {reason(exc)}") from exc


def load(path: Path) -> Reference:
    """Return the reference in a file."""
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise ReferenceFileError(f"{path}: not read, {reason(exc)}") from exc
    except ValueError as exc:  # a name that no file can have
        raise ReferenceFileError(f"{str(path)!r}: not read, {exc}") from exc
    return loads(content, str(path))


def _no_number(name: str) -> None:
    raise ValueError(f"found {name}, which is none of its numbers")


def _digest(content: dict[str, Any]) -> str:
    """Return the hash of a content; when it was made makes no other reference of it."""
    known = {name: value for name, value in content.items() if name != "excluded" or value} | {"created": None}
    plain = json.dumps(known, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(plain.encode()).hexdigest()[:DIGITS]


def _reference(content: dict[str, Any]) -> Reference:
    pairs = content["correlation"]
    return Reference(
        **{
            **content,
            "features": tuple(map(_feature, content["features"])),
            "excluded": tuple(content.get("excluded", ())),
            "correlation": None if pairs is None else Correlation(**_tuples(pairs)),
        }
    )


def _feature(content: dict[str, Any]) -> Feature:
    levels, cloud = content["levels"], content["cloud"]
    return Feature(
        **{
            **content,
            "tracks": tuple(map(_track, content["tracks"])),
            "levels": None if levels is None else Levels(**_tuples(levels)),
            "cloud": None if cloud is None else Cloud(**_tuples(cloud)),
        }
    )


def _track(content: dict[str, Any]) -> Track:
    return Track(**{**_tuples(content), "binning": Binning(**_tuples(content["binning"]))})


def _tuples(content: dict[str, Any]) -> dict[str, Any]:
    """Return JSON's lists as the tuples that they were."""
    return {name: _tuple(value) for name, value in content.items()}


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value
