"""The generated pages: in step with the rows, and complete."""

from __future__ import annotations

import inspect
import re
import runpy
from dataclasses import fields
from pathlib import Path

import pytest
from sink import attributes as attributes_of

from otel_llmon import Breaker, cli, semconv, settings
from otel_llmon.limiting import MOST, burst
from otel_llmon.render.docs import metrics_page
from otel_llmon.semconv import Metric, attributes, events

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = sorted([README, ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])


@pytest.fixture(scope="module")
def printer():
    """The names that docs/print.py defines."""
    return runpy.run_path(str(DOCS / "print.py"))


def test_the_pages_are_in_step(printer):
    """What lies in docs/ is what would be written now."""
    assert printer["stale"](DOCS.parent) == [], "run: make docs"


def test_checking_says_what_is_out_of_step_and_writing_puts_it_right(printer, tmp_path):
    """--check writes nothing and names the files; without it they are written."""
    said = printer["main"](["--check"], tmp_path)
    assert said == f"generated files out of step: {', '.join(printer['FILES'])}; run: make docs"
    assert list(tmp_path.iterdir()) == []
    assert printer["main"]([], tmp_path) is None
    assert printer["main"](["--check"], tmp_path) is None


def test_a_mark_names_a_row_that_exists(printer):
    """The coverage page holds every marked test, under its row."""
    assert printer["proven"]()
    assert set(printer["proven"]()) <= set(printer["capabilities"]())


def test_every_metric_is_documented_once(printer):
    """Each row is one line of the page, with its unit and its description."""
    lines = printer["FILES"]["docs/metrics.md"].partition("## Histogram edges")[0].splitlines()
    for row in semconv.rows():
        [line] = [line for line in lines if line.startswith(f"| `{row.name}` |")]
        assert f"`{row.unit}`" in line
        assert row.description in line


def test_every_attribute_is_documented(printer):
    """Each constant has a meaning on the page, and metrics use no key without one."""
    page = printer["FILES"]["docs/metrics.md"]
    keys = {value for name, value in vars(attributes).items() if name.isupper() and isinstance(value, str)}
    assert keys | {key for row in semconv.rows() for key in row.attributes} == set(attributes.MEANINGS)
    assert all(f"| `{key}` | {meaning} |" in page for key, meaning in attributes.MEANINGS.items())


def test_every_event_is_documented(printer):
    """Each row has its line and its fields."""
    page = printer["FILES"]["docs/events.md"]
    for row in events.rows():
        assert f"| `{row.name}` | {row.severity} | {row.meaning} |" in page
        assert all(f"| `{field}` | {meaning} |" in page for field, meaning in row.fields.items())


def test_every_setting_is_documented(printer):
    """Each field has its line: key, variable and meaning."""
    page = printer["FILES"]["docs/settings.md"]
    for field in fields(settings.Settings):
        assert f"| `{field.name}` | `OTEL_LLMON_{field.name.upper()}` |" in page
        assert field.metadata["meaning"] in page


def test_generated_pages_say_how_to_rewrite_them(printer):
    """The first line of each page names the command."""
    assert all("make docs" in "".join(text.splitlines()[:4]) for text in printer["FILES"].values())


def test_a_page_groups_by_namespace_and_keeps_its_table_whole():
    """Rows of one namespace share a table, equal edges share a line, and a bar in a text is no new cell."""
    page = metrics_page(
        [
            Metric("gen_ai.a", "histogram", "s", "first | one", ("x",), (0.5, 1.0)),
            Metric("llmon.b.c", "counter", "1", "second"),
            Metric("gen_ai.d", "histogram", "s", "third", (), (0.5, 1.0)),
        ],
        {"x": "what x says"},
    )
    assert page.count("## `gen_ai`") == page.count("## `llmon.b`") == 1
    assert "| `gen_ai.a` | histogram | `s` | `x` | 1,000 | first &#124; one |\n| `gen_ai.d` |" in page
    assert "| `gen_ai.a`, `gen_ai.d` | 0.5, 1 |" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """Every file that a page links to, pictures included, is there."""
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    gone = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert gone == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_pages_name_exist(page):
    """`make x` is a target, `llmon x` a command."""
    text = page.read_text()
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)) <= targets
    commands = set(cli.COMMANDS)
    assert set(re.findall(r"(?:`|^)llmon ([a-z]+)", text, re.MULTILINE)) <= commands


def test_the_readme_is_read_in_one_sitting():
    """It is short, shows the page, and names the two commands."""
    text = README.read_text()
    assert len(text.splitlines()) <= 120
    assert "(docs/images/viewer.png)" in text
    assert all(f"\nmake {command} " in text for command in ("demo", "test"))


def test_the_readmes_program_does_what_it_says(program, sink):
    """Its lines run as they are; the trace, the loop's count and the event arrive."""
    [source] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    done = program(source)
    assert (done.returncode, done.stderr) == (0, "")
    names = [span.name for span in sorted(sink.spans(), key=lambda span: span.start_time_unix_nano)]
    assert names == ["ingest", "parse", "embed", "parse", "embed"]
    assert sink.totals("llmon.progress.items") == 2
    assert [record.body.string_value for record in sink.logs()] == ["index.saved"]


