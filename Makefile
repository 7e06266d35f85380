# Every target sets up what it needs, and is quick the second time.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# Node comes with the environment, so that a machine needs nothing but Python and make.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo serve test check generate bench bench-quick docs clean help
.DEFAULT_GOAL := help

demo: $(VENV)/.runtime  ## recognise twenty handwritten digits through the whole stack
	@$(BIN)/python clients/python/examples/demo.py

serve: $(VENV)/.runtime  ## serve on 127.0.0.1:8080
	@$(BIN)/stepscope serve

test: $(VENV)/.dev node_modules/.installed  ## run all tests
	@$(BIN)/python tests/run.py

check: $(VENV)/.dev node_modules/.installed  ## format, lint, types, imports, contract, drift
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python api/generate.py --check

generate: $(VENV)/.dev node_modules/.installed  ## compile the contract into generated/
	@$(BIN)/python api/generate.py

bench: $(VENV)/.dev  ## measure beside four peers in one run (an hour)
	@$(BIN)/python -m benchmarks

bench-quick: $(VENV)/.dev  ## measure the core of it (minutes, once the peers are installed)
	@$(BIN)/python -m benchmarks --quick

docs:  ## list the documents
	@ls docs/*.md

clean:  ## remove what the other targets made
	rm -rf $(VENV) node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

$(VENV)/.runtime: pyproject.toml constraints.txt clients/python/pyproject.toml generated/python/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV) (once, some minutes) ..."
	@# torch first: anything else that wants it would pull another build.
	@$(PIP) -c constraints.txt torch==2.13.0
	@$(PIP) -c constraints.txt -e . -e clients/python
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "Setting up what work on the project needs (once) ..."
	@$(PIP) -c constraints.txt -e '.[dev]'
	@touch $@

node_modules/.installed: package.json package-lock.json $(VENV)/.dev
	@echo "Setting up Node packages (once) ..."
	@npm ci --silent --no-audit --no-fund
	@touch $@
