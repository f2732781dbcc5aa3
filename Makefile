# Harkara. `make help` lists what there is; each target makes its own environment first.

PYTHON ?= python3
UV_VERSION := 0.13.8
TOOLS := .harkara/tools
UV := $(or $(shell command -v uv 2>/dev/null),$(TOOLS)/bin/uv)
BIN := .venv/bin
export UV_PYTHON := $(PYTHON)
export UV_PYTHON_DOWNLOADS := never

RECIPIENTS ?= 1000
KILL ?=
SEED ?=
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo up check lint format unit test chaos mutation requirements docs bench bench-dispatch bench-webhooks bench-policy bench-preview schema clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(TOOLS)/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Harkara needs Python 3.11 or newer; name one with PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.made: uv.lock pyproject.toml $(wildcard libs/*/pyproject.toml services/*/pyproject.toml) | $(if $(filter $(TOOLS)%,$(UV)),$(TOOLS)/bin/uv)
	@$(UV) sync --frozen --all-packages --quiet
	@touch $@

setup: .venv/.made ## make the environment (.venv) from uv.lock

demo: setup ## the whole system on this machine: a run of RECIPIENTS=1000 to its end (KILL=dispatcher,console kills these in it)
	@$(BIN)/harkara demo --recipients $(RECIPIENTS) $(if $(KILL),--kill $(KILL))

up: setup ## the whole system on this machine, staying up, with its URLs printed
	@$(BIN)/harkara up

lint: setup ## style, import law, types, generated docs, Kubernetes and Compose files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/lint-imports
	@$(BIN)/mypy libs services tests bench
	@$(BIN)/pytest -q tests/architecture

check: lint unit ## lint, types, architecture and unit tests

format: setup ## format and mend what can be mended
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

unit: setup ## the tests that need no broker
	@$(BIN)/pytest -q tests/unit tests/contracts -n $(WORKERS)

test: setup ## everything that must hold, on a real broker and a real Postgres
	@$(BIN)/pytest -q tests -n $(WORKERS) --dist loadfile

chaos: setup ## kill, freeze, cut off and stop the dispatcher some 500 times, 50 STOPs in the middle of runs, judged by the simulator's ledger (SEED=n goes on)
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED))

mutation: setup ## small mistakes put into libs/policy one at a time: at least 90 % noticed in each module (SEED=n; `python -m tests.mutation --full` tries all)
	@nice $(BIN)/python -m tests.mutation $(if $(SEED),--seed $(SEED)) --workers $(WORKERS)

requirements: setup ## the requirement rows that no test shows
	@$(BIN)/python -m tests.requirements_report

docs: setup ## write the generated reference again
	@$(BIN)/harkara docs

bench: setup ## the webhook edge: greatest rate, and latency at 1,000/s
	@$(BIN)/python -m bench.webhook_edge

bench-webhooks: setup ## the webhook edge, normaliser and message-state against their bars (8 minutes, a quiet machine)
	@$(BIN)/python -m bench.webhooks
	@$(BIN)/python -m bench.normaliser
	@$(BIN)/python -m bench.message_state

bench-policy: setup ## guard and router with a million persons known (5 minutes, a quiet machine)
	@$(BIN)/python -m bench.policy

bench-preview: setup ## a preview of 10,000 recipients: time, processor time a row
	@$(BIN)/python -m bench.preview

schema: setup ## schemathesis over the simulator's own OpenAPI, 25 examples an operation
	@HARKARA_SCHEMA_EXAMPLES=25 $(BIN)/pytest -q tests/integration/graph_simulator/test_schema.py

bench-dispatch: setup ## the dispatcher: rate, lag, CPU a message, growth, recovery; fails below its bars (13 minutes, a quiet machine)
	@$(BIN)/python -m bench.dispatch

clean: ## remove what was made here (not the Kafka jars in the user's cache)
	@rm -rf .venv .harkara .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
