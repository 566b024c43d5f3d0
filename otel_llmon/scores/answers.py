"""What a model was asked and what it answered, as a row of features: numbers and short words, none of what was said.

    row = answers.features(answer, prompt=prompt, output_tokens=42, seconds=1.3, finish_reason="stop")

A Reference can be fitted to a list of such rows, and drift and quality are watched in them as in any other table. What
was not told is None. Of a text the first `LONGEST` characters are looked at: it takes a quarter of a millisecond.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from otel_llmon.scores import columns
from otel_llmon.scores.columns import HUGE, Floats
from otel_llmon.scores.languages import language

__all__ = ["directions", "features", "json_validity", "language", "refused", "repetition"]

LONGEST = 8192
"""Characters of a text that are looked at."""
BEGINNING = 400
"""Characters in which a refusal is looked for: later ones quote, or qualify."""
DIRECTIONS = 8
"""Fixed directions that an embedding is projected on."""
DEEPEST = 100
"""Levels of JSON that are read."""
_WORD = re.compile(r"\w+")
_FENCE = re.compile(r"\A\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)

REFUSALS = (
    "i can't assist", "i cannot assist", "i can't help with", "i cannot help with", "i'm not able to help",
    "i am not able to help", "i'm unable to", "i am unable to", "i can't provide", "i cannot provide",
    "i can't comply", "i cannot comply", "i won't be able to", "i can't fulfill", "i cannot fulfill",
    "i can't create", "i cannot create", "i can't generate", "i cannot generate", "i can't answer",
    "i cannot answer", "i must decline", "i have to decline", "i can't do that", "i cannot do that",
    "i can't discuss", "i cannot discuss", "i can't engage", "i cannot engage", "against my guidelines",
    "as an ai language model, i can", "i'm sorry, but i can", "i am sorry, but i can", "i apologize, but i can",
    "sorry, i can't", "sorry, i cannot", "i'm not comfortable", "i'd rather not",
    "ich kann dir dabei nicht", "ich kann ihnen dabei nicht", "ich kann dabei nicht helfen", "kann ich nicht helfen",
    "das kann ich leider nicht", "ich darf keine", "kann ich nicht beantworten",
    "je ne peux pas", "je suis désolé, mais je", "je ne suis pas en mesure", "je suis dans l'incapacité",
    "no puedo ayudar", "no puedo proporcionar", "lo siento, pero no puedo", "no me es posible",
    "não posso ajudar", "não posso fornecer", "desculpe, mas não posso", "sinto muito, mas não",
    "non posso aiutar", "mi dispiace, ma non posso", "non posso fornire",
    "ik kan je daar niet", "ik kan u daar niet", "het spijt me, maar ik kan",
    "nie mogę pomóc", "przykro mi, ale nie mogę",
    "я не могу помочь", "извините, но я не могу", "к сожалению, я не могу",
    "无法提供", "抱歉，我不能", "抱歉，我无法", "我不能帮助",
    "お手伝いできません", "お答えできません", "申し訳ありませんが", "도와드릴 수 없",
)  # fmt: skip
"""How refusals of some model families begin, in lower case with straight apostrophes."""


def features(  # noqa: PLR0913  # what is known of an answer, by name
    answer: str | None = None,
    *,
    prompt: str | None = None,
    input_tokens: float | None = None,
    output_tokens: float | None = None,
    seconds: float | None = None,
    first_token: float | None = None,
    finish_reason: str | None = None,
    embedding: Sequence[float] | Floats | None = None,
) -> dict[str, float | str | None]:
    """Return the features of one answer; what is of another type than it should be counts as not told."""
    text, asked = _text(answer), _text(prompt)
    tokens, took = _number(output_tokens), _number(seconds)
    found: dict[str, float | str | None] = {
        "input_tokens": _number(input_tokens),
        "output_tokens": tokens,
        "seconds": took,
        "first_token": _number(first_token),
        "tokens_per_second": tokens / took if tokens is not None and took else None,
        "finish_reason": columns.level(finish_reason) if isinstance(finish_reason, str) else None,
        "prompt_length": None if asked is None else float(len(asked)),
        "prompt_language": None if asked is None else language(asked),
        "length": None if text is None else float(len(text)),
        "words": None if text is None else float(len(_WORD.findall(text[:LONGEST]))),
        "language": None if text is None else language(text),
        "refusal": None if text is None else str(refused(text)).lower(),
        "json": None if text is None else json_validity(text),
        "repetition": None if text is None else repetition(text),
    }
    return found | directions(embedding)


def refused(answer: str) -> bool:
    """Return whether an answer begins as refusals do."""
    beginning = answer[:BEGINNING].lower().replace("\u2019", "'")
    return any(phrase in beginning for phrase in REFUSALS)


def json_validity(answer: str) -> str:
    """Return "none" for what does not look like JSON, else "valid", "fenced" (within a block of code), or "invalid".

    What is longer than 1 MiB or deeper than a hundred levels is "unread".
    """
    fenced = _FENCE.match(answer) if answer.lstrip()[:3] == "```" else None
    text = (fenced.group(1) if fenced else answer).strip()
    if not text.startswith(("{", "[")) or (fenced is None and text.startswith("[") and not _LIST.match(text)):
        return "none"
    if len(text) > 1 << 20 or _depth(text) > DEEPEST:
        return "unread"
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return "invalid"
    return "fenced" if fenced else "valid"


_LIST = re.compile(r'\[\s*(?:[\[{\]"0-9-]|true|false|null)')
"""How a list in JSON begins: text in brackets is no broken JSON."""


def _depth(text: str) -> int:
    """Return how deep brackets go, those within texts included: more than there is, never less."""
    deep = most = 0
    for bracket in re.findall(r"[\[{\]}]", text):
        deep += 1 if bracket in "[{" else -1
        most = max(most, deep)
    return most


def repetition(answer: str) -> float | None:
    """Return which share of a text's runs of three words came before; None for less than ten words."""
    words = _WORD.findall(answer[:LONGEST].lower())
    if len(words) < 10:
        return None
    runs = Counter(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(runs) / (len(words) - 2)


def directions(embedding: Sequence[float] | Floats | None, count: int = DIRECTIONS) -> dict[str, float | None]:
    """Return an embedding's coordinates along fixed directions, the same in every process; None where there is none.

    A change of where embeddings lie is seen along some of them, and what was said cannot be had back from eight.
    """
    vector = None if embedding is None else columns.vector(embedding)
    if vector is None or not len(vector) or not (np.abs(vector) <= HUGE).all():
        return {f"direction_{place}": None for place in range(1, count + 1)} if embedding is not None else {}
    found = _signs(len(vector), count) @ vector / np.sqrt(len(vector))
    return {f"direction_{place}": float(value) for place, value in enumerate(found, 1)}


@functools.lru_cache(16)
def _signs(width: int, count: int) -> Floats:
    """Return directions of +1 and -1, from a checksum, so that they are the same with every version of numpy."""
    rows = np.array([list(_bits(f"llmon direction {place}", width)) for place in range(count)], dtype=np.float64)
    return rows * 2 - 1


def _bits(seed: str, count: int) -> Iterator[int]:
    for place in range(-(-count // 512)):
        block = int.from_bytes(hashlib.sha512(f"{seed} {place}".encode()).digest(), "big")
        yield from (block >> bit & 1 for bit in range(min(512, count - 512 * place)))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    numbers = columns.numeric([value]).values
    return float(numbers[0]) if abs(numbers[0]) <= HUGE else None
