"""Attribute keys: one constant per key, upstream's names first, then our own."""

from __future__ import annotations

from typing import Final

CODE_FILE: Final = "code.file.path"
CODE_FUNCTION: Final = "code.function.name"
CODE_LINE: Final = "code.line.number"
CPU_MODE: Final = "cpu.mode"
ERROR_TYPE: Final = "error.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
EXCEPTION_TYPE: Final = "exception.type"
METRIC_OVERFLOW: Final = "otel.metric.overflow"
SYSTEM_MEMORY_STATE: Final = "system.memory.state"

OPERATION: Final = "llmon.operation"
OUTCOME: Final = "llmon.outcome"
PHASE: Final = "llmon.phase"
PIPELINE: Final = "llmon.pipeline"
PIPELINE_PHASES: Final = "llmon.pipeline.phases"
REASON: Final = "llmon.reason"
SIGNAL: Final = "llmon.signal"
SOURCE: Final = "llmon.source"
STATE: Final = "llmon.state"

MEANINGS: Final = {
    CODE_FILE: "file that logged (log records only)",
    CODE_FUNCTION: "function that logged (log records only)",
    CODE_LINE: "line that logged (log records only)",
    CPU_MODE: "what the CPU was doing: user, system, idle, iowait, ...",
    ERROR_TYPE: "class of the exception that ended the work",
    EXCEPTION_MESSAGE: "what a logged exception said (log records only)",
    EXCEPTION_STACKTRACE: "where a logged exception was raised (log records only)",
    EXCEPTION_TYPE: "class of a logged exception (log records only)",
    METRIC_OVERFLOW: "true on the one series that takes what is past a metric's cap",
    SYSTEM_MEMORY_STATE: "used, free, cached or buffers",
    OPERATION: "name given to `progress()`",
    OUTCOME: "phases: success, failure or cancellation; progress: completed",
    PHASE: "name given to `phase()`",
    PIPELINE: "name of the `pipeline()` around the work; absent outside one",
    PIPELINE_PHASES: "phases that `pipeline()` was told to expect (spans only)",
    REASON: "why a value was refused: type, not_finite, negative, attributes",
    SIGNAL: "traces, metrics or logs",
    SOURCE: "the observer, gauge or metric that failed",
    STATE: "running, finished or stopped",
}
"""What each key says, for the printed docs."""
