# Everything is made from here: `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON := .venv/bin/python
CHECKED := $(wildcard services gateway sdk adapters demo bench tools)

.PHONY: help run demo test lint bench proto portal clean runtime dev lock requirements-doc

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

run: runtime ## play the region's campaigns, then stay up with the portal (Ctrl-C ends it)
	@tools/portal.sh --soft
	@exec $(PYTHON) -m demo run

demo: runtime ## play the region's campaigns once; fails unless every count agrees
	@tools/portal.sh --soft
	@exec $(PYTHON) -m demo once

test: dev ## lint, build the portal, run every test
	@$(MAKE) lint
	@tools/portal.sh --soft
	@tools/browser.sh
	@exec $(PYTHON) -m pytest $(TESTS)

lint: dev ## style, types, contracts, import rules
	@echo "ruff"; $(PYTHON) -m ruff check .
	@echo "mypy"; $(PYTHON) -m mypy $(CHECKED)
	@echo "buf lint"; cd proto && ../.venv/bin/buf lint
	@tools/breaking.sh
	@echo "import rules"; $(PYTHON) -m pytest -q --no-header tests/test_architecture.py

bench: dev ## measure the hot paths beside their limits and the plain alternatives
	@exec $(PYTHON) -m bench $(BENCH)

portal: runtime ## build the web portal
	@tools/portal.sh

proto: runtime ## generate code from the contracts (done by the other targets when needed)

runtime:
	@tools/setup.sh runtime
	@$(PYTHON) -m tools.proto

dev:
	@tools/setup.sh dev
	@$(PYTHON) -m tools.proto

lock: dev ## pin again what requirements*.in ask for
	@tools/lock.sh

requirements-doc: dev ## write docs/requirements.md from the tests' docstrings
	@$(PYTHON) -m tools.requirements_doc

clean: ## remove what was built, installed and stored
	@for place in .data/postgres/location .data/demo/postgres/location; do \
		if [ -f $$place ]; then rm -rf -- "$$(cat $$place)"; fi; done
	rm -rf build .data .venv gateway/portal/dist gateway/portal/node_modules
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
