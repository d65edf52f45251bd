# The newcomer's commands.  Each keeps .venv up to date: a stamp per extra, older than
# pyproject.toml when its dependencies may have changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test bench docs lint clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    train a network on scikit-learn's digits"
	@echo "make test    run the test suite (OPTIONS are passed on to pytest), then that of the CUDA"
	@echo "             kernels, in a simulator"
	@echo "make bench   run the benchmarks (installs the peers: some gigabytes)"
	@echo "make docs    build the documentation site in docs/_build"
	@echo "make lint    check style, types and import rules"
	@echo "make clean   remove .venv, caches and build products"

demo: $(VENV)/demo.stamp
	@$(BIN)/fastbatch train digits --hidden 64 64 --output model.safetensors

# By two processes, which would each compile the kernels if they were not there.
test: $(VENV)/test.stamp
	@$(BIN)/fastbatch warmup
	@$(BIN)/python -m pytest --quiet --numprocesses 2 --dist loadfile $(OPTIONS)
	@NUMBA_ENABLE_CUDASIM=1 $(BIN)/python -m pytest --quiet --numprocesses 2 --dist loadfile tests/cuda

# Doctests are collected by `make test`; here they would only import the peers.
bench: $(VENV)/bench.stamp
	@mkdir -p bench/results
	@$(BIN)/python -m pytest bench --quiet --override-ini addopts= \
		--benchmark-json bench/results/own.json
	@$(BIN)/python -m bench.race --json bench/results/race.json
	@$(BIN)/python -m bench.growth
	@$(BIN)/python -m bench.choices
	@$(BIN)/python -m bench.report

docs: $(VENV)/docs.stamp
	@$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet docs docs/_build
	@echo "docs/_build/index.html"

lint: $(VENV)/dev.stamp
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/python -m pytest --quiet tests/test_architecture.py

clean:
	@rm -rf docs/_build docs/reference
	@rm -rf $(VENV) build dist *.egg-info .benchmarks .coverage .hypothesis .import_linter_cache
	@rm -rf .mypy_cache .pytest_cache .ruff_cache model.safetensors*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@echo "Creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/%.stamp: pyproject.toml | $(BIN)/python
	@echo "Installing fastbatch[$*] into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	@touch $@
