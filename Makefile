# `make test`, `make check`, `make bench`; PYTHON names the interpreter of an environment with .[test]
PYTHON ?= .venv-test/bin/python

.PHONY: test check slow bench fixtures

test:
	$(PYTHON) -m pytest

check:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

slow:
	$(PYTHON) tests/corpus/fetch.py
	$(PYTHON) -m pytest -m "slow or corpus"

bench:
	$(PYTHON) -m benchmarks