def test_the_quick_starts_program_does_what_it_says(program, sink):
    """Its words run under opentelemetry-instrument, given something to do."""
    [source, configured] = re.findall(r"```python\n(.*?)```", (DOCS / "quickstart.md").read_text(), re.DOTALL)
    done = program(f"chunks = 'abc'\n{source}", instrumented=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(span.name for span in sink.spans()) == ["embed", "embed", "embed", "ingest"]
    assert program(configured).stderr == ""


@pytest.mark.row("L16")
def test_the_page_of_logs_does_what_it_says(program, sink):
    """Its blocks run one after the other; what they log arrives with its fields, and print is left alone."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "logs.md").read_text(), re.DOTALL)
    done = program("import otel_llmon\notel_llmon.configure('app')\n" + "\n".join(blocks), OTEL_PYTHON_LOG_LEVEL="info")
    assert done.returncode == 0, done.stderr
    assert "embedded 32 documents in 1.7\n" in done.stdout
    assert '"event": "embedded"' in done.stdout
    assert '"fields": {"documents": 32}' in done.stderr
    records = sorted(sink.logs(), key=lambda record: record.time_unix_nano)
    found = [(record.body.string_value, record.severity_text, attributes_of(record)) for record in records]
    own = re.compile(r"(?!code\.|exception\.)")
    said = [
        (body, level, {name: value for name, value in fields.items() if own.match(name)})
        for body, level, fields in found
    ]
    bound = {"request": "4711", "tenant": "b"}
    [warned] = [body for body, _, _ in found if "the old tokenizer goes away" in body]
    assert said == [
        ("slow answer", "WARNING", {"shard": "3", "seconds": "4.2"}),
        ("no such key", "ERROR", {}),
        ("checkpoint.saved", "INFO", {"step": "300", "path": "runs/7/300.pt"}),
        ("error", "ERROR", {"operation": "read config"}),
        ("search.served", "INFO", {"seconds": "0.3", "hits": "12", "index": "papers"}),
        ("queued", "WARNING", bound),
        ("request.served", "INFO", bound),
        ("embedded", "INFO", {"documents": "32", "seconds": "1.7"}),
        (warned, "WARNING", {}),
        ("embedded", "INFO", {"documents": "32"}),
        ("embedded", "SUCCESS", {"documents": "32"}),
        ("embedded", "INFO", {"documents": "32"}),
    ]
    assert sink.totals("app.search.hits") == 12
    assert [fields["exception.type"] for _, _, fields in found if "exception.type" in fields] == [
        "KeyError",
        "ValueError",
    ]


def test_the_page_of_phases_does_what_it_says(program, sink):
    """Its blocks run one after the other; the program reads what is exported, and shapes are on the spans."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "phases.md").read_text(), re.DOTALL)
    done = program("import otel_llmon\notel_llmon.configure('app')\n" + "\n".join(blocks))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ingest: ")
    assert " documents/s\n" in done.stdout
    assert "96 documents\n" in done.stdout
    [forward] = [span for span in sink.spans() if span.name == "forward"]
    assert attributes_of(forward)["llmon.input.type"] == "float64"
    assert attributes_of(forward).keys() >= {"llmon.input.shape", "llmon.output.shape"}


@pytest.mark.row("K7")
def test_the_page_of_profiles_leads_to_tools_that_take_a_running_program():
    """For time and for memory; nothing of ours wraps them."""
    page = (DOCS / "profiling.md").read_text()
    [heap] = [line for line in page.splitlines() if "heap dump" in line]
    assert "[`memray attach PID`](https://bloomberg.github.io/memray/" in heap
    [time] = [line for line in page.splitlines() if "where is the time spent" in line]
    assert "--pid PID`](https://github.com/benfred/py-spy)" in time
    assert "heap" not in cli.COMMANDS


def test_the_page_of_logs_names_the_defaults_that_are():
    """The rate and the burst are written out in it."""
    page = (DOCS / "logs.md").read_text()
    rate = settings.Settings().event_rate
    assert f"{rate:,.0f} records a second are sent, and up to {burst(rate):,.0f} at once" in page
    assert f"the {MOST + 1:,}st on" in page


@pytest.mark.row("H13")
@pytest.mark.row("H15")
def test_the_page_of_the_breaker_does_what_it_says(program):
    """Its blocks run one after the other, with a client that is down and one that is not."""
    ask, errors, instead = re.findall(r"```python\n(.*?)```", (DOCS / "breaker.md").read_text(), re.DOTALL)
    clients = """
class Client:
    def __init__(self, error=None):
        self.error, self.calls = error, 0
    def chat(self, question):
        self.calls += 1
        if self.error is not None:
            raise self.error
        return "yes"

class StatusError(Exception):
    status_code = 404

client, local_client, hosted_client = Client(TimeoutError()), Client(TimeoutError()), Client()

def said(function, times):
    for _ in range(times):
        try:
            yield function("Are you there?")
        except Exception as exc:
            yield type(exc).__name__
"""
    uses = """
print(*said(ask, 7), client.calls)
print(*said(openai(Client(StatusError()).chat), 7))
print(*said(answer, 4), local_client.calls)
"""
    done = program(f"{clients}\n{ask}\n{errors}\n{instead}\n{uses}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "TimeoutError " * 5 + "CircuitOpenError CircuitOpenError 5",
        " ".join(["StatusError"] * 7),
        "TimeoutError TimeoutError yes yes 2",
    ]


def test_the_page_of_the_breaker_names_the_defaults_that_are():
    """Each option stands in its table with what it is where nobody says it."""
    page = (DOCS / "breaker.md").read_text()
    for name, given in inspect.signature(Breaker.__init__).parameters.items():
        if given.default is not inspect.Parameter.empty and name not in ("of", "clock"):
            default = given.default.__name__ if isinstance(given.default, type) else given.default
            assert f"| `{name}={default}` |" in page
