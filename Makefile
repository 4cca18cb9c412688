# A fresh machine needs Python 3.11, 3.12 or 3.13, pip and make. (Procgen: 3.11 or 3.12.)
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test lint docs clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch .venv/installed

demo: install
	$(BIN)/rlscale demo --out demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site in build/docs; a warning is an error.
docs: install
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --builder html docs build/docs

# Two processes on two cores, so one thread each. Each starts many others, which find the modules compiled.
test: lint docs
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

clean:
	rm -rf .venv demo build docs/generated .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
