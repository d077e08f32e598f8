# `make help` lists everything. Every target sets up what it needs in .venv first, once.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Tests wait for processes and the disk as much as they compute: three at a time keep two cores busy.
TEST_WORKERS ?= 3
ARGS ?=
# What `make up` or `make nodes` started, unless you name a database of your own.
STACK := if [ -z "$${AUTOMATA_DATABASE_URL:-}" ] && [ -f build/stack/env ]; then set -a; . build/stack/env; set +a; fi;

.PHONY: help demo test lint fmt vet web build up nodes run down migrate-up db-shell dev-api dev-scheduler dev-orchestrator \
	dev-worker bench chaos thorough soak failover docs hashes clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints/runtime.txt constraints/dev.txt
	@for python in $${PYTHON:-python3 python3.13 python3.12 python3.11}; do \
		if "$$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
		echo "error: Automata needs Python 3.11 or later, and none was found; name one with PYTHON=/path/to/python3." >&2; \
		exit 1; \
	fi; \
	if ! "$$found" -c 'import venv, ensurepip' 2>/dev/null; then \
		echo "error: $$found has no venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
		exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$("$$found" --version) (once; a minute or two) ..."; \
	"$$found" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/dev.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## A real shop, a Git repository, runs between them and a change that is proved first, in under a minute
	@$(BIN)/automata demo $(ARGS)

test: $(READY) ## All tests, on a real PostgreSQL of their own
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) $(ARGS)

lint: $(READY) ## Style, formatting, types and the floors; changes nothing
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(MAKE) vet

vet: $(READY) ## Types (mypy --strict) and the floors (import-linter)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fmt: $(READY) ## Format the code and mend what can be mended by itself
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

web: $(READY) ## The console's scripts and styles, from web-assets/ into automata/web/static/
	@$(BIN)/python web-assets/build.py

build: $(READY) ## The wheel and the source archive in dist/, checked for what must be inside
	@rm -rf dist
	@$(BIN)/python -m build --outdir dist . >/dev/null
	@inside=$$($(BIN)/python -m zipfile -l dist/*.whl); \
	for part in _data/schemas/flow.schema.json _data/migrations/env.py _data/migrations/versions/ \
		_data/flows-example/automata.yaml project/starter_files/automata.yaml web/static/app.js web/static/app.css web/templates/base.html; do \
		grep -qF "automata/$$part" <<<"$$inside" || { echo "error: the wheel lacks $$part" >&2; exit 1; }; \
	done
	@ls -l dist | awk 'NR > 1 {printf "dist/%s  %d KiB\n", $$NF, $$5 / 1024}'

up: $(READY) ## All of Automata with PostgreSQL and RabbitMQ: containers where an engine runs, else a process a part
	@$(BIN)/python -m automata.cli.stack up

nodes: $(READY) ## PostgreSQL and RabbitMQ alone, to develop on
	@$(BIN)/python -m automata.cli.stack nodes

down: $(READY) ## Stop what make up or make nodes started; its data stays
	@$(BIN)/python -m automata.cli.stack down

run: $(READY) ## All of Automata in one process on flows-example, reloading what you edit (Ctrl-C ends it)
	@$(STACK) AUTOMATA_ALLOW_LOOPBACK=1 $(BIN)/automata up --repo . --path flows-example --env dev --watch $(ARGS)

dev-api: migrate-up ## The API alone on :8080, on the shared database
	@$(STACK) $(BIN)/automata api $(ARGS)

dev-scheduler: migrate-up ## A scheduler alone (health on :8081)
	@$(STACK) $(BIN)/automata scheduler $(ARGS)

dev-orchestrator: migrate-up ## An orchestrator alone (health on :8083)
	@$(STACK) $(BIN)/automata orchestrator $(ARGS)

dev-worker: migrate-up ## A worker alone that may call this machine (health on :8082)
	@$(STACK) $(BIN)/automata worker --allow-loopback $(ARGS)

migrate-up: $(READY) ## Bring the database to this version's tables
	@$(STACK) $(BIN)/automata migrate $(ARGS)

db-shell: $(READY) ## psql on the database: AUTOMATA_DATABASE_URL, else that of make up or nodes, else the embedded one
	@$(STACK) $(BIN)/python -m automata.cli.db_shell

bench: $(READY) ## All workloads, peers and the probe; writes docs/performance.md (20 minutes; ARGS=--quick: 3)
	@$(BIN)/python -m benchmarks.everything $(ARGS)

chaos: $(READY) ## 100,000 runs over 200 random kills of processes, broker and database (ARGS="--runs 1000 --kills 10")
	@$(BIN)/python -m tests.promises.chaos $(ARGS)

thorough: $(READY) ## Tests that repeat, twenty times as often: applies, kills of a sync, generated flows and requests
	@AUTOMATA_TEST_TIMES=20 $(BIN)/python -m pytest -n $(TEST_WORKERS) --timeout=3600 -rP $(ARGS) \
		tests/proposals/test_lifecycle.py tests/promises/test_kill_sync.py tests/sandbox/test_agreement.py \
		tests/engine/test_model.py tests/engine/test_advance.py tests/flow/test_schema.py \
		tests/flow/test_template_fuzz.py tests/api/test_schema_fuzz.py tests/acceptance/test_demo.py

soak: $(READY) ## What shows after a while: the database killed again and again, a flood, a rolling restart, a million steps
	@$(BIN)/python -m tests.promises.soak $(ARGS)

failover: $(READY) ## A RabbitMQ cluster loses its leader and a PostgreSQL primary its life, under load (ARGS="--rounds 1")
	@$(BIN)/python -m tests.promises.failover $(ARGS)

docs: $(READY) ## The documentation as a site in build/site; a broken link or a page without a place stops it
	@$(BIN)/python -m sphinx -q -W --keep-going -j auto -d build/doctrees docs build/site $(ARGS)
	@echo "build/site/index.html"

hashes: $(READY) ## constraints/image.txt and build.txt anew: what the image installs, with the digest of every file
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/dev.txt uv
	@$(BIN)/python constraints/hashes.py $(BIN)/uv

clean: ## Remove what was built or set up here, .venv too
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
