"""Numbers that judge other numbers: pure functions, no OpenTelemetry, no clock, no file."""
