"""`python -m otel_llmon.cli`: the `llmon` command where no script is on the path."""

from otel_llmon.cli import main

main()
