"""What counts as a secret, where it may stand, and the file that has the Collector look for it.

The patterns are RE2's. They ask for what names do not have: a maker's prefix at the start of a word and, after it,
digits among letters; numbers of cards as issuers give and print them. What is taken for a secret by mistake is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

MASK, MASKED_NAME = "****", "masked"
"""What stands for a secret; Prometheus and Loki refuse a batch in which a name is nothing but signs."""


class Secret(NamedTuple):
    """One kind of secret."""

    name: str
    pattern: str


_RANDOM = "[A-Za-z0-9_-]*(?:[A-Za-z0-9]{12}[0-9]|[0-9][A-Za-z0-9]{12})[A-Za-z0-9_-]*"
"""Thirteen letters and digits in a row at least, not letters alone."""
_TOKEN = "[A-Za-z0-9._~+/-]"  # noqa: S105  # a character of one
_CARD = "(?:4[0-9]{3}|5[1-5][0-9]{2}|2[2-7][0-9]{2}|6(?:011|[45][0-9]{2}))"

SECRETS = (
    Secret("e-mail", r"[\pL\pN._%+-]+(?:@|%40)(?:[\pL\pN-]+\.)+\pL{2,}"),
    Secret("keys of OpenAI, Anthropic and others", rf"(?:\b|_)sk[-_](?:lf-[0-9a-f-]{{36}}|{_RANDOM})"),
    Secret("keys of Stripe", r"(?:\b|_)[prs]k_(?:live|test)_[A-Za-z0-9]{10,}"),
    Secret("keys of Hugging Face, Groq, Replicate, GitHub", r"(?:\b|_)(?:hf|gsk|r8|gh[oprsu])_[A-Za-z0-9]{30,}"),
    Secret("keys of GitHub, GitLab, Slack", r"(?:\b|_)(?:github_pat_|glpat-|xox[abeprs]-)[A-Za-z0-9_-]{20,}"),
    Secret("keys of NVIDIA, xAI, Perplexity", r"(?:\b|_)(?:nvapi|xai|pplx)-[A-Za-z0-9_-]{40,}"),
    Secret("keys of AWS and Google", r"(?:\b|_)(?:A[KS]IA[0-9A-Z]{16}\b|AIza[A-Za-z0-9_-]{35})"),
    Secret("JSON web tokens", r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    Secret(
        "bearer tokens", rf"(?i:\bbearer\s+){_TOKEN}*(?:{_TOKEN}{{6}}[0-9]|[0-9]{_TOKEN}{{6}}|{_TOKEN}{{24}}){_TOKEN}*"
    ),
    Secret(
        "card numbers",  # no fraction of a number: the character before is taken along
        rf"(?:^|[^\w.])(?:{_CARD}(?:[0-9]{{12}}|(?: [0-9]{{4}}){{3}}|(?:-[0-9]{{4}}){{3}})"
        r"|3[47][0-9]{2}(?:[0-9]{11}| [0-9]{6} [0-9]{5}|-[0-9]{6}-[0-9]{5}))\b",
    ),
    Secret("telephone numbers", r"\B\+[1-9][0-9]{0,2}[ -]?(?:[0-9][ -]?){7,12}\b"),
)

KEYS = r"(?i).*(api[_.-]?key|authorization|password|secret|cookie).*"
"""An attribute with such a key is masked whatever its value is."""

_SCOPE = ("scope.name", "scope.version")
_TEXTS: dict[str, dict[str, Sequence[str]]] = {
    "trace": {
        "scope": _SCOPE,
        "span": ("span.name", "span.status.message", "span.trace_state"),
        "spanevent": ("spanevent.name",),
    },
    "metric": {"scope": _SCOPE, "metric": ("metric.name", "metric.description", "metric.unit")},
    "log": {"scope": _SCOPE, "log": ("log.body", "log.severity_text", "log.event_name")},
}
"""What is no attribute and holds text, by signal and by what it belongs to."""

_WITH_KEYS: dict[str, Sequence[str]] = {
    "trace": ("resource", "scope", "span", "spanevent"),
    "metric": ("resource", "scope", "datapoint"),
    "log": ("resource", "scope", "log"),
}

_NO_TEXT = " and ".join(f"not Is{kind}(log.body)" for kind in ("String", "Map", "List", "Int", "Double", "Bool"))


_FILE = """\
# Generated from otel_llmon/render/redaction.py: `make docs` rewrites this file.
# Given after collector.yaml: e-mail addresses, keys, card and telephone numbers do not reach a store. A record that
# these rules fail on is refused, not let through (error_mode: propagate). What they do not reach: docs/pipeline.md.
# The second line of defence: the first is that otel-llmon records no content unless told to.
processors:
  redaction/content:  # attributes of resources, scopes, spans, span events, log records and data points; log bodies
    allow_all_keys: true
    blocked_values:
{values}
    blocked_key_patterns: ['{keys}']
    redact_all_types: true
    summary: silent
  transform/content:  # what is no attribute, and keys; a list for each context, or it is run for the innermost one only
    error_mode: propagate
{statements}
  transform/alike:  # points that differed in nothing but what is masked now: a store would keep one of them
    error_mode: propagate
    metric_statements:
      - context: datapoint
        error_mode: ignore  # a NaN is no JSON
        statements:
          - 'set(metric.metadata["llmon.masked"], true) where IsMatch(datapoint.attributes, "[*]{{4}}|masked")'
      - context: metric
        conditions: ['metric.metadata["llmon.masked"] == true']
        statements:
          - 'aggregate_on_attributes("max") where metric.type == METRIC_DATA_TYPE_GAUGE'
          - 'aggregate_on_attributes("sum") where metric.type == METRIC_DATA_TYPE_SUM'
          - 'aggregate_on_attributes("sum") where metric.type == METRIC_DATA_TYPE_HISTOGRAM'
          - 'aggregate_on_attributes("sum") where metric.type == METRIC_DATA_TYPE_EXPONENTIAL_HISTOGRAM'

