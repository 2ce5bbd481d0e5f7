# One environment in .venv, installed from requirements.lock, and every task of the project on top of it.
#   make setup PYTHON=python3.12     another interpreter
#   make run ARGS="--port 9000"      options for the command behind a target

PYTHON ?= python3
WORKERS ?= 2
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test coverage lint format bench bench-deep bench-quality bench-solver bench-peer bench-rating bench-steps bench-cost bench-log bench-evaluation bench-retrain bench-serving bench-soak wheel lock clean distclean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## environment in .venv from the lock file; instant when nothing changed

run: setup  ## train on the bundled sample, evaluate, print the table, serve on 127.0.0.1:8000
	@$(BIN)/recae demo $(ARGS)

test: lint  ## lint, types, layers, then every test
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal $(ARGS)

coverage: setup  ## every test, and which lines none of them reaches; takes a third as long again
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal --cov $(ARGS)

lint: setup  ## formatting, lint, types, direction of imports
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: setup  ## rewrite the code the way `make lint` wants it
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format

bench: setup  ## time and memory of the hot paths, then every comparison: hours; ARGS="rank" runs what has "rank" in its name, ARGS=--alone no comparison
	@$(BIN)/python evaluation/bench/run.py $(ARGS)

bench-deep: setup  ## epochs of Mult-VAE, RecVAE and DAE against plain dense PyTorch
	@$(BIN)/python evaluation/bench/bench_deep_epochs.py $(ARGS)

bench-quality: setup  ## what Mult-VAE, RecVAE and DAE learn against plain dense PyTorch, on validation
	@$(BIN)/python evaluation/bench/bench_deep_quality.py $(ARGS)

bench-solver: setup  ## EASE on the whole of Gowalla against the bare LAPACK calls; ten minutes
	@$(BIN)/python evaluation/bench/bench_full_solver.py $(ARGS)

bench-peer: setup  ## ranking and metrics against irspack's evaluator, in an environment of its own
	@test -x .venv-peer/bin/python || { $(PYTHON) -m venv .venv-peer && .venv-peer/bin/pip install --disable-pip-version-check --quiet irspack==0.5.2; }
	@$(BIN)/python evaluation/bench/bench_peer_evaluator.py $(ARGS)

bench-rating: setup  ## epochs of SparseFC and AutoRec against their dense forms
	@$(BIN)/python evaluation/bench/bench_rating_epochs.py $(ARGS)

bench-steps: setup  ## epochs of AutoRec by dense steps against lazy ones, over growing users
	@$(BIN)/python evaluation/bench/bench_lazy_steps.py $(ARGS)

bench-cost: setup  ## time and memory against users, items and interactions, with a plot
	@$(BIN)/python evaluation/bench/bench_cost_curves.py $(ARGS)

bench-evaluation: setup  ## every metric on Gowalla, and six models on the sample; five minutes
	@$(BIN)/python evaluation/bench/bench_evaluation.py $(ARGS)

bench-retrain: setup  ## a night over a million events
	@$(BIN)/python evaluation/bench/bench_retrain.py $(ARGS)

bench-serving: setup  ## request rates, latencies and promotions of a real server; wrk must be installed
	@$(BIN)/python evaluation/bench/bench_serving.py $(ARGS)

bench-soak: setup  ## half an hour of mixed load with a new model every ten seconds
	@$(BIN)/python evaluation/bench/soak_serving.py $(ARGS)

bench-log: setup  ## the event log and the readers: events a second, and memory of 50 million rows
	@$(BIN)/python evaluation/bench/bench_eventlog.py $(ARGS)

wheel: setup  ## build the wheel into dist/
	@$(BIN)/python -m build --wheel --no-isolation --outdir dist

# A local tag (torch's "+cpu") names the machine that resolved, not what the project needs: it is cut off.
lock: setup  ## resolve pyproject.toml into requirements.lock; ARGS=--upgrade takes newer versions
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --extra=dev --strip-extras --unsafe-package=pip \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
		$(ARGS) --output-file=requirements.lock pyproject.toml
	@sed -i.bak 's/^\([a-z0-9.-]*==[^+ ]*\)+[^ ]*/\1/' requirements.lock && rm requirements.lock.bak

clean:  ## remove caches and built files; .venv and .recae stay
	rm -rf build dist htmlcov .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find recae api data tests evaluation -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## clean, and remove the environment too
	rm -rf $(VENV) .venv-peer

# The lock comes first: asked for "torch>=2.6" alone, pip may fetch gigabytes of another build. The builder is in
# the lock as well, so the project itself installs without the network. --no-compile halves the time of the install:
# Python compiles what it imports, a small part of it all.
# Compiled on all cores at once, where pip takes one; and here, since an environment that sets PYTHONDONTWRITEBYTECODE would
# compile every library at every start, for seconds. What is written for a newer Python does not compile: no fault of ours.
$(STAMP): requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check --no-compile $(if $(wildcard $@),--quiet) -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -qq -j 0 $(VENV) recae || true
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) found; name a Python 3.11 or newer: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("make: recae needs Python 3.11 or newer and $(PYTHON) is %d.%d; name another: make setup PYTHON=python3.12" % sys.version_info[:2])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) cannot create environments; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
