"""The database's tables. A file with another schema is set aside, not migrated: telemetry is looked at, then old."""

from __future__ import annotations

from typing import Final

APPLICATION: Final = 0x6C6C6D6F
"""`llmo`, in the header of every file of ours."""

VERSION: Final = 2

TABLES: Final = """
CREATE TABLE totals (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO totals VALUES ('spans', 0), ('logs', 0), ('points', 0), ('traces', 0), ('rejected', 0);

CREATE TABLE origins (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE,
    service TEXT NOT NULL, resource BLOB NOT NULL, scope BLOB NOT NULL
);
CREATE INDEX origins_service ON origins (service);

CREATE TABLE spans (
    id INTEGER PRIMARY KEY, trace_id BLOB NOT NULL, span_id BLOB NOT NULL, parent_id BLOB,
    start INTEGER NOT NULL, finish INTEGER NOT NULL, error INTEGER NOT NULL, name TEXT NOT NULL,
    origin INTEGER NOT NULL, body BLOB NOT NULL,
    UNIQUE (trace_id, span_id)
);

-- What a list of traces shows, kept up with every commit. rank is the start of the span that gives the name:
-- a root comes before all others.
CREATE TABLE traces (
    trace_id BLOB PRIMARY KEY, start INTEGER NOT NULL, finish INTEGER NOT NULL, spans INTEGER NOT NULL,
    errors INTEGER NOT NULL, rank INTEGER NOT NULL, root TEXT NOT NULL, origin INTEGER NOT NULL,
    arrived INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX traces_start ON traces (start);
CREATE INDEX traces_errors ON traces (start) WHERE errors > 0;
CREATE INDEX traces_arrived ON traces (arrived);

CREATE TABLE trace_origins (
    trace_id BLOB NOT NULL, origin INTEGER NOT NULL, PRIMARY KEY (trace_id, origin)
) WITHOUT ROWID;
CREATE INDEX trace_origins_origin ON trace_origins (origin);

CREATE TABLE logs (
    id INTEGER PRIMARY KEY, time INTEGER NOT NULL, severity INTEGER NOT NULL, trace_id BLOB, span_id BLOB,
    body BLOB NOT NULL, origin INTEGER NOT NULL, arrived INTEGER NOT NULL
);
CREATE INDEX logs_time ON logs (time);
CREATE INDEX logs_trace ON logs (trace_id) WHERE trace_id IS NOT NULL;
CREATE INDEX logs_origin ON logs (origin);

-- A log record has no id: a request that is sent again is known by its bytes.
CREATE TABLE requests (digest BLOB PRIMARY KEY, arrived INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE metrics (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, unit TEXT NOT NULL, kind TEXT NOT NULL, delta INTEGER NOT NULL,
    description TEXT NOT NULL, UNIQUE (name, unit, kind, delta)
);
CREATE TABLE series (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, metric INTEGER NOT NULL, origin INTEGER NOT NULL,
    attributes BLOB NOT NULL
);
CREATE INDEX series_metric ON series (metric);
CREATE INDEX series_origin ON series (origin);
CREATE TABLE points (
    series INTEGER NOT NULL, time INTEGER NOT NULL, start INTEGER, value, body BLOB, arrived INTEGER NOT NULL,
    PRIMARY KEY (series, time)
) WITHOUT ROWID;
CREATE INDEX points_arrived ON points (arrived);
"""
