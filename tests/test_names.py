"""Whose word counts for the name of the service, under opentelemetry-instrument as well."""

from __future__ import annotations

import pytest

TEN_LINES = """
    import otel_llmon as llmon

    with llmon.phase("before"):
        pass
    llmon.configure(service="ingest", endpoint="http://localhost:4318")
    with llmon.phase("after"):
        llmon.event("here")
"""


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "ingest"),
        ({"OTEL_SERVICE_NAME": "app", "LLMON_GUESSED_SERVICE": "app"}, "ingest"),
        ({"OTEL_SERVICE_NAME": "mine"}, "mine"),
        ({"OTEL_SERVICE_NAME": "mine", "LLMON_GUESSED_SERVICE": "app"}, "mine"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=mine"}, "mine"),
    ],
)
def test_the_program_names_its_service_unless_the_environment_does(program, sink, environ, name):
    """A guess is nobody's word. All signals say the same, spans from before the call too, and nobody is warned."""
    done = program(TEN_LINES, instrumented=True, **environ)
    assert done.returncode == 0, done.stderr
    assert "settings stay" not in done.stderr
    assert {resource["service.name"] for resource in sink.resources()} == {name}


def test_other_settings_of_a_second_call_are_told_to_be_late(program):
    """They cannot be changed any more."""
    source = "import otel_llmon as l; l.configure(level='basic')"
    assert "the first call's settings stay" in program(source, instrumented=True).stderr
