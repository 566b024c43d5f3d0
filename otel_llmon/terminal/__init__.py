"""Traces and metrics as text for a terminal, drawn from plain snapshots: what `otel_llmon.backends` returns.

`Console().print(Tree(trace))`: as wide as the console, with colours where it has some, in ASCII where it knows no more.
"""

from __future__ import annotations

from otel_llmon.terminal.table import Table, Value, newest
from otel_llmon.terminal.text import TIMES, amount, counted
from otel_llmon.terminal.tree import Tree

__all__ = ["TIMES", "Table", "Tree", "Value", "amount", "counted", "newest"]
