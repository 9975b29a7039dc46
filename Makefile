# The commands of this project; `make` alone lists them. Everything they need is made on the first call.
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
LOCAL := $(BIN)/python -m local
TESTED_WORKERS := -n logical --maxprocesses 4 --dist loadfile

# Values reach the programs through variables of the shell, so that quotes and dollars in SQL stay what they are.
export REKINDLE_CALL_DATA := $(value DATA)
export REKINDLE_CALL_AS_OF := $(value AS_OF)
export REKINDLE_CALL_SQL := $(value SQL)
export REKINDLE_CALL_ARGS := $(value ARGS)
# With `make -C <project>` a relative folder is meant from where the person stands.
export REKINDLE_CALL_FROM := $(PWD)
# Answers of the code of this folder, whatever else is installed on the machine.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.PHONY: help environment run stop status psql reset dbt test lint lock bench chaos evaluate

help: ## This list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-12s %s\n", $$1, $$2 }'

environment: ## .venv from requirements.txt; at once when nothing has changed
	@test -n "$(PYTHON)" || { echo 'rekindle: Python 3.11 is needed: install it (Debian: apt install python3.11 python3.11-venv).' >&2; exit 1; }
	@"$(PYTHON)" local/bootstrap.py

run: environment ## Everything up, the chain on a source: DATA=<sample or folder> AS_OF=<YYYY-MM-DD>
	@$(LOCAL) run --data "$$REKINDLE_CALL_DATA" --as-of "$$REKINDLE_CALL_AS_OF" --from-folder "$$REKINDLE_CALL_FROM"

stop: environment ## Stop everything this project has started, and nothing else
	@$(LOCAL) stop

status: environment ## What is up, since when, where its log is
	@$(LOCAL) status

psql: environment ## The warehouse: SQL="select ..." prints CSV and ends, without SQL it is interactive
	@$(LOCAL) psql --sql "$$REKINDLE_CALL_SQL"

reset: environment ## Stop everything and delete the state: data, passwords, logs
	@$(LOCAL) reset

dbt: environment ## dbt on the warehouse with the project's settings: ARGS="build --select marts"
	@$(LOCAL) dbt $$REKINDLE_CALL_ARGS

test: environment ## Every test, from nothing: ARGS="tests/local -k port" for some of them
	@$(BIN)/python -m pytest $(TESTED_WORKERS) $$REKINDLE_CALL_ARGS

lint: environment ## Formatting, lint, types, SQL style, import rules
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy
	@$(BIN)/python -m sqlfluff lint --processes 0 dbt_project/models
	@$(BIN)/lint-imports

lock: environment ## requirements.txt anew from requirements.in: wheels alone, with hashes
	@$(BIN)/uv pip compile --quiet --no-build --generate-hashes --no-emit-index-url --no-emit-find-links \
		--python-version 3.11 requirements.in -o requirements.txt

evaluate: environment ## What the plan is worth where the truth is known: ARGS="--variant slopes --players 20000 --seed 1 2"
	@$(BIN)/python -m local.evaluation $$REKINDLE_CALL_ARGS

chaos: environment ## Kill landings and the running chain, often: ARGS="--kills 100"
	@$(BIN)/python -m pytest tests/chaos --kills 30 $$REKINDLE_CALL_ARGS

bench: environment ## Every benchmark, or one: NAME=main_job
	@for script in tests/benchmarks/bench_$(or $(NAME),*).py; do \
		$(BIN)/python -m tests.benchmarks.$$(basename "$$script" .py) || exit 1; \
	done
