# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
# Everything lives in .venv; Debian packages are installed only where that is allowed (root and apt).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
USER_STAMP := $(VENV)/.headrace-user
DEV_STAMP := $(VENV)/.headrace-dev
SETUP_TESTS := setup-camera-tests setup-browser-tests setup-kafka-tests setup-prometheus-tests
ARGS ?=
JOBS ?= 2
TEST := $(BIN)/python -m pytest --durations=20 --durations-min=10

.PHONY: help setup demo test faults soak check format bench reference wheel clean \
	setup-dev $(SETUP_TESTS) kafka kafka-stop

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 32

setup: $(USER_STAMP) ## makes .venv with headrace in it (about two minutes: PyTorch is large)

demo: $(USER_STAMP) ## shows everything at once; ARGS="--seconds 60" ends it
	@$(BIN)/headrace demo $(ARGS)

test: $(DEV_STAMP) $(SETUP_TESTS) ## runs all tests
	@$(TEST) -n $(JOBS) --dist loadfile -m "not faults and not alone" $(ARGS) || [ $$? -eq 5 ]
	@echo "== the tests that run beside no others"
	@$(TEST) -m "alone and not faults" $(ARGS) || [ $$? -eq 5 ]

faults: $(DEV_STAMP) setup-kafka-tests ## plays the slow faults: fifty minutes, some of them as root only
	@$(BIN)/python -m pytest -m faults $(ARGS)

soak: $(DEV_STAMP) setup-kafka-tests ## an hour of random faults, judged every ten minutes; ARGS="--minutes 10 --seed 7"
	@$(BIN)/python -m tests.faults.soak $(ARGS)

kafka: ## starts a Kafka broker on 127.0.0.1:9092; ARGS="--port 9192" for another port
	@PYTHON=$(PYTHON) compose/kafka/run start $(ARGS)

kafka-stop: ## stops it
	@PYTHON=$(PYTHON) compose/kafka/run stop

check: $(DEV_STAMP) ## lint, format, types, layers, and that the reference is fresh
	@echo "== ruff" && $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "== pyright" && $(BIN)/pyright
	@echo "== import-linter" && $(BIN)/lint-imports
	@echo "== reference" && $(BIN)/python -m docs.make_reference --check

format: $(DEV_STAMP) ## formats the code
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

bench: $(USER_STAMP) ## measures the worker against the plain loop and the ceiling; ARGS="kafka" or "swaps"
	@$(BIN)/headrace bench $(ARGS)

reference: $(DEV_STAMP) ## writes docs/reference from the code
	@$(BIN)/python -m docs.make_reference

wheel: $(DEV_STAMP) ## builds dist/headrace-*.whl
	@$(BIN)/python -m build --wheel

clean: ## removes .venv and what was built
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

setup-dev: $(DEV_STAMP) ## .venv with the tools for tests and checks

$(VENV)/bin/python:
	@echo "== making $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "headrace needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(USER_STAMP): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "== installing headrace and PyTorch into $(VENV) (the first time takes some minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(DEV_STAMP): $(USER_STAMP)
	@echo "== installing the tools for tests and checks into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

setup-camera-tests: ## Debian's RTSP server for the camera tests
	@$(PYTHON) tools/debian_packages.py camera

setup-browser-tests: ## Debian's Chromium for the test of the page
	@$(PYTHON) tools/debian_packages.py browser

setup-kafka-tests: ## Java and Maven, and by them a Kafka broker, for the Kafka tests
	@$(PYTHON) tools/debian_packages.py kafka
	@PYTHON=$(PYTHON) compose/kafka/run fetch

setup-prometheus-tests: ## Debian's Prometheus for the tests of rules and dashboard
	@$(PYTHON) tools/debian_packages.py prometheus
