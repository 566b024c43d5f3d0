"""Rewrite the generated pages beside this file; with --check, only say which are out of step."""

from __future__ import annotations

import sys
from pathlib import Path

from otel_llmon import semconv, settings
from otel_llmon.render import docs
from otel_llmon.semconv.attributes import MEANINGS

PAGES = {
    "metrics.md": docs.metrics_page(semconv.rows(), MEANINGS),
    "settings.md": docs.settings_page(settings.rows(), settings.CONFIG),
}


def stale(folder: Path) -> list[str]:
    """Return the names of the pages in the folder that are missing or differ."""
    return [
        name
        for name, text in PAGES.items()
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str], folder: Path) -> str | None:
    """Write the pages that differ, or return what is wrong when only asked to check."""
    names = stale(folder)
    if "--check" not in arguments:
        for name in names:
            (folder / name).write_text(PAGES[name], encoding="utf-8")
    elif names:
        return f"docs out of step: {', '.join(names)}; run: make docs"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).parent))
