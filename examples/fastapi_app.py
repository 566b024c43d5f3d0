"""Answer questions about notes over HTTP: phases inside a request, and in one of them a call to a model.

    llmon run -- uvicorn --app-dir examples fastapi_app:app
    curl 'http://127.0.0.1:8000/notes/tea?question=How+hot%3F'
    curl 'http://127.0.0.1:8000/notes/coffee?question=How+hot%3F'

It needs `pip install fastapi openai uvicorn` and no API key: the model is examples/local_llm.py, which it starts.
What to look at, on the page that `llmon run` names:

- each request is a trace: the span `GET /notes/{topic}`, called after its route and not after what was asked for,
  in it the phases `retrieve` and `ask`, and in `ask` the call to the model with its tokens;
- the log record about the note that is missing hangs on the request that wanted it, and that request answered 404;
- `http.server.request.duration` counts requests by route and status, `llmon.phase.duration` the phases.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from local_llm import serve
from openai import AsyncOpenAI

from otel_llmon import phase

log = logging.getLogger("notes")

NOTES = {
    "tea": "Green tea wants water at 80 degrees.",
    "bread": "Bake sourdough at 230 degrees until the crust sings.",
}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start the model with the app, and end it with the app."""
    with serve() as url:
        async with AsyncOpenAI(base_url=url, api_key="none") as client:
            app.state.model = client
            yield


app = FastAPI(title="notes", lifespan=lifespan)


@app.get("/notes/{topic}")
async def answer(topic: str, question: str, request: Request) -> dict[str, str]:
    """Answer a question from the note on this topic."""
    note = retrieve(topic)
    if note is None:
        log.warning("no note on %s", topic)
        raise HTTPException(404, f"no note on {topic}; there are: {', '.join(NOTES)}")
    return {"answer": await ask(request.app.state.model, question, note)}


@phase("retrieve")
def retrieve(topic: str) -> str | None:
    """Return the note on a topic."""
    return NOTES.get(topic)


@phase("ask")
async def ask(model: AsyncOpenAI, question: str, note: str) -> str:
    """Return the model's answer."""
    messages = [{"role": "user", "content": question}, {"role": "user", "content": note}]
    done = await model.chat.completions.create(model="parrot", messages=messages)  # type: ignore[arg-type]
    return str(done.choices[0].message.content)
