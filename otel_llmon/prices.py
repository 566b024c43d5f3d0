"""Prices of what work uses, and of models' tokens, as settings hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

NUMBER = "a number, 0 or more"


class NotAllowedError(ValueError):
    """A value inside a mapping is not allowed; `where` leads to it, such as `.models.gpt-4o.input`."""

    def __init__(self, where: str, said: str) -> None:
        super().__init__(f"{where}{said}")


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """What a million tokens of a model cost; `cached` are those of a prompt that came from the provider's cache."""

    input: float
    output: float = 0.0
    cached: float | None = None


@dataclass(frozen=True, slots=True)
class Prices:
    """What an hour of a CPU, of a GPU, of a GB of memory, and a kilowatt-hour cost; None where nobody said."""

    cpu_hour: float | None = None
    gpu_hour: float | None = None
    memory_gb_hour: float | None = None
    kwh: float | None = None
    models: Mapping[str, TokenPrice] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.spelt())

    @classmethod
    def parse(cls, raw: object) -> Prices:
        """Return the prices in a mapping, or in its JSON; raises ValueError, NotAllowedError for what is inside."""
        if isinstance(raw, Prices):
            return raw
        import json

        found = json.loads(raw) if isinstance(raw, str) else raw
        given = _known(found, "", [each.name for each in fields(cls)])
        models = given.pop("models", {})
        if not isinstance(models, Mapping):
            raise NotAllowedError(".models", f"={models!r}: expected models with their prices")
        plain = {name: _number(price, f".{name}") for name, price in given.items()}
        return cls(
            **plain, models={str(name): _token_price(price, f".models.{name}") for name, price in models.items()}
        )

    def spelt(self) -> str:
        """Return them as JSON, without what is not said; empty where nothing is."""
        import json

        said = _without_none(asdict(self))
        return json.dumps(said) if said else ""


def _token_price(raw: object, where: str) -> TokenPrice:
    given = _known(raw, where, [each.name for each in fields(TokenPrice)])
    if "input" not in given:
        raise NotAllowedError(where, f"={raw!r}: expected input: {NUMBER}")
    return TokenPrice(**{name: _number(price, f"{where}.{name}") for name, price in given.items()})


def _known(raw: object, where: str, names: list[str]) -> dict[str, Any]:
    """Return what a mapping says, when it has no other names than these."""
    from difflib import get_close_matches

    if not isinstance(raw, Mapping):
        if not where:
            raise ValueError  # the whole setting is no mapping: its form says what it should be
        raise NotAllowedError(where, f"={raw!r}: expected a mapping of {', '.join(names)}")
    for name in raw:
        if name not in names:
            nearest = get_close_matches(str(name), names, n=1)
            advice = f"did you mean {nearest[0]!r}" if nearest else f"expected one of {', '.join(names)}"
            raise NotAllowedError(f"{where}.{name}", f": unknown price, {advice}")
    return {name: value for name, value in raw.items() if value is not None}


def _number(raw: object, where: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not (math.isfinite(raw) and raw >= 0):
        raise NotAllowedError(where, f"={raw!r}: expected {NUMBER}")
    return float(raw)


def _without_none(said: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_none(value) if isinstance(value, dict) else value
        for name, value in said.items()
        if value is not None and value != {}
    }
