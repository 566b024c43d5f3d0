"""Metrics of calls to models: upstream's `gen_ai.client.*`, by both of its conventions.

The names up to v1.41.0 come first, those of its successor after them; the setting `genai_semconv` chooses.
"""

from __future__ import annotations

from otel_llmon.semconv import Metric
from otel_llmon.semconv.attributes import (
    ERROR_TYPE,
    GEN_AI_OPERATION,
    GEN_AI_PROVIDER,
    GEN_AI_REQUEST_MODEL,
    GEN_AI_RESPONSE_MODEL,
    GEN_AI_TOKEN_MODALITY,
    GEN_AI_TOKEN_TYPE,
    SERVER_ADDRESS,
    SERVER_PORT,
)

CALL_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Bucket edges for durations, as the conventions ask for."""

TOKENS = tuple(4.0**power for power in range(14))
"""Bucket edges for tokens of one call, likewise."""

_CALL = (GEN_AI_OPERATION, GEN_AI_PROVIDER, GEN_AI_REQUEST_MODEL, GEN_AI_RESPONSE_MODEL, SERVER_ADDRESS, SERVER_PORT)
_ENDED = (*_CALL, ERROR_TYPE)
_SPENT = (*_CALL, GEN_AI_TOKEN_MODALITY)

OPERATION_DURATION = Metric(
    "gen_ai.client.operation.duration", "histogram", "s", "How long a call to a model took.", _ENDED, CALL_SECONDS
)
OPERATION_FIRST_CHUNK = Metric(
    "gen_ai.client.operation.time_to_first_chunk",
    "histogram",
    "s",
    "Time from a request to the first chunk of its stream.",
    _CALL,
    CALL_SECONDS,
)
OPERATION_CHUNK_GAP = Metric(
    "gen_ai.client.operation.time_per_output_chunk",
    "histogram",
    "s",
    "Time from one chunk of a stream to the next.",
    _CALL,
    CALL_SECONDS,
)
TOKEN_USAGE = Metric(
    "gen_ai.client.token.usage",
    "histogram",
    "{token}",
    "Tokens of one call, those of the prompt and those of the answer.",
    (*_CALL, GEN_AI_TOKEN_TYPE),
    TOKENS,
)

INFERENCE_DURATION = Metric(
    "gen_ai.client.inference.duration", "histogram", "s", "How long it took a model to answer.", _ENDED, CALL_SECONDS
)
INFERENCE_FIRST_CHUNK = Metric(
    "gen_ai.client.inference.time_to_first_chunk",
    "histogram",
    "s",
    "Time from a request to the first chunk of its stream.",
    _CALL,
    CALL_SECONDS,
)
INFERENCE_CHUNK_GAP = Metric(
    "gen_ai.client.inference.time_per_output_chunk",
    "histogram",
    "s",
    "Time from one chunk of a stream to the next.",
    _CALL,
    CALL_SECONDS,
)
INPUT_TOKENS = Metric(
    "gen_ai.client.inference.usage.input_tokens",
    "counter",
    "{token}",
    "Tokens of prompts, cached ones included.",
    _SPENT,
)
OUTPUT_TOKENS = Metric(
    "gen_ai.client.inference.usage.output_tokens",
    "counter",
    "{token}",
    "Tokens of answers, reasoning included.",
    _SPENT,
)
CACHE_READ_TOKENS = Metric(
    "gen_ai.client.inference.usage.cache_read.input_tokens",
    "counter",
    "{token}",
    "Those tokens of prompts that came from the provider's cache.",
    _SPENT,
)
CACHE_WRITE_TOKENS = Metric(
    "gen_ai.client.inference.usage.cache_write.input_tokens",
    "counter",
    "{token}",
    "Those tokens of prompts that the provider put into its cache.",
    _SPENT,
)
REASONING_TOKENS = Metric(
    "gen_ai.client.inference.usage.reasoning.output_tokens",
    "counter",
    "{token}",
    "Those tokens of answers that went into reasoning.",
    _SPENT,
)
CALL_INPUT_TOKENS = Metric(
    "gen_ai.client.inference.operation.input_tokens", "histogram", "{token}", "Tokens of one prompt.", _ENDED, TOKENS
)
CALL_OUTPUT_TOKENS = Metric(
    "gen_ai.client.inference.operation.output_tokens", "histogram", "{token}", "Tokens of one answer.", _ENDED, TOKENS
)
