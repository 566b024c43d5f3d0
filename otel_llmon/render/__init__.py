"""Text made from rows: pages, queries, rules and dashboards; no OpenTelemetry, no input but the arguments."""
