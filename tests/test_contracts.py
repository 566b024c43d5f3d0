"""What holds for every row, every module and every public name."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import otel_llmon
from otel_llmon import instrumentors
from otel_llmon.errors import NoDataError
from otel_llmon.observers import cgroup, gpu, torch
from otel_llmon.observers.sources import everything, sources
from otel_llmon.semconv import attributes, events, rows

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "otel_llmon").rglob("*.py"))
UPSTREAM = ("system.", "process.", "hw.", "http.", "gen_ai.", "db.", "cpython.", "container.")
UNIT = re.compile(r"1|s|By|By\.s|g|J|W|Hz|Cel|\{[A-Za-z_]+\}")


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_every_row_is_whole(row):
    """Name in upstream's namespaces or ours, a unit, a description, known attributes, edges where they belong."""
    assert row.name.startswith((*UPSTREAM, "llmon."))
    assert re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+", row.name)
    assert UNIT.fullmatch(row.unit)
    assert row.description.endswith(".")
    assert set(row.attributes) <= set(attributes.MEANINGS)
    assert bool(row.edges) == (row.kind == "histogram")
    assert list(row.edges) == sorted(set(row.edges))
    assert 0 < row.cap < 2000, "the SDK takes 2,000 series for an instrument"
    assert not row.name.endswith(("_total", ".total_seconds", "_bytes"))


@pytest.mark.parametrize("row", events.rows(), ids=lambda row: row.name)
def test_every_event_is_whole(row):
    """A name of a thing and what became of it, fields that can be typed, and words for all of them."""
    assert row.name == "error" or re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)?", row.name)
    assert row.severity in ("info", "warning", "error")
    assert row.meaning.endswith(".")
    assert row.fields
    for field, meaning in row.fields.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", field)
        assert meaning
        assert not re.search(r"(?<!\.\.)\.$", meaning), "a meaning is no sentence"
    assert [other.name for other in events.rows()].count(row.name) == 1


def test_no_name_is_given_twice():
    """One row per metric, one constant per attribute key."""
    names = [row.name for row in rows()]
    assert len(names) == len(set(names))
    keys = [value for name, value in vars(attributes).items() if name.isupper() and isinstance(value, str)]
    assert len(keys) == len(set(keys))


def test_every_row_is_emitted_and_every_emitted_name_is_a_row():
    """A row that no module takes up is dead; a name written outside the registry drifts away from it."""
    constants = {
        name: value
        for family in pkgutil.iter_modules([str(ROOT / "otel_llmon/semconv")])
        for name, value in vars(importlib.import_module(f"otel_llmon.semconv.{family.name}")).items()
        if value in rows()
    }
    names = {row.name for row in rows()}
    used: set[str] = set()
    for source in SOURCES:
        if "semconv" in source.parts:
            continue
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Attribute | ast.Name):
                used.add(node.attr if isinstance(node, ast.Attribute) else node.id)
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in names, f"{source.name}: {node.value!r} belongs into semconv"
    assert set(constants) <= used, f"nobody emits {sorted(set(constants) - used)}"


def _events_of(source):
    """Yield the names that a module of ours reports events by, as far as they are written there."""
    tree = ast.parse(source.read_text())
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "event":
            match node.args[0]:
                case ast.Constant(value=name):
                    yield name
                case ast.Name(id=name) if name in constants:
                    yield constants[name]


def test_every_event_of_our_own_is_in_the_registry():
    """But those under `llmon.`, which nobody else reports."""
    found = {name for source in SOURCES for name in _events_of(source) if not name.startswith("llmon.")}
    assert "training.epoch" in found
    assert found <= events.EVENTS.keys()


def test_attribute_keys_are_written_in_the_registry_only():
    """Spans and metrics name a key by its constant."""
    ours = set(attributes.MEANINGS)
    for source in SOURCES:
        if "semconv" in source.parts:
            continue
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Constant):
                assert node.value not in ours, f"{source.name}: {node.value!r} belongs into semconv/attributes.py"


HERE_OR_NOT = {
    "host.cpu": {"system.cpu.physical.count"},
    "host.cpus": {"system.cpu.physical.count"},
    "host.memory": {"system.paging.usage", "system.paging.utilization"},
    "process.gc": {"cpython.gc.uncollectable_objects"},
    "host.sensors": {"system.cpu.frequency", "hw.temperature"},
    "cgroup.cpu": {row.name for row in cgroup.CPU_ROWS},
    "cgroup.memory": {row.name for row in cgroup.MEMORY_ROWS},
    "cgroup.pressure": {"llmon.container.pressure"},
    "gpu": {row.name for row in gpu.ROWS},
    "torch": {row.name for row in torch.ROWS},
}
"""What one machine says and another does not."""


