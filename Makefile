PYTHON ?= python3
BIN := .venv/bin

.PHONY: up down demo test nightly check golden reference walkthrough corpus bench clean

# The thin wrapper: a virtual environment, an engine where there is none, and the main job.
up: .venv/ready
	$(BIN)/portside engine --install > /dev/null
	$(BIN)/portside up examples/helloworld

down: .venv/ready
	$(BIN)/portside down examples/helloworld

# A commit's way to production, with all that can go wrong, on a cloud and a clone of its own.
demo: .venv/dev
	$(BIN)/portside engine --install > /dev/null
	$(BIN)/python examples/delivery.py

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable .
	touch .venv/ready

.venv/dev: .venv/ready requirements-dev.lock
	$(BIN)/pip install --quiet --editable '.[dev]' --constraint requirements-dev.lock
	touch .venv/dev

# All tests: static checks, everything without an engine, and everything with one (installed if need be).
test: .venv/dev check
	$(BIN)/python tests/run.py

# What takes too long for every change: random stacks, ten thousand of them.
nightly: .venv/dev
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest -q tests/properties

check: .venv/dev
	$(BIN)/ruff check src tests bench docs examples
	$(BIN)/ruff format --check src tests bench docs examples
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# The expected templates of the examples, written anew. Look at the difference before committing it.
golden: .venv/dev
	$(BIN)/portside synth examples/helloworld -o examples/helloworld/templates

# docs/reference, generated from the code. A test proves that it is current.
reference: .venv/dev
	$(BIN)/python docs/generate.py

# The output in docs/walkthrough.md, written anew from a real run. Look at the difference before committing it.
walkthrough: .venv/dev
	$(BIN)/portside engine --install > /dev/null
	$(BIN)/python tests/walk.py

# What other people's templates come to. The corpus is not part of this project: without one nothing happens.
CORPUS ?= ../shared/corpus
corpus: .venv/dev
	$(BIN)/python docs/corpus.py $(CORPUS)
	$(BIN)/python docs/recorded.py $(CORPUS)

bench: .venv/dev
	$(BIN)/python bench/run.py

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