service:
  pipelines:
    traces/in:
      processors: [memory_limiter, resource_detection, transform/size, redaction/content, transform/content]
    metrics:
      processors: [memory_limiter, resource_detection, redaction/content, transform/content, transform/alike]
    logs:
      processors: [memory_limiter, resource_detection, transform/size, redaction/content, transform/content]
"""


def redaction_file() -> str:
    """Return the file that `llmon stack up --with redaction` gives to the Collector."""
    return _FILE.format(
        values="\n".join(f"      - '{secret.pattern}'  # {secret.name}" for secret in SECRETS),
        keys=KEYS,
        statements="\n".join(line for signal in _TEXTS for line in (f"    {signal}_statements:", *_groups(signal))),
    )


def _groups(signal: str) -> Iterator[str]:
    """Yield the lists of statements for a signal, one for each context."""
    texts, keys = _TEXTS[signal], _WITH_KEYS[signal]
    for context in dict.fromkeys((*keys, *texts)):
        mask = MASKED_NAME if context == "metric" else MASK
        statements = [f'replace_pattern({text}, "{_any_secret()}", "{mask}")' for text in texts.get(context, ())]
        if context in keys:
            statements.append(f'replace_all_patterns({context}.attributes, "key", "{_any_secret()}", "{MASKED_NAME}")')
        if context == "log":
            statements.insert(0, f'set(log.body, Decode(log.body, "utf-8")) where log.body != nil and {_NO_TEXT}')
        yield _group(context, statements)
    if signal == "metric":
        yield _group("exemplar", ['delete_matching_keys(exemplar.filtered_attributes, ".*")'])


def _group(context: str, statements: Sequence[str]) -> str:
    return "\n".join(
        (f"      - context: {context}", "        statements:", *(f"          - '{each}'" for each in statements))
    )


def _any_secret() -> str:
    """Return one pattern for all secrets, as it stands in a statement."""
    return "|".join(secret.pattern for secret in SECRETS).replace("\\", "\\\\")