@pytest.mark.parametrize("name", [*everything(), "host.cpus", "host.disks", "host.interfaces"])
def test_every_observer_yields_its_rows_and_no_others(name):
    """Three passes, since some readings need two; what this machine cannot say may be missing."""
    observe, rows = sources([name])[name]()
    seen = set()
    try:
        seen = {row for _ in range(3) for row, _, _ in observe()}
    except NoDataError:
        assert name in HERE_OR_NOT
    assert seen <= set(rows)
    assert {row.name for row in rows} - {row.name for row in seen} <= HERE_OR_NOT.get(name, set())
    for row, value, labels in observe() if seen else ():
        assert set(labels) <= set(row.attributes)
        assert isinstance(value, int | float)


INSTRUMENTORS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
    "opentelemetry_instrumentor"
]


@pytest.mark.parametrize("name", INSTRUMENTORS)
def test_every_instrumentor_is_a_table_that_imports_no_library(name):
    """Its name is ours, what it needs is said, and its library is left to the program."""
    module, _, instrumentor = INSTRUMENTORS[name].partition(":")
    assert name.startswith("llmon_"), "another vendor's of the same name could not be switched off alone"
    found = getattr(importlib.import_module(module), instrumentor)()
    assert found.__doc__
    assert found.instrumentation_dependencies()
    libraries = {patch.library for patch in found.patches}
    assert libraries
    assert not libraries & _loaded(f"import {module}")
    assert name in (ROOT / "docs/llm.md").read_text()
    assert instrumentors.INSTRUMENTORS[name.removeprefix("llmon_")] == INSTRUMENTORS[name]


def test_nothing_of_ours_runs_when_python_lets_go_of_something():
    """There Ctrl-C is swallowed and any lock may be held: see `instrumentors/held.py`."""
    places = re.compile(r"def __del__|gc\.callbacks|weakref\.finalize|weakref\.(ref|proxy)\(\w+, (?!dropped\.append)")
    found = {source.relative_to(ROOT).as_posix() for source in SOURCES if places.search(source.read_text())}
    # A loop that is let go notes its end: a few microseconds, once a loop, without a lock.
    assert found == {"otel_llmon/progress/__init__.py", "otel_llmon/progress/iterating.py"}


def test_only_metering_creates_instruments():
    """One place for routes, caps and refusals."""
    creators = re.compile(r"\.create_(observable_)?(counter|up_down_counter|gauge|histogram)\b")
    found = [source.relative_to(ROOT).as_posix() for source in SOURCES if creators.search(source.read_text())]
    assert found == ["otel_llmon/metering/__init__.py", "otel_llmon/metering/binding.py"]


def test_every_public_name_is_there_and_documented():
    """The package offers what it lists, and nothing else by accident."""
    assert set(otel_llmon.__all__) == set(otel_llmon._HOMES)
    for name in otel_llmon.__all__:
        assert getattr(otel_llmon, name).__doc__
        assert name in dir(otel_llmon)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        otel_llmon.nothing  # noqa: B018


HEAVY = {
    "numpy",
    "scipy",
    "psutil",
    "rich",
    "requests",
    "yaml",
    "typer",
    "pynvml",
    "opentelemetry.sdk",
    "google.protobuf",
}


def _loaded(code: str) -> set[str]:
    program = f"import sys; {code}; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    return set(output.split())


def test_importing_the_package_loads_the_api_at_most():
    """What costs time or memory is loaded when it is used."""
    assert not HEAVY & _loaded("import otel_llmon")


def test_emitting_loads_no_sdk():
    """Phases, progress and events stand on the API alone; a library may use them."""
    code = "from otel_llmon import phase, pipeline, progress, event; phase('x').__enter__().__exit__(None, None, None)"
    assert not HEAVY & _loaded(code)


def test_the_pytest_plugin_loads_nothing_until_it_is_used():
    """The plugin is imported at every start, of pytest, in every project that has us installed."""
    loaded = _loaded("import otel_llmon.fixtures")
    assert not {name for name in loaded if name.startswith("opentelemetry")}


def test_every_entry_point_can_be_loaded():
    """What pyproject.toml promises to others is there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {**project["entry-points"], "scripts": project["scripts"]}
    for group in groups.values():
        for target in group.values():
            module, _, name = target.partition(":")
            found = importlib.import_module(module)
            assert not name or callable(getattr(found, name))
