"""OpenAI's client, for OpenAI, Azure and every server that speaks the same: chat completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from otel_llmon.instrumentors import Given, Instrumentor, Patch, Received, Target, messages, stainless
from otel_llmon.semconv import attributes as key

COMPATIBLE = "openai_compatible"
"""The provider where the address says nothing: a server at home, a gateway, a proxy."""

PROVIDERS = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "models.ai.azure.com": "azure.ai.inference",
    "amazonaws.com": "aws.bedrock",
    "api.anthropic.com": "anthropic",
    "api.cohere.ai": "cohere",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.moonshot.ai": "moonshot_ai",
    "api.moonshot.cn": "moonshot_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
}
"""Providers that the conventions know, by the end of their servers' names."""

_PARAMETERS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "frequency_penalty": (key.GEN_AI_FREQUENCY_PENALTY, (int, float)),
    "max_completion_tokens": (key.GEN_AI_MAX_TOKENS, (int,)),
    "max_tokens": (key.GEN_AI_MAX_TOKENS, (int,)),
    "presence_penalty": (key.GEN_AI_PRESENCE_PENALTY, (int, float)),
    "reasoning_effort": (key.GEN_AI_REASONING_LEVEL, (str,)),
    "seed": (key.GEN_AI_SEED, (int,)),
    "service_tier": (key.OPENAI_REQUEST_TIER, (str,)),
    "stop": (key.GEN_AI_STOP_SEQUENCES, (str, list, tuple)),
    "temperature": (key.GEN_AI_TEMPERATURE, (int, float)),
    "top_p": (key.GEN_AI_TOP_P, (int, float)),
}
"""Where a parameter goes, and what it may be: what the caller leaves out is often a marker object."""

MOST_SERVERS = 256
_servers: dict[int, tuple[Any, str, str | None, int | None]] = {}
"""Whose server a client's URL is, by that object; it is held, so that its id stays its own."""

_FORMS = {"text": "text", "json_object": "json", "json_schema": "json"}


def _target(completions: Any, given: Given) -> Target:
    client = completions._client
    url = client.base_url
    known = _servers.get(id(url))
    if known is None or known[0] is not url:  # a URL takes as long to hash as to be understood
        if len(_servers) >= MOST_SERVERS:
            _servers.clear()
        known = _servers[id(url)] = (url, *_server(str(url), type(client).__name__))
    return Target(known[1], given.get("model"), known[2], known[3])


def _server(url: str, client: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    known = (name for end, name in PROVIDERS.items() if host == end or host.endswith(f".{end}"))
    provider = next(known, "azure.ai.openai" if "Azure" in client else COMPATIBLE)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return provider, host or None, port if host else None


def _request(given: Given) -> dict[str, Any]:
    facts: dict[str, Any] = {key.OPENAI_API: "chat_completions"}
    for name, (attribute, kinds) in _PARAMETERS.items():
        value = given.get(name)
        if isinstance(value, kinds):
            facts[attribute] = value
    stop, count = facts.get(key.GEN_AI_STOP_SEQUENCES), given.get("n")
    if isinstance(stop, str):
        facts[key.GEN_AI_STOP_SEQUENCES] = [stop]
    if isinstance(count, int) and count != 1:
        facts[key.GEN_AI_CHOICE_COUNT] = count
    if given.get("stream"):
        facts[key.GEN_AI_STREAM] = True
    facts[key.GEN_AI_OUTPUT_TYPE] = _form(given.get("response_format"))
    return facts


def _form(wanted: Any) -> str | None:
    """Return the kind of answer asked for: by a dict, or by the class that `parse()` is to return."""
    if isinstance(wanted, type):
        return "json"
    return _FORMS.get(wanted.get("type", "")) if isinstance(wanted, Mapping) else None


def _response(received: Received, completion: Any) -> None:
    _head(received, completion)
    received.finish = {choice.index: choice.finish_reason for choice in completion.choices or ()}
    if completion.usage is not None:
        _usage(received, completion.usage)


def _chunks(received: Received, chunks: Sequence[Any]) -> None:
    if not received.model:
        _head(received, next((chunk for chunk in chunks if chunk.model), chunks[0]))
    for chunk in chunks:
        if chunk.usage is not None:
            _usage(received, chunk.usage)
        for choice in chunk.choices or ():
            if choice.finish_reason is not None:
                received.finish[choice.index] = choice.finish_reason


def _head(received: Received, answer: Any) -> None:
    received.id = answer.id or None
    received.model = answer.model or None
    received.attributes[key.OPENAI_RESPONSE_TIER] = getattr(answer, "service_tier", None)
    received.attributes[key.OPENAI_FINGERPRINT] = getattr(answer, "system_fingerprint", None)


def _usage(received: Received, usage: Any) -> None:
    received.input_tokens, received.output_tokens = usage.prompt_tokens, usage.completion_tokens
    asked = getattr(usage, "prompt_tokens_details", None)
    said = getattr(usage, "completion_tokens_details", None)
    received.cache_read = getattr(asked, "cached_tokens", None)
    received.cache_write = getattr(asked, "cache_write_tokens", None)
    received.reasoning = getattr(said, "reasoning_tokens", None)
    for name, total, details in (
        ("input_tokens", usage.prompt_tokens, asked),
        ("output_tokens", usage.completion_tokens, said),
    ):
        parts = _modalities(details, total)
        if parts:
            received.modalities[name] = parts


def _modalities(details: Any, total: int | None) -> dict[str, int]:
    """Return a count of tokens by modality, where text is told apart; else nobody knows what the rest is."""
    if not getattr(details, "text_tokens", None):
        return {}
    found = {kind: getattr(details, f"{kind}_tokens", None) or 0 for kind in ("text", "audio", "image")}
    rest = (total or 0) - sum(found.values())
    return {kind: count for kind, count in (found | {"unknown": rest}).items() if count > 0}


class OpenAIInstrumentor(Instrumentor):
    """Spans and metrics for chat completions: create(), parse() and stream(), raw responses included."""

    requires = ("openai >= 1.60",)
    patches = tuple(
        Patch(
            module,
            f"{owner}.{method}",
            "chat",
            _target,
            _response,
            _chunks,
            _request,
            messages.CONTENT,
            answered=stainless.answered,
        )
        for module, method in (
            ("openai.resources.chat.completions", "create"),
            ("openai.resources.chat.completions", "parse"),
            ("openai.resources.beta.chat.completions", "parse"),  # its home before 1.92
        )
        for owner in ("Completions", "AsyncCompletions")
    )
