# Needs GNU make and Python 3.11, 3.12 or 3.13; everything else is installed into $(VENV).
PYTHON ?= python3
VENV ?= .venv
# Which sizes `make run` and `make notebooks` use: smoke, quick or paper.
PROFILE ?= $(TLKERAS_PROFILE)

# What `make reliability` tries.
TRY ?= kills cluster fuzz determinism memory

# Every test process imports TensorFlow: without Python's cache of compiled files that takes twice as long.
export PYTHONDONTWRITEBYTECODE :=

INSTALLED := $(VENV)/.installed
RUN := $(VENV)/bin/python
# Tests see embedded data only, and never the reader's own cache; one thread each, since they run side by side.
SMOKE := TLKERAS_PROFILE=smoke TLKERAS_HOME=$(abspath build)/home TF_CPP_MIN_LOG_LEVEL=3 TQDM_DISABLE=1 \
	TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1
# A file of tests, or a notebook, stays in one process; tests/conftest.py puts those first that take longest.
BESIDE := --numprocesses=auto --dist=loadfile --no-loadscope-reorder
NBVAL := --nbval-lax --nbval-current-env --nbval-cell-timeout=300 --nbval-sanitize-with tests/notebooks/sanitize.cfg

.DEFAULT_GOAL := help
.PHONY: help install run test test-oldest coverage mutation notebooks audit reliability traps readme paper bench pretrain clean test-jax test-torch test-gpu site pages test-ray

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | awk -F ':.*## ' '{ printf "make %-12s %s\n", $$1, $$2 }'

install: $(INSTALLED) ## set up .venv (the other targets do so by themselves)

# --no-compile: Python compiles what it imports, which is a small part of what is installed.
$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "tlkeras needs Python 3.11, 3.12 or 3.13. Received: PYTHON=$(PYTHON) ($$($(PYTHON) --version 2>&1))."; \
		echo "Name another one: make PYTHON=python3.12 ..."; exit 1; }
	@echo "== Installing requirements.txt into $(VENV) (a few minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install -qq --disable-pip-version-check --no-compile -r requirements.txt --editable .
	@touch $@

run: $(INSTALLED) ## run every notebook in minutes (PROFILE=quick) and render it: build/index.html
	@$(RUN) -m tools.notebooks --output build --profile $(or $(PROFILE),quick)

test: $(INSTALLED) ## lint, types, unit tests and notebook tests, which need no network: minutes
	@echo "== ruff"
	@$(RUN) -m ruff check --quiet . && $(RUN) -m ruff format --check --quiet . && echo "clean"
	@echo "== mypy"
	@$(RUN) -m mypy --no-error-summary && echo "clean"
	@echo "== pytest: unit tests, and notebooks in the smoke profile, side by side"
	@$(SMOKE) $(RUN) -m pytest -q $(BESIDE) $(NBVAL) tests notebooks

test-oldest: ## the same tests with the lowest versions that requirements.txt allows
	@$(PYTHON) -m venv build/oldest
	@build/oldest/bin/python -m pip install -qq --disable-pip-version-check uv
	@build/oldest/bin/python -m uv pip install --quiet --python build/oldest/bin/python --resolution lowest-direct \
		-r requirements.txt --editable .
	@$(SMOKE) build/oldest/bin/python -m pytest -q $(BESIDE) $(NBVAL) tests notebooks

test-gpu: $(INSTALLED) ## the few tests that need a GPU; they fail where there is none
	@$(SMOKE) $(RUN) -m pytest -q -m gpu tests/test_gpu.py

# $(call without_tensorflow,jax): what pyproject.toml names, line by line, with the packages of another backend instead.
without_tensorflow = $(PYTHON) -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
	extras = project['optional-dependencies']; tests = [name for name in extras['dev'] if name.startswith('pytest')]; \
	own = [name for name in project['dependencies'] if not name.startswith('tensorflow')]; \
	print(*own, *tests, *extras['$(1)'], sep='\n')"

test-jax test-torch: test-%: ## the tests that hold on every backend of Keras, where TensorFlow is not installed
	@$(PYTHON) -m venv build/$*
	@$(call without_tensorflow,$*) | build/$*/bin/python -m pip install -qq --disable-pip-version-check -r /dev/stdin
	@KERAS_BACKEND=$* PYTHONPATH=. $(SMOKE) build/$*/bin/python -m pytest -q --numprocesses=auto --dist=worksteal --durations=5 tests/backends

test-ray: $(INSTALLED) ## a study on a Ray cluster of two workers on this machine, one of which is killed in mid-run
	@$(RUN) -m pip install -qq --disable-pip-version-check --editable '.[ray]'
	@PYTHONPATH=. $(SMOKE) $(RUN) tests/cluster.py --way "a process"

coverage: $(INSTALLED) ## which lines of the package the unit tests run
	@$(SMOKE) $(RUN) -m pytest -q $(BESIDE) --cov --cov-report=term:skip-covered --cov-report=html:build/coverage tests

mutation: $(INSTALLED) ## which faults, made on purpose in five files, the unit tests notice: an hour
	@$(RUN) -m pip install -qq --disable-pip-version-check --editable '.[mutation]'
	@$(SMOKE) $(RUN) -m tools.mutation

notebooks: $(INSTALLED) ## run every notebook (PROFILE=paper) and store it with its outputs
	@$(RUN) -m tools.notebooks --output build --profile $(or $(PROFILE),paper) --in-place --record

paper: $(INSTALLED) ## all reports at their own sizes: resumes where it was stopped; RAY=auto: on a Ray cluster
	@$(RUN) -m tlkeras run all --profile paper $(if $(RAY),--executor ray --address $(RAY))

audit: $(INSTALLED) ## look at every stored run, and compute some again that the commit draws: five minutes
	@$(RUN) -m tlkeras audit --rerun 1000 --minutes 5

reliability: $(INSTALLED) ## try to lose results, with TRY="kills fuzz ..." or all: hours; docs/reliability.md
	@for name in $(TRY); do echo "== $$name"; PYTHONPATH=. $(SMOKE) $(RUN) tests/$$name.py --record || exit 1; done

traps: $(INSTALLED) ## measure what each silent trap costs: docs/traps.md
	@PYTHONPATH=. $(SMOKE) $(RUN) tests/traps.py --record

readme: $(INSTALLED) ## write the tables and pictures of README.md and docs/ from results/
	@$(RUN) -m tools.readme

site: $(INSTALLED) ## notebooks, numbers, docs/ and API as pages that open from a file path: build/site/index.html
	@$(RUN) -m pip install -qq --disable-pip-version-check --editable '.[site]'
	@$(RUN) -m tools.site

pages: site ## look at every page of the site in headless Chromium: findings and screenshots in build/
	@$(RUN) -m pip install -qq --disable-pip-version-check --editable '.[pages]'
	@$(RUN) -m tools.look

bench: $(INSTALLED) ## measure speed
	@$(RUN) -m tlkeras bench

pretrain: $(INSTALLED) ## train the weights in tlkeras/models/pretrained anew: hours
	@$(RUN) -m tlkeras pretrain

clean: ## remove build and .venv
	rm -rf build .venv *.egg-info
