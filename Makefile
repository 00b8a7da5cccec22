# The two commands of README are `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test test-all lint docs bench tables clean

help:
	@echo "make demo   install into .venv, train on the bundled digits, sample, evaluate: runs/digits/"
	@echo "make test   install into .venv and run the test suite"
	@echo "make lint   format, lint, types and import contracts"
	@echo "make docs   build the documentation into docs/_build"
	@echo "make bench  run the benchmarks that need no further package (about an hour)"

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	test -d runs/digits/model || $(BIN)/caminito train digits --out runs/digits --minutes 2
	$(BIN)/caminito sample runs/digits -n 100 --out runs/digits/samples/hundred.png
	$(BIN)/caminito evaluate runs/digits
	$(BIN)/caminito report runs/digits

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m "not slow and not gpu"

test-all: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m "not gpu"

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

bench: $(STAMP)
	$(BIN)/python benchmarks/toys.py
	$(BIN)/python benchmarks/digits.py
	$(BIN)/python benchmarks/readme.py

tables: $(STAMP)
	$(BIN)/python benchmarks/readme.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache docs/_build docs/auto
