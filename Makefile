# The one place where uv's version stands; pyproject.toml's uv_build range must hold it.
UV_VERSION := 0.13.9
BIN := .venv/bin
PYTHON_CODE := $(wildcard app actors contracts modal_app.py tests)
# Two workers: many tests wait, for leases, sockets and processes, and the machines that check have two cores.
PYTEST_ARGS ?= -n 2 --dist worksteal
LOCK := $(BIN)/uv pip compile --quiet --no-config --universal --generate-hashes --python-version 3.11 --no-header --constraints .ci/constraints.txt $(LOCK_ARGS)
export UV_VERSION
ifdef PYTHON
export PYTHON
endif

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup dev-setup demo run test coverage check lint types imports format soak bench lock upgrade clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## make or repair .venv with everything that firstlight needs to run
	@bash .ci/venv runtime

dev-setup: ## the same, with the tools that check and test it
	@bash .ci/venv dev

demo: setup ## play a recorded conversation, restart cold, play on, and show that nothing was lost
	@$(BIN)/firstlight demo

run: setup ## everything in one process, with a Telegram simulator and a console in the browser
	@$(BIN)/firstlight dev

test: check ## lint, types, import rules, then every test but the long ones
	@echo "== tests"
	@$(BIN)/pytest $(PYTEST_ARGS)

coverage: dev-setup ## the same tests, and which lines none of them reaches
	@$(BIN)/pytest --cov --cov-report=term:skip-covered $(PYTEST_ARGS)

check: lint types imports ## lint, types and import rules only

lint: dev-setup
	@echo "== lint"
	@$(BIN)/uv pip check --quiet --python $(BIN)/python || { echo "pyproject.toml asks for more than the locks give: make lock"; exit 1; }
	@$(BIN)/ruff check $(PYTHON_CODE)
	@$(BIN)/ruff format --check $(PYTHON_CODE)

types: dev-setup
	@echo "== types"
	@$(BIN)/mypy $(PYTHON_CODE)

imports: dev-setup
	@echo "== import rules"
	@$(BIN)/lint-imports --no-logo

format: dev-setup ## sort imports, fix what can be fixed, and format
	@$(BIN)/ruff check --fix-only $(PYTHON_CODE)
	@$(BIN)/ruff format $(PYTHON_CODE)

soak: dev-setup ## the long suites
	@$(BIN)/pytest -m soak --timeout=3600 -rA

bench: dev-setup ## the benchmarks, with a table and plots
	@$(BIN)/python -m tests.bench

lock: setup ## write both locks anew from pyproject.toml, keeping what is pinned
	@$(LOCK) pyproject.toml --output-file requirements.lock
	@$(LOCK) --group dev --constraints requirements.lock --output-file .ci/dev.lock
	@! grep -nE '://|^--|@ |file:' requirements.lock .ci/dev.lock # a lock names no host and no folder

upgrade: ## write both locks anew with the newest versions
	@$(MAKE) --no-print-directory lock LOCK_ARGS=--upgrade

clean: ## remove .venv and everything that was made here
	@rm -rf .venv .venv.lock .venv.log .coverage .coverage.* .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	@find $(PYTHON_CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
