"""Answers of language models as features: what is told of them, and that it is none of what they say."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llmon.scores import answers
from otel_llmon.scores.drift import compare
from otel_llmon.scores.profile import Profile
from otel_llmon.scores.quality import Checks, one_of, within
from otel_llmon.scores.reference import Reference

WORDS = (
    "the",
    "sea",
    "is",
    "wide",
    "and",
    "deep",
    "of",
    "all",
    "that",
    "in",
    "it",
    "you",
    "can",
    "see",
    "not",
    "often",
)
LANGUAGES = {
    "en": "The answer is that you can do this with the settings, and it will not be slow.",
    "de": "Die Antwort ist, dass es mit den Einstellungen geht und nicht langsam wird.",
    "fr": "La réponse est que vous pouvez le faire avec les paramètres, et ce n'est pas lent.",
    "es": "La respuesta es que se puede hacer con los ajustes y no es lento para el usuario.",
    "pt": "A resposta é que você pode fazer isso com as configurações e não é lento.",
    "it": "La risposta è che si può fare con le impostazioni e non è lento per gli utenti.",
    "nl": "Het antwoord is dat je het met de instellingen kunt doen en dat het niet traag is.",
    "sv": "Svaret är att det går med inställningarna och att det inte är långsamt för dig.",
    "pl": "Odpowiedź jest taka, że to się da zrobić i nie jest to wolne dla użytkownika.",
    "tr": "Bu ayarlar ile bir sorun yok ve bu çok hızlı, ama daha fazla test için zaman var.",
    "ru": "Ответ в том, что это можно сделать с настройками, и это не так медленно.",
    "uk": "Відповідь в тому, що це можна зробити з налаштуваннями, і це не повільно, але є умови.",
    "ar": "الجواب هو أن هذا ممكن من الإعدادات في كل حال مع ما كان",
    "zh": "答案是可以通过设置来完成，而且并不慢。",
    "ja": "答えは設定で可能だということです。遅くはありません。",
    "ko": "답은 설정으로 가능하다는 것이며 느리지 않습니다.",
    "el": "Η απάντηση είναι ότι γίνεται με τις ρυθμίσεις.",
    "he": "התשובה היא שאפשר לעשות את זה בהגדרות.",
    "hi": "उत्तर यह है कि इसे सेटिंग्स से किया जा सकता है।",
    "unknown": "xq zzk 12 42 foo()",
}


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_language_is_guessed_from_a_sentence(code):
    """By its script, or by its most common words."""
    assert answers.language(LANGUAGES[code]) == code


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry, but I can\u2019t assist with that request.",
        "Unfortunately, I cannot provide instructions for this.",
        "Es tut mir leid, dabei kann ich nicht helfen.",
        "Je suis désolé, mais je ne peux pas répondre.",
        "Lo siento, pero no puedo ayudar con eso.",
        "抱歉，我无法回答这个问题。",
    ],
)
def test_a_refusal_is_known_by_how_it_begins(text):
    """With either apostrophe."""
    assert answers.refused(text)


@pytest.mark.parametrize("text", ["", "You can't help with that if you are away.", "Sure! " * 100 + "I cannot assist"])
def test_what_is_no_refusal_is_none(text):
    """Nor is what comes late."""
    assert not answers.refused(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": [1, 2]}', "valid"),
        ("[]", "valid"),
        ("[1, 2]", "valid"),
        ('```json\n{"a": 1}\n```', "fenced"),
        ('```json\n{"a": 1\n```', "invalid"),
        ('{"a": 1', "invalid"),
        ("{'a': 1}", "invalid"),
        ("[applause] thank you", "none"),
        ("Here is the list: [1]", "none"),
        ("", "none"),
        ("[" * 100_000, "unread"),
        ("[" + "1," * 600_000 + "1]", "unread"),
    ],
)
def test_json_is_valid_fenced_invalid_or_none(text, found):
    """What would be too much to read is said to be that."""
    assert answers.json_validity(text) == found


def test_repetition_tells_loops_from_prose():
    """Of few words nothing is said."""
    assert answers.repetition("one two three") is None
    assert answers.repetition(" ".join(f"word{number}" for number in range(50))) == 0
    assert answers.repetition("and so on " * 50) > 0.95


def test_directions_are_the_same_everywhere():
    """In another process, and as a projection is: linear, and of a vector's own size."""
    vector = np.random.default_rng(0).standard_normal(1536)
    here = answers.directions(vector)
    script = (
        "import json, numpy; from otel_llmon.scores.answers import directions;"
        "print(json.dumps(directions(numpy.random.default_rng(0).standard_normal(1536))))"
    )
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert json.loads(there) == here
    assert list(answers.directions(2 * vector).values()) == pytest.approx([2 * value for value in here.values()])
    assert 0.2 < np.std(list(here.values())) < 3
    assert set(answers.directions([1.0, None]).values()) == {None}
    assert answers.directions(None) == {}


