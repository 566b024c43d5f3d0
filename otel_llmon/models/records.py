"""What a prediction says in the log: which are chosen, and how little of its features leaves.

Feature values leave only by name, or all but texts; hashed ones as a keyed hash, which needs the key to be tried out.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Collection, Iterable, Mapping
from datetime import date, time, timedelta
from math import isfinite
from numbers import Real
from time import time_ns
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import SeverityNumber

from otel_llmon import events, exporting, telemetry
from otel_llmon.errors import SettingsError
from otel_llmon.metering import values
from otel_llmon.models import converting, parts
from otel_llmon.models.classes import OTHER
from otel_llmon.telemetry import state

if TYPE_CHECKING:
    from otel_llmon.models.classes import Found
    from otel_llmon.scores.reference import Reference
    from otel_llmon.scores.surprise import Surprise

PREDICTION = "llmon.prediction"
OUTCOME = "llmon.prediction.outcome"
ANOMALY = "llmon.prediction.anomaly"

OFTEN = 64
"""Records between two looks at whether they can be sent as fast as they come."""
MOST_METADATA = 32
"""Keys of metadata that a record keeps."""
LONGEST = 128
"""Characters of a category that a reference knows."""
SHORTEST_KEY = 8
"""Characters of a key."""


class Privacy:
    """Which features leave this process, and how."""

    def __init__(
        self,
        send: bool | Collection[str],  # noqa: FBT001  # as users write it
        hashed: Collection[str],
        key: str | bytes | None,
        reference: Reference | None,
    ) -> None:
        self._all = send is True
        self._sent = _names("send_features", () if isinstance(send, bool) else send)
        self._hashed = _names("hash_features", hashed)
        self._key = _key(key)
        known = () if reference is None else reference.features
        self._levels = {one.name: one.levels.places for one in known if one.levels}
        self.silent = not (self._all or self._sent or self._hashed)
        """Whether no feature leaves."""

    def shown(self, features: Mapping[Any, Any], room: int) -> tuple[dict[str, Any], int]:
        """Return what leaves of these features in so many characters, and how many would have but for that."""
        shown: dict[str, Any] = {}
        left_out = 0
        for name, value in features.items():
            kept = self._kept(name, value)
            if kept is not None:
                called = values.text(name)
                room -= len(str(kept)) + len(called)
                if room < 0:
                    left_out += 1
                else:
                    shown[called] = kept
        return shown, left_out

    def _kept(self, name: Any, value: Any) -> Any:
        if name in self._hashed:
            found = str(converting.plain(value, state.longest))
            return hashlib.blake2b(found.encode("utf-8", "replace"), key=self._key, digest_size=8).hexdigest()
        if name in self._sent:
            return converting.plain(value, state.longest)
        if not self._all:
            return None
        kept = converting.plain(value, state.longest)
        if isinstance(kept, bool | int | float) or _is_moment(value):
            return kept
        known = self._levels.get(name)
        return None if known is None or not isinstance(kept, str) else kept if kept[:LONGEST] in known else OTHER


def _is_moment(value: Any) -> bool:
    return isinstance(value, date | time | timedelta) or type(value).__name__ in ("datetime64", "timedelta64")


def _names(what: str, given: Any) -> frozenset[Any]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise SettingsError(f'{what}={given!r}: expected names of features: ["age"]')
    try:
        return frozenset(given)
    except TypeError as exc:
        raise SettingsError(f'{what}={given!r}: expected names of features: ["age"]') from exc


def _key(given: Any) -> bytes:
    if given is None:
        return os.urandom(32)
    if not isinstance(given, str | bytes) or len(given) < SHORTEST_KEY:
        raise SettingsError(f"hash_key: expected {SHORTEST_KEY} characters or more, the same in all processes")
    return hashlib.blake2b(given.encode() if isinstance(given, str) else given, digest_size=32).digest()


def _rate(given: Any) -> float:
    rate = float(given) if type(given) is not bool and isinstance(given, Real) else -1.0
    if not 0 <= rate <= 1:
        raise SettingsError(f"sample_rate={given!r}: expected 0 to 1")
    return rate


class Records:
    """Log records of one model."""

    def __init__(self, who: Mapping[str, Any], sample_rate: float, privacy: Privacy, refuse: parts.Refuse) -> None:
        self._rate = _rate(sample_rate)
        self._common = {name: value for name, value in who.items() if value is not None} | {"sample_rate": self._rate}
        self._random = random.Random()  # noqa: S311  # the program's own generator stays as it was
        self.privacy, self._refuse = privacy, refuse
        self._sent = 0
        self.any = self._rate > 0
        """Whether any prediction has a record."""

    def renew(self) -> None:
        """Choose otherwise than the parent, in a forked child."""
        self._random.seed()

    def chosen(self, id: Any) -> bool:  # noqa: A002  # as everywhere here
        """Tell whether a prediction has a record; of one id everywhere the same, so that its truth has one too."""
        if self._rate >= 1:
            return True
        if id is None:
            return self._random.random() < self._rate
        return int.from_bytes(hashlib.blake2b(str(id).encode(), digest_size=6).digest()) < self._rate * 2**48

    def send(self, name: str, facts: Mapping[str, Any], features: Any = None, metadata: Any = None) -> None:
        """Send a record; a fact that is None is left out."""
        fields = self._common | {key: value for key, value in facts.items() if value is not None}
        if metadata is not None:
            fields |= parts.guarded("metadata", self._refuse, self._metadata, metadata) or {}
        body: Any = name
        if features is not None and not self.privacy.silent:
            found = parts.guarded("features", self._refuse, self._shown, features)
            if found is not None:
                shown, left_out = found
                body = {"event": name, "features": shown}
                fields |= {"features_left_out": left_out} if left_out else {}
        self._sent += 1
        if not self._sent % OFTEN:
            exporting.make_room("logs")
        events.send(telemetry.logger(), body, fields, SeverityNumber.INFO, "INFO", time_ns(), name)

    def anomaly(self, surprise: Surprise, id: str | None, found: Found) -> None:  # noqa: A002  # likewise
        """Tell that a prediction has a number as its reference all but excludes."""
        facts = {
            "model": self._common["model"],
            "version": self._common.get("version"),
            "id": id,
            "prediction": found.sent,
            "feature": surprise.feature,
            "side": surprise.side,
            "spreads": surprise.beyond if isfinite(surprise.beyond) else None,
            "features": surprise.features,
        }
        kept = {name: value for name, value in facts.items() if value is not None}
        events.event(ANOMALY, kept, "warning")
        events.note(ANOMALY, kept)

    def _shown(self, features: Mapping[Any, Any]) -> tuple[dict[str, Any], int]:
        return self.privacy.shown(features, state.longest)

    def _metadata(self, given: Any) -> dict[str, Any]:
        if isinstance(given, Mapping):
            return _metadata(given)
        self._refuse("metadata", f"found {type(given).__name__}, expected a mapping")
        return {}


def _metadata(metadata: Mapping[Any, Any]) -> dict[str, Any]:
    """Return metadata as fields of a record, so many keys and characters of it."""
    fields: dict[str, Any] = {}
    room, kept = state.longest, 0
    for key, value in metadata.items():
        plain = converting.plain(value, state.longest)
        if isinstance(plain, list | dict):
            plain = values.text(plain, state.longest)
        size = len(str(plain))
        if size <= room and kept < MOST_METADATA:
            room, kept = room - size, kept + 1
            if plain is not None:
                fields[f"metadata.{values.text(key)}"] = plain
    if kept < len(metadata):
        fields["metadata_left_out"] = len(metadata) - kept
    return fields
