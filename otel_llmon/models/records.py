"""What a prediction says in the log: which are chosen, and how little of its features leaves.

Feature values leave only by name, or all but texts; hashed ones as a keyed hash, which needs the key to be tried out.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import SeverityNumber

from otel_llmon import events, exporting, telemetry
from otel_llmon.errors import SettingsError
from otel_llmon.metering import values
from otel_llmon.models import converting
from otel_llmon.telemetry import state

if TYPE_CHECKING:
    from otel_llmon.scores.reference import Reference

PREDICTION = "llmon.prediction"
OUTCOME = "llmon.prediction.outcome"
ANOMALY = "llmon.prediction.anomaly"

OFTEN = 64
"""Records between two looks at whether they can be sent as fast as they come."""
MOST_METADATA = 32
"""Keys of metadata that a record keeps."""
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
        kinds = {} if reference is None else {one.name: one.kind for one in reference.features}
        self._free = {name for name, kind in kinds.items() if kind == "categorical"}
        self.silent = not (self._all or self._sent or self._hashed)
        """Whether no feature leaves."""

    def shown(self, features: Mapping[Any, Any], room: int) -> tuple[dict[str, Any], int]:
        """Return what leaves of these features in so many characters, and how many would have but for that."""
        shown: dict[str, Any] = {}
        left_out = 0
        for name, value in features.items():
            kept = self._kept(name, value)
            if kept is not None:
                room -= len(str(kept)) + len(str(name))
                if room < 0:
                    left_out += 1
                else:
                    shown[values.text(name)] = kept
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
        return kept if isinstance(kept, bool | int | float) or name in self._free else _moment(value, kept)


def _moment(value: Any, kept: Any) -> Any:
    """Return what a moment is written as; None for a text, which leaves by its own name only."""
    named = type(value).__module__.partition(".")[0] in ("datetime", "pandas") or "datetime64" in str(type(value))
    return kept if named and not isinstance(value, str) else None


def _names(what: str, given: Any) -> frozenset[Any]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise SettingsError(f'{what}={given!r}: expected names of features: ["age"]')
    return frozenset(given)


def _key(given: Any) -> bytes:
    if given is None:
        return os.urandom(32)
    if not isinstance(given, str | bytes) or len(given) < SHORTEST_KEY:
        raise SettingsError(f"hash_key: expected {SHORTEST_KEY} characters or more, the same in all processes")
    return hashlib.blake2b(given.encode() if isinstance(given, str) else given, digest_size=32).digest()


class Records:
    """Log records of one model."""

    def __init__(self, who: Mapping[str, Any], sample_rate: float, privacy: Privacy) -> None:
        if type(sample_rate) not in (int, float) or not 0 <= sample_rate <= 1:
            raise SettingsError(f"sample_rate={sample_rate!r}: expected 0 to 1")
        self._rate = float(sample_rate)
        self._common = {name: value for name, value in who.items() if value is not None} | {"sample_rate": self._rate}
        self._random = random.Random()  # noqa: S311  # the program's own generator stays as it was
        self.privacy = privacy
        self._sent = 0
        self.any = sample_rate > 0
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
        if metadata:
            _add_metadata(fields, metadata)
        body: Any = name
        if features is not None and not self.privacy.silent:
            shown, left_out = self.privacy.shown(features, state.longest)
            body = {"event": name, "features": shown}
            if left_out:
                fields["features_left_out"] = left_out
        self._sent += 1
        if not self._sent % OFTEN:
            exporting.make_room("logs")
        events.send(telemetry.logger(), body, fields, SeverityNumber.INFO, "INFO", time.time_ns(), name)


def _add_metadata(fields: dict[str, Any], metadata: Mapping[Any, Any]) -> None:
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
