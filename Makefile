# make run     install what is missing, then run the daemon against the embedded exchange (ARGS="--cycles 3" for more)
# make test    lint, then every test
# make lint    style, types and layers
# make bench   measure what the budgets promise, side by side; one JSON line each, fails where one is missed
# make proof   every fault, every pair of faults and 100,000 random plans; resumable (ARGS="--minutes 60" for an hour of it)
# make coverage  every branch of router, recovery, reconciliation, guards and journal is taken by a test, or it fails
# make setup   only install: everything ends in .venv, the command is .venv/bin/trader
# make clean   remove .venv, builds and caches
#
# TORCH_INDEX is where the CPU build of torch comes from; PYTHON is the interpreter the environment is made with.

TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$python"; break; }; done)
ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

.PHONY: help setup run lint test bench proof coverage clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# //p' Makefile

setup: .venv/.project

run: setup
	@$(BIN)/trader run $(ARGS)

lint: setup
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy --strict trader
	$(BIN)/lint-imports

test: setup lint
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

bench: .venv/.peers
	@$(BIN)/python -m benchmarks.run $(ARGS)

proof: setup
	@$(BIN)/python -m tests.proof $(ARGS)

# The rooms in which no branch may go untaken, by the tests that are about them.
COVERED := live.router live.timing live.gate live.leverage live.recovery live.settling live.explaining live.control live.audit \
	live.startup live.patience live.persistence live.protection live.closing live.lanes execution.guards execution.basket execution.reconcile \
	execution.refusals execution.remainder execution.plan execution.stops
COVERING := tests/unit/live/test_*.py tests/unit/test_guards.py tests/unit/test_wire_guards.py tests/unit/test_plan.py \
	tests/unit/test_reconcile*.py tests/unit/test_carrier.py tests/unit/test_canary.py tests/unit/test_basket_guard.py \
	tests/unit/test_stops.py \
	$(filter-out %/test_crash.py,$(wildcard tests/unit/journal/test_*.py))

coverage: setup
	$(BIN)/python -m pytest -q -n 2 $(COVERING) $(COVERED:%=--cov=trader.%) --cov=trader/journal --cov-branch \
		--cov-fail-under=100 --cov-report=term-missing $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache

# --- the environment -------------------------------------------------------------------------------------------------

.venv/.made:
	@test -n "$(PYTHON)" || { echo "trader needs Python 3.11 or newer and found none; install it or set PYTHON." >&2; exit 1; }
	@echo "Creating .venv with $(PYTHON)"
	@$(PYTHON) -m venv .venv
	@touch $@

# Step 1: torch alone and without its dependencies, so that nothing can ask for a CUDA build.
.venv/.torch: constraints.txt deploy/install_torch.py .venv/.made
	@$(BIN)/python deploy/install_torch.py constraints.txt $(TORCH_INDEX)
	@touch $@

# Step 2: the project itself, in the versions it was tested with.
.venv/.project: pyproject.toml setup.py constraints.txt .venv/.torch
	@echo "Installing trader and what it needs"
	@$(PIP) install -qq --constraint constraints.txt --editable '.[dev]'
	@touch $@

# What only the benchmarks compare with; they say so where one of these is missing.
.venv/.peers: .venv/.project
	@echo "Installing what the benchmarks compare with"
	@$(PIP) install -qq --constraint constraints.txt --editable '.[dev,peers]'
	@touch $@
