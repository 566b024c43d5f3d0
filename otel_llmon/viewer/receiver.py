"""OTLP over HTTP: protobuf and JSON, all three signals, answered once the database has it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, NamedTuple

from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from otel_llmon.viewer import records
from otel_llmon.viewer.decoding import MalformedError, TooLargeError, decompressed, from_json, from_protobuf
from otel_llmon.viewer.framing import RefusedError
from otel_llmon.viewer.intake import MAX_BODY, FullError, Intake, Room
from otel_llmon.viewer.serving import Answer, Handler, Server
from otel_llmon.viewer.store import Store, StoreError, UnfitError
from otel_llmon.viewer.tee import Tee

PROTOBUF, JSON = "application/x-protobuf", "application/json"
_PARSERS = {PROTOBUF: from_protobuf, JSON: from_json}
_CODINGS = ("identity", "gzip", "deflate")

_RPC_CODES = {400: 3, 403: 7, 404: 5, 405: 12, 411: 3, 413: 8, 415: 3, 429: 8, 503: 14}
"""google.rpc.Code by HTTP status."""

_DEAF_TO_429 = "OTel-OTLP-Exporter-Python"
"""Its older releases drop a batch at 429 and send it again at 503; newer ones send again at both."""


class Signal(NamedTuple):
    """What differs from one signal to the next."""

    name: str
    request: type[Any]
    response: type[Any]
    rejected: str
    taken: Callable[[Any, int], records.Taken]


SIGNALS = {
    "/v1/traces": Signal(
        "traces", ExportTraceServiceRequest, ExportTraceServiceResponse, "rejected_spans", records.spans
    ),
    "/v1/logs": Signal(
        "logs", ExportLogsServiceRequest, ExportLogsServiceResponse, "rejected_log_records", records.logs
    ),
    "/v1/metrics": Signal(
        "metrics", ExportMetricsServiceRequest, ExportMetricsServiceResponse, "rejected_data_points", records.points
    ),
}


class Receiver(Server):
    """Takes OTLP at an address, into a store."""

    def __init__(self, address: tuple[str, int], store: Store, intake: Intake, tee: Tee | None = None) -> None:
        self.store = store
        self.intake = intake
        self.tee = tee
        super().__init__(address, _Receiving, "--otlp")


class _Receiving(Handler):
    server: Receiver

    def route(self) -> Answer:
        """Take one request."""
        signal = SIGNALS.get(self.path.partition("?")[0])
        if signal is None:
            raise RefusedError(404, f"{self.path[:100]}: expected one of {', '.join(SIGNALS)}")
        if self.command != "POST":
            raise RefusedError(405, f"{self.command}: expected POST", {"Allow": "POST"})
        form, coding = self._form(), self.headers.get("Content-Encoding", "identity").strip().lower()
        if form not in _PARSERS:
            raise RefusedError(415, f"Content-Type {form[:60]!r}: expected {PROTOBUF} or {JSON}")
        if coding not in _CODINGS:
            raise RefusedError(415, f"Content-Encoding {coding[:40]!r}: expected {' or '.join(_CODINGS[1:])}")
        try:
            with self.server.intake.room() as room:
                sent = self._body(room)
                with self.server.intake.place():  # whoever does not send what was promised is in nobody's way
                    return self._take(signal, form, coding, sent, room)
        except (FullError, UnfitError, StoreError, TooLargeError, MalformedError) as exc:
            raise self._refused(exc) from exc

    def _take(self, signal: Signal, form: str, coding: str, sent: bytes, room: Room) -> Answer:
        content = sent if coding == "identity" else decompressed(sent, MAX_BODY, room.grow)
        taken = signal.taken(_PARSERS[form](signal.request, content), time.time_ns())
        self.server.store.put(signal.name, taken, blake2b(content, digest_size=16).digest())
        if self.server.tee is not None:
            self.server.tee.offer(self.path, sent, _described(form, coding))
        return _response(signal, taken, form)

    def _body(self, room: Room) -> bytes:
        pieces = []
        for piece in self.body(MAX_BODY):
            room.grow(len(piece))
            pieces.append(piece)
        return b"".join(pieces)

    def _form(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def _refused(self, exc: Exception) -> RefusedError:
        match exc:
            case FullError():
                deaf = self.headers.get("User-Agent", "").startswith(_DEAF_TO_429)
                return RefusedError(503 if deaf else 429, "the queue is full, send again", {"Retry-After": "1"})
            case MalformedError() | UnfitError():
                return RefusedError(400, str(exc))
            case TooLargeError():
                return RefusedError(413, str(exc))
        return RefusedError(503, str(exc), {"Retry-After": "1"})

    def refusal(self, refused: RefusedError) -> Answer:
        """Return a google.rpc.Status in the form of the request."""
        code = _RPC_CODES.get(refused.status, 13)
        form = self._form() if hasattr(self, "headers") else JSON
        if form == PROTOBUF:
            return Answer(refused.status, PROTOBUF, Status(code=code, message=str(refused)).SerializeToString())
        return Answer(refused.status, JSON, json.dumps({"code": code, "message": str(refused)}).encode())


def _described(form: str, coding: str) -> dict[str, str]:
    """Return the headers of what is handed on; the Collector refuses `identity` by name."""
    return {"Content-Type": form} | ({} if coding == "identity" else {"Content-Encoding": coding})


def _response(signal: Signal, taken: records.Taken, form: str) -> Answer:
    """Return what says that all was taken, or how many were not and why."""
    response = signal.response()
    if taken.rejected:
        setattr(response.partial_success, signal.rejected, taken.rejected)
        response.partial_success.error_message = taken.reason
    if form == PROTOBUF:
        return Answer(200, PROTOBUF, response.SerializeToString())
    from google.protobuf.json_format import MessageToJson

    return Answer(200, JSON, MessageToJson(response, indent=None).encode())