def test_a_row_holds_what_was_told_and_nothing_that_was_said():
    """Whatever was not told, or is of another type, is None."""
    row = answers.features(
        "My secret is 42, and it is not for you.",
        prompt="Tell me the secret of the sea, will you?",
        input_tokens=np.int64(11),
        output_tokens=12,
        seconds=2.0,
        first_token=0.5,
        finish_reason="stop",
        embedding=[0.1, 0.2],
    )
    assert (row["input_tokens"], row["tokens_per_second"], row["finish_reason"]) == (11.0, 6.0, "stop")
    assert (row["language"], row["prompt_language"], row["refusal"], row["json"]) == ("en", "en", "false", "none")
    assert "secret" not in repr(row)
    empty = answers.features(7, input_tokens="many", seconds=float("nan"), finish_reason=["stop"])
    assert set(empty.values()) == {None}
    assert answers.features("x", output_tokens=5, seconds=0)["tokens_per_second"] is None


@given(st.text(max_size=300), st.text(max_size=50) | st.none(), st.lists(st.floats(), max_size=3) | st.none())
def test_any_text_has_features(answer, prompt, embedding):
    """And no exception."""
    row = answers.features(answer, prompt=prompt, embedding=embedding)
    assert row["length"] == len(answer)
    assert all(value is None or isinstance(value, str | float) for value in row.values())


def spoken(rng, rows, *, refusals=0.0, words=40):
    """Return rows of answers as a service sees them."""
    found = []
    for _ in range(rows):
        text = " ".join(rng.choice(WORDS, 2 + rng.poisson(words)))
        answer = "I'm sorry, but I can't help with that." if rng.random() < refusals else text
        tokens = len(answer.split())
        found.append(
            answers.features(
                answer,
                prompt=text,
                input_tokens=len(text),
                output_tokens=tokens,
                seconds=tokens / 50,
                finish_reason="stop",
                embedding=rng.standard_normal(16),
            )
        )
    return found


def test_a_reference_can_be_fitted_to_answers_and_sees_them_change():
    """More refusals and shorter answers are drift; the same service another day is none."""
    rng = np.random.default_rng(1)
    reference = Reference.fit(spoken(rng, 1000))
    kinds = {feature.name: feature.kind for feature in reference.features}
    assert kinds["refusal"] == kinds["json"] == kinds["language"] == kinds["finish_reason"] == "categorical"
    assert kinds["length"] == kinds["direction_1"] == "numeric"
    same = compare(Profile.of(spoken(rng, 500), reference))
    assert not same.changed
    changed = compare(Profile.of(spoken(rng, 500, refusals=0.3), reference))
    assert changed.features["refusal"].changed
    assert changed.features["output_tokens"].changed
    assert not changed.features["direction_1"].changed


def test_checks_watch_answers_as_they_watch_any_table():
    """A model that must answer with JSON, within two seconds."""
    wanted = {"json": one_of(["valid"]), "seconds": within(0, 2), "finish_reason": one_of(["stop"])}
    checks = Checks(None, wanted)
    rows = [
        answers.features('{"a": 1}', seconds=1, finish_reason="stop"),
        answers.features('{"a": 1', seconds=3, finish_reason="length"),
    ]
    counts = checks.count(rows)
    for place in (("json", "set"), ("seconds", "range"), ("finish_reason", "set")):
        assert (counts.failed[place], counts.seen[place]) == (1, 2)
