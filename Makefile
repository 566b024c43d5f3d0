# Every command of a working day; each makes its virtual environment first where that is missing.

PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
FRAMEWORKS := .venv-frameworks
BIN := $(VENV)/bin

# The lower ends of the ranges in pyproject.toml.
OLDEST_OTEL := opentelemetry-api==1.38.0 opentelemetry-sdk==1.38.0 opentelemetry-exporter-otlp==1.38.0 \
	opentelemetry-instrumentation==0.59b0 opentelemetry-instrumentation-fastapi==0.59b0

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-oldest test-frameworks stack test-stack check lint types layers docs-check docs format example bench clean

help:  ## say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.examples  ## run the example pipeline and show what arrived; ARGS=--once ends by itself
	@$(BIN)/python examples/demo.py $(ARGS)

test: $(VENV)/.installed  ## run the tests; ARGS="-k phase" goes to pytest
	$(BIN)/python -m pytest $(ARGS)

test-oldest: $(OLDEST)/.installed  ## run the tests with the oldest OpenTelemetry that we support
	$(OLDEST)/bin/python -m pytest $(ARGS)

test-frameworks: $(FRAMEWORKS)/.installed  ## run the tests of torch, transformers, Lightning and Keras; 5 GB at the first time
	$(FRAMEWORKS)/bin/python -m pytest tests/test_frameworks.py $(ARGS)

stack:  ## build the real servers, once: about 16 minutes, then seconds
	PYTHON=$(PYTHON) collector-config/build/build.sh

test-stack: stack $(VENV)/.installed  ## run the tests that ask the real servers; ARGS goes to pytest
	$(BIN)/python -m pytest tests/stack $(ARGS)

check: lint types layers docs-check  ## everything that needs no test run

lint: $(VENV)/.installed  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed  ## mypy
	$(BIN)/mypy

layers: $(VENV)/.installed  ## who may import whom
	$(BIN)/lint-imports

docs-check: $(VENV)/.installed  ## are the generated pages in step
	$(BIN)/python docs/print.py --check

docs: $(VENV)/.installed  ## rewrite the generated pages
	$(BIN)/python docs/print.py

format: $(VENV)/.installed  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

example: $(VENV)/.installed  ## run the README's program, printing what it would send
	OTEL_TRACES_EXPORTER=console OTEL_METRICS_EXPORTER=console OTEL_LOGS_EXPORTER=console $(BIN)/python examples/quickstart.py

bench: $(VENV)/.installed  ## measure what telemetry costs here
	$(BIN)/python -m benchmarks $(ARGS)

clean:  ## remove environments, caches and builds
	rm -rf $(VENV) $(OLDEST) $(FRAMEWORKS) dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is older than pyproject.toml when something must be installed again.
$(VENV)/.installed: pyproject.toml
	@$(call virtualenv,$(VENV))
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

# What `make demo` needs and no more. Bytecode is compiled on use: all of it would take longer than the demo.
$(VENV)/.examples: pyproject.toml
	@$(call virtualenv,$(VENV))
	@test $(VENV)/.installed -nt pyproject.toml || { echo "installing into $(VENV), once; this takes longer than the demo"; \
		$(BIN)/python -m pip install --quiet --no-compile --editable '.[examples]'; }
	@touch $@

$(OLDEST)/.installed: pyproject.toml Makefile
	@$(call virtualenv,$(OLDEST))
	$(OLDEST)/bin/python -m pip install --quiet --editable '.[dev]' $(OLDEST_OTEL)
	@touch $@

$(FRAMEWORKS)/.installed: pyproject.toml
	@$(call virtualenv,$(FRAMEWORKS))
	$(FRAMEWORKS)/bin/python -m pip install --quiet --editable '.[dev,frameworks]'
	@touch $@

define virtualenv
$(PYTHON) -c 'import sys; sys.exit("python 3.11 or newer is needed; try: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)' \
	&& { test -x $(1)/bin/python || $(PYTHON) -m venv $(1); }
endef
