# make run    serve the sample projects and print the URLs to open
# make test   lint, types, layers, tests
# make test-quick   the rooms that need no process of their own: under a minute, while you work
# make test-django   Django's own test suite in a namespace; hours, can be interrupted and started again
# make test-public   public projects from PyPI beside gunicorn; a few minutes
# make fuzz   where requests end: an hour of random streams, compared with h11 (MINUTES=)
# make faults   20 000 steps of faults in requests, and as many in loads and unloads; some minutes (STEPS=)
# make soak   200 reloads of two kinds of sites under load: errors, memory, what stays; an hour or so
# make everything   one site does its worst for five minutes, with one worker and with three (SECONDS=)
# make bench-requests   the request path beside other servers; hours, on a machine left alone
#
# PYTHON=  the interpreter; default: the newest CPython (3.11 or later) that really runs here
# VENV=    the virtual environment to make and use
# PORT=    the port of make run; 0 takes a free one
# JOBS=    how many tests of make test run at a time
# PYTEST_ADDOPTS=  further options for pytest, from the environment

VENV ?= .venv
PORT ?= 8000
# Tests wait for the programs that they start: more of them than there are processors.
JOBS ?= 3
BIN := $(VENV)/bin

.PHONY: run test test-quick test-django test-public fuzz faults soak everything lint schema bench bench-requests clean help

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

run: $(VENV)/.run
	@$(BIN)/python tools/run.py --port $(PORT)

test: $(VENV)/.test lint
	@tools/run-tests $(VENV) $(JOBS)

QUICK := $(addprefix tests/,admin config execution front memory sites) \
	$(addprefix tests/test_,docs.py log.py main.py settings.py) tests/framing/test_pipelining.py \
	$(addprefix tests/namespace/test_,absolute.py isolation.py relative.py unload.py)

test-quick: $(VENV)/.test
	$(BIN)/python -m pytest -o cache_dir=$(VENV)/.pytest_cache -q -m 'not timed' \
		--numprocesses 2 --dist loadfile $(QUICK)

test-django: $(VENV)/.test
	$(BIN)/python -m suites.django_suite

test-public: $(VENV)/.test
	GATEWAY_PUBLIC_PROJECTS=1 $(BIN)/python -m pytest -s suites/public_projects

fuzz: $(VENV)/.test
	$(BIN)/python -m suites.framing --minutes $(or $(MINUTES),60)

faults: $(VENV)/.test
	FAULT_STEPS=$(or $(STEPS),20000) $(BIN)/python -m pytest -o cache_dir=$(VENV)/.pytest_cache -q \
		tests/execution/test_faults.py tests/sites/test_faults.py

soak: $(VENV)/.test
	$(BIN)/python -m suites.soak

everything: $(VENV)/.test
	status=0; for workers in 1 3; do \
		$(BIN)/python -m bench.everything --seconds $(or $(SECONDS),300) --workers $$workers \
			|| status=1; \
	done; exit $$status

lint: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --cache-dir $(VENV)/.mypy_cache
	$(BIN)/lint-imports --cache-dir $(VENV)/.import_linter_cache

schema: $(VENV)/.run
	$(BIN)/python -m gateway.config

bench: $(VENV)/.test
	$(BIN)/python bench/load.py

bench-requests: $(VENV)/.test
	set -e; for what in all slow-clients postgresql floor; do \
		$(BIN)/python -m bench.request_path $$what; \
	done

$(VENV)/bin/python:
	"$${PYTHON:-$$(tools/newest-python)}" -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[samples]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) .gateway .cache
