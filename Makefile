# The commands of everyday work; `make` alone lists them. Everything is installed into .venv, nothing outside but caches.
.DEFAULT_GOAL := help
.PHONY: help setup setup-test lock demo test test-fast lint sbom bench chaos hostile cluster-test compose-test ci-extra clean
PYTHON ?= python3
BIN := .venv/bin
# Two processes; each takes groups of tests (tests/conftest.py) in their order. ARGS=-n0: one process.
SIDE_BY_SIDE := -n 2 --dist loadscope --no-loadscope-reorder
ONE_FLOW := tests/flow/test_late_sales.py::test_a_purchase_older_than_the_memory_recounts_its_window_and_raises_the_revision
# What pytest says when ARGS choose none of the tests here.
NO_TESTS := 5

help:  ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## */  make \1@/p' $(MAKEFILE_LIST) | awk -F@ '{printf "%-18s %s\n", $$1, $$2}'

setup:  ## install what the lakehouse needs into .venv (a minute the first time, then at once)
	@$(PYTHON) operate/install.py

setup-test:  ## the same, and what tests and linters need; the targets below do it by themselves
	@$(PYTHON) operate/install.py --for test

lock: setup  ## pin the packages of pyproject.toml anew in requirements/; ARGS='--upgrade-package numpy'
	@$(BIN)/python -m operate.lock $(ARGS)

demo: setup  ## the whole lakehouse on a generated stream; MINUTES=2 RATE=300 or FILES=path/to/csvs
	@$(BIN)/lakehouse demo $(if $(MINUTES),--minutes $(MINUTES)) $(if $(RATE),--rate $(RATE)) $(if $(FILES),--files $(FILES))

test: setup-test  ## all tests, the quick ones first; ARGS='-k late': some
	@.ci/timed unit $(BIN)/python -m pytest tests/unit $(SIDE_BY_SIDE) $(ARGS) || [ $$? = $(NO_TESTS) ]
	@.ci/timed tests $(BIN)/python -m pytest tests/spark tests/flow tests/services -m 'not long and not compose' $(SIDE_BY_SIDE) --durations=15 $(ARGS) || [ $$? = $(NO_TESTS) ]

test-fast: setup-test  ## unit tests, local frames, and one file from bronze to gold: for each edit
	@$(BIN)/python -m pytest tests/unit tests/spark $(ONE_FLOW) $(SIDE_BY_SIDE) $(ARGS)

lint: setup-test  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

sbom: setup-test  ## a bill of materials of all that is pinned, in CycloneDX's JSON: build/sbom.cdx.json
	@$(BIN)/python -m operate.sbom

bench: setup-test  ## payment to sale, in seconds, on this machine
	@$(BIN)/lakehouse bench latency

chaos: setup-test  ## kills, restarts, a full disk, a rebuild; then all rows against a plain calculation; ARGS='--seed 1'
	@$(BIN)/python -m tests.chaos $(ARGS)

hostile: setup-test  ## 100,000 hostile records, 1,000 hostile files and 100 audits at one running lakehouse; ARGS='--seed 1'
	@$(BIN)/python -m tests.hostile $(ARGS)

cluster-test: setup-test  ## each layer a job on Spark's workers, a lake on HDFS, three brokers, servers killed; ARGS=--short
	@$(BIN)/python -m tests.cluster $(ARGS)

compose-test: setup-test  ## every service of docker-compose.yml but File Pulse, each a process of this machine
	@$(BIN)/python -m pytest tests/services/test_compose.py $(ARGS)

ci-extra: setup-test  ## the long tests, how our latency compares with the textbook's, chaos, hostile input, a cluster; short forms
	@.ci/timed 'long tests' $(BIN)/python -m pytest tests/flow tests/services -m long $(SIDE_BY_SIDE) --durations=10
	@.ci/timed compare $(BIN)/python -m bench.compare --short
	@.ci/timed chaos $(BIN)/python -m tests.chaos --short
	@.ci/timed hostile $(BIN)/python -m tests.hostile --short
	@.ci/timed cluster $(BIN)/python -m tests.cluster --short

clean:  ## remove .venv and what tools leave; the lake in .lakehouse stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info spark-warehouse metastore_db derby.log
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
