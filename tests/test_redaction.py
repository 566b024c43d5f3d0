"""What the Collector takes for a secret, and what it leaves alone; tests/stack asks the real one."""

from __future__ import annotations

import random
import re
import uuid

import pytest

from otel_llmon.render.redaction import MASK, SECRETS

TOKEN = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7" * 3
SECRET = [
    "grace.hopper@example.org",
    "grace+tag%40mail.example.org",
    "jürgen@bücher.example",
    "sk-proj-abcdefghijklmnop1234",
    f"sk-ant-api03-{TOKEN}-_x",
    "sk-lf-0b3c5d7e-1f2a-4b6c-8d9e-a1b2c3d4e5f6",
    f"sk_live_{TOKEN[:24]}",
    "rk_test_abcdefghijklmnopqrstuvwx",
    f"hf_{TOKEN[:34]}",
    f"ghp_{TOKEN[:36]}",
    f"github_pat_{TOKEN[:22]}_{TOKEN}",
    f"glpat-{TOKEN[:20]}",
    f"xoxb-1234567890-{TOKEN[:24]}",
    f"nvapi-{TOKEN[:64]}",
    "AKIAREALREALREALREAL",
    f"AIza{TOKEN[:35]}",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzcGFubmFtZSJ9.abc",
    "Bearer spannameBEARER123456",
    "4111 1111 1111 1113",
    "4111-1111-1111-1113",
    "4111111111111113",
    "5500000000000004",
    "3782 822463 10005",
    "378282246310005",
    "+4915112345670",
    "+49 151 1234 5670",
]
PLAIN = [
    "risk-assessment-api",
    "task_summarize_documents",
    "disk_cleanup_weekly",
    "sk-learn-pipeline-training-v2",
    "pk_1763798400000_customers",
    "xai-explainability-report-generator-2026",
    "run-20261122-080105",
    "1763798400000",
    "1763798400000000",
    "1763798400000000000",
    "0.4444444444444444",
    "5.333333333333333",
    "2026-11-22T08:01:05+00:00",
    "2026-11-22 08:01:05 +0000 12345678",
    "offset+1048576000",
    "1.5e+308",
    "llama@1.2.3",
    "image@sha256:0123456789abcdef",
    "bearer authentication required",
    "eyJ",
]


def masked(text: str) -> str:
    """Do what the processor does, with Python's expressions."""
    for secret in SECRETS:
        pattern = secret.pattern.replace(r"\pL\pN", r"\w").replace(r"\pL", r"[^\W\d_]")
        text = re.sub(pattern, MASK, text)
    return text


@pytest.mark.parametrize("secret", SECRET)
def test_a_secret_is_masked_wherever_it_stands_in_a_text(secret):
    """Alone, in a sentence, in JSON, in a list, after a name."""
    for text in (
        secret,
        f"it was {secret}.",
        f'{{"value": "{secret}"}}',
        f"{secret},{secret} {secret}",
        f"value={secret}",
    ):
        assert secret not in masked(text), text
        assert MASK in masked(text)


@pytest.mark.parametrize("plain", PLAIN)
def test_names_numbers_and_times_are_left_alone(plain):
    """A service, a phase or a run that is masked is one with others, and its counts are theirs."""
    for text in (plain, f"it was {plain} here", f'{{"value": "{plain}"}}'):
        assert masked(text) == text


def test_ids_are_left_alone():
    """Of instances, traces and scores, as they come."""
    chance = random.Random(7)
    for _ in range(20_000):
        text = f"{uuid.UUID(int=chance.getrandbits(128), version=4)} {chance.getrandbits(128):032x} {chance.random()}"
        assert masked(text) == text
