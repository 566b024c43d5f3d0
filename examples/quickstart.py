"""The README's program. Without a Collector: OTEL_TRACES_EXPORTER=console OTEL_METRICS_EXPORTER=console ..."""

from __future__ import annotations

import logging

import otel_llmon as llmon

log = logging.getLogger("ingest")


@llmon.phase("parse")
def parse(document: str) -> list[str]:
    """Split a document into words."""
    return document.split()


def main() -> None:
    """Run a small pipeline."""
    llmon.configure(service="ingest", endpoint="http://localhost:4318")
    documents = ["one fish", "two fish", "", "blue fish"]
    with llmon.pipeline("ingest", ["parse", "embed"]):
        for document in llmon.progress(documents, "documents"):
            words = parse(document)
            if not words:
                log.warning("an empty document")
            with llmon.phase("embed", {"words": len(words)}):
                sum(hash(word) for word in words)
        llmon.event("index.saved", {"documents": len(documents)})


if __name__ == "__main__":
    main()
