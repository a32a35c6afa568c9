# make run     install what is missing, then run the daemon against the embedded exchange (ARGS="--cycles 3" for more)
# make test    lint, then every test
# make lint    style, types and layers
# make bench   measure what the budgets promise, side by side; one JSON line each, fails where one is missed
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
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)

.PHONY: help setup run lint test bench clean
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

bench: setup
	@$(BIN)/python -m benchmarks.run $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache

# --- the environment -------------------------------------------------------------------------------------------------

.venv/.made:
	@test -n "$(PYTHON)" || { echo "trader needs Python 3.11 or newer and found none; install it or set PYTHON." >&2; exit 1; }
	@echo "Creating .venv with $(PYTHON)"
	@$(PYTHON) -m venv .venv
	@touch $@

# Step 1: torch alone and without its dependencies, so that nothing can ask for a CUDA build. A wheel is first looked at
# and only then fetched: from the CPU index, and where that cannot be reached from wherever pip is configured to look.
.venv/.torch: constraints.txt .venv/.made
	@rm -f .venv/torch.log; \
	cpu_build() { $(BIN)/python -c "$$CPU_BUILD" "$$@" 2>>.venv/torch.log; }; \
	from() { \
		$(PIP) install -q --no-deps --dry-run --ignore-installed --report .venv/torch.json "$$@" 2>>.venv/torch.log \
		&& cpu_build .venv/torch.json && $(PIP) install --no-deps "$$@" 2>>.venv/torch.log; \
	}; \
	cpu_build installed $(TORCH) || { \
		echo "Installing torch $(TORCH) (CPU build, about 200 MB)"; \
		from --retries 1 --timeout 15 --index-url "$(TORCH_INDEX)" torch==$(TORCH) || from torch==$(TORCH)+cpu || from torch==$(TORCH); \
	} || { \
		echo "No CPU build of torch $(TORCH) was found, neither at $(TORCH_INDEX) nor where pip is configured to look" \
			"(details in .venv/torch.log); set TORCH_INDEX to an index that has one." >&2; \
		exit 1; \
	}
	@touch $@

# Step 2: the project itself, in the versions it was tested with.
.venv/.project: pyproject.toml setup.py constraints.txt .venv/.torch
	@echo "Installing trader and what it needs"
	@$(PIP) install -qq --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Ends well if torch, as pip would install it (its report) or as it is installed, asks for no GPU package here.
define CPU_BUILD
import json, re, sys
from importlib.metadata import distribution
from pip._vendor.packaging.requirements import Requirement
if sys.argv[1] == "installed":
    torch = distribution("torch")
    version, needs = torch.version, torch.requires or []
    if version.split("+")[0] != sys.argv[2]:
        sys.exit(f"torch {version} is installed, not {sys.argv[2]}")
else:
    torch = json.load(open(sys.argv[1]))["install"][0]["metadata"]
    version, needs = torch["version"], torch.get("requires_dist", [])
for need in map(Requirement, needs):
    if re.match("nvidia|cuda|triton|pytorch-triton|intel", need.name) and (not need.marker or need.marker.evaluate({"extra": ""})):
        sys.exit(f"torch {version} is a GPU build: it needs {need.name}")
endef
export CPU_BUILD
