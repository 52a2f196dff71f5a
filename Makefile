# Two commands do all set-up on a fresh machine with Python 3.11 or newer:
#   make demo    lose a job table and get it back, on SQLite, with nothing to install by hand
#   make test    the whole suite on SQLite and on a PostgreSQL it brings up itself

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := $(shell command -v uv 2>/dev/null || echo $(BIN)/uv)
# Many tests wait for processes of their own: twice as many of them as there are processors is quickest.
JOBS ?= 4
# Compiled modules are kept whatever the caller's environment says: without them each process that a
# test starts compiles all that it imports.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test crash check bench docs lock format clean

help: ## Show what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## Lose a job table and get it back: scan, recover, show, undo on a realistic tree
	@$(BIN)/python scripts/demo.py $(if $(KEEP),--keep $(KEEP))

test: $(READY) ## Run every test on SQLite and PostgreSQL
	$(BIN)/pytest -n $(JOBS) --dist worksteal

crash: $(READY) ## Run the crash tests with every fault at every effect, of which test takes a sample
	JOBCTL_TEST_EVERY_FAULT=1 $(BIN)/pytest -n $(JOBS) --dist worksteal tests/crash

check: $(READY) ## Lint, types, import directions, generated documentation
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/generate_docs.py --check

bench: $(READY) ## Print every speed ratio beside its aim
	$(BIN)/python scripts/bench_scan.py
	$(BIN)/python scripts/bench_recover.py
	$(BIN)/python scripts/bench_logs.py
	$(BIN)/python scripts/bench_quarantine.py
	$(BIN)/python scripts/bench_cleanup.py
	$(BIN)/python scripts/bench_runner.py
	$(BIN)/python scripts/bench_web.py
	$(BIN)/python scripts/bench_jobdict.py
	$(BIN)/python scripts/bench_metrics.py
	$(BIN)/python scripts/bench_metrics.py --contention
	$(BIN)/python scripts/bench_list.py
	$(BIN)/python scripts/bench_status.py

docs: $(READY) ## Write the generated parts of the documentation anew
	$(BIN)/python scripts/generate_docs.py

format: $(READY) ## Format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lock: $(VENV)/bin/python ## Resolve the dependencies anew
	$(UV) pip compile pyproject.toml --group test --group check --universal --generate-hashes \
		--no-annotate --custom-compile-command "make lock" -o requirements.lock

clean: ## Remove what make made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jobctl needs Python 3.11 or newer; name one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv

# The environment follows the lock: same versions, checked by hash, then jobctl itself.
$(READY): requirements.lock pyproject.toml | $(VENV)/bin/python
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@
