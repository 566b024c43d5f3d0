"""Ingest five notes and answer two questions about them: the words of otel-llmon in one program, with calls to a model.

    llmon run -- python examples/pipeline.py       # or under opentelemetry-instrument, or plain

It needs `pip install openai` and no API key: the model is examples/local_llm.py, which it starts.
What to look at, on the page that `llmon run` and `make demo` open:

- the trace `notes` has a span for each phase, and in each `ask` the call to the model with its tokens. The second
  question meets a model that is too busy: that `ask` is red and says why, the next one fell back to another model;
- the logs of the trace: the warning about the busy model, from the standard library, and the event `notes.ready`;
- the metrics: `llmon.phase.duration`, whose exemplars lead to this trace, and `llmon.progress.items` for the chunks.
"""

from __future__ import annotations

import logging
import sys
import time
import zlib

from local_llm import serve

from otel_llmon import event, phase, pipeline, progress

try:
    from openai import OpenAI, RateLimitError
except ImportError:
    sys.exit("'openai' is not installed; run: pip install openai")

log = logging.getLogger("notes")

NOTES = {
    "tea": "Green tea wants water at 80 degrees. Black tea takes boiling water. Steep either for three minutes.",
    "bread": "Sourdough rises overnight in a cool kitchen. Bake it at 230 degrees until the crust sings.",
    "bikes": "Oil the chain every 300 kilometres. Tyres lose a tenth of their pressure in a month.",
    "plants": "Water ferns when the soil feels dry. Most succulents die of too much care.",
    "moon": "The moon moves away from us by 38 millimetres each year. Its days last a month.",
}
QUESTIONS = {"How hot should water be for green tea?": "parrot", "How often should I oil the chain?": "busy"}
FALL_BACK = "parrot-mini"

Chunk = tuple[frozenset[int], str]


@phase("load")
def load() -> list[str]:
    """Return the notes, as a slow disk would."""
    time.sleep(0.06)
    return list(NOTES.values())


@phase("chunk")
def chunk(notes: list[str]) -> list[str]:
    """Cut the notes into sentences."""
    time.sleep(0.02)
    return [f"{sentence.strip(' .')}." for note in notes for sentence in note.split(". ")]


@phase("embed")
def embed(sentences: list[str]) -> list[Chunk]:
    """Give each sentence its features, one at a time as a model would."""
    index = []
    for sentence in progress(sentences, "chunks"):
        time.sleep(0.03)
        index.append((features(sentence), sentence))
    return index


@phase("retrieve")
def retrieve(index: list[Chunk], question: str) -> str:
    """Return the sentence that has most in common with the question."""
    wanted = features(question)
    return max(index, key=lambda entry: len(entry[0] & wanted))[1]


def features(text: str) -> frozenset[int]:
    """Return a number for each longer word: what an embedding is to a model, as far as this example needs one."""
    return frozenset(zlib.crc32(word.encode()) for word in text.lower().strip("?.").split() if len(word) > 3)


def ask(client: OpenAI, model: str, question: str, note: str) -> None:
    """Print the model's answer, word by word as it comes."""
    with phase("ask", {"model": model}):
        stream = client.chat.completions.create(
            model=model,
            messages=[
                {"role": "system", "content": "Answer from the note."},
                {"role": "user", "content": question},
                {"role": "user", "content": note},
            ],
            stream=True,
            stream_options={"include_usage": True},
        )
        print("  ", end="")
        for part in stream:
            if part.choices:
                print(part.choices[0].delta.content or "", end="", flush=True)
        print()


@phase("summarise")
def summarise(client: OpenAI) -> None:
    """Print what was done, as one answer in one piece."""
    told = f"{len(NOTES)} notes, {len(QUESTIONS)} questions, every one answered."
    done = client.chat.completions.create(model=FALL_BACK, messages=[{"role": "user", "content": told}])
    print(done.choices[0].message.content)


def answer(client: OpenAI, model: str, question: str, index: list[Chunk]) -> None:
    """Answer a question from the note that fits; where the model is too busy, another one does."""
    with phase("answer", {"question": question}):
        print(f"> {question}", flush=True)
        note = retrieve(index, question)
        try:
            ask(client, model, question, note)
        except RateLimitError as exc:
            log.warning("model %s answered %s, asking %s", model, exc.status_code, FALL_BACK)
            ask(client, FALL_BACK, question, note)


@pipeline("notes", phases=("load", "chunk", "embed", "answer", "summarise"))
def run(client: OpenAI) -> None:
    """Ingest the notes, answer the questions, and say so."""
    index = embed(chunk(load()))
    event("notes.ready", {"notes": len(NOTES), "chunks": len(index)})
    for question, model in QUESTIONS.items():
        answer(client, model, question, index)
    summarise(client)


def main() -> None:
    """Start the model, and run the pipeline once."""
    with serve(delay=0.03) as url, OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        run(client)


if __name__ == "__main__":
    main()
