# The doors of perfmon: `make run`, `make test`, `make check`, `make bench`. Each installs what it needs.

PYTHON ?= python3
SHOP_PORT ?= 8080
LISTEN ?= 127.0.0.1:10737
UV_VERSION := 0.13.8
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
BIN := .venv/bin
SOURCES := perfmon tests benchmarks

.PHONY: help run test check format generate bench soak-leaks image-test servers clean

help: ## What can be made here
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

run: .venv/.runtime ## Watch a real service (the shop), this machine and perfmon itself
	@exec env SHOP_PORT=$(SHOP_PORT) LISTEN=$(LISTEN) BIN=$(BIN) sh deploy/run.sh

test: .venv/.dev servers ## Everything: checks, unit tests, real servers
	@$(MAKE) --no-print-directory check
	@# Two at a time; a busy machine gets more tries, who needed them stands in the summary. Who failed beside others is
	@# tried alone (exit code 1: tests failed; others, such as 2 for files that cannot be read, end it).
	$(BIN)/pytest -n 2 --dist loadfile -m "not alone" --reruns 1 --reruns-delay 1 \
	  || { test $$? -eq 1 && $(BIN)/pytest --last-failed --last-failed-no-failures none --reruns 1 --reruns-delay 1; }
	$(BIN)/pytest -m alone --reruns 2 --reruns-delay 1

check: .venv/.dev ## Format, lint, strict types, drift of generated files
	$(BIN)/ruff format --check --quiet $(SOURCES)
	$(BIN)/ruff check --quiet $(SOURCES)
	$(BIN)/mypy
	$(BIN)/perfmon rules --check
	$(BIN)/perfmon dashboards --check
	$(BIN)/python -m perfmon.provision.metrics_page --check
	$(BIN)/python -m perfmon.provision.kubernetes --check
	$(BIN)/perfmon check deploy/run.yml
	$(BIN)/perfmon check deploy/perfmon.yml

format: .venv/.dev ## Let ruff rewrite what it can
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

generate: .venv/.dev ## Write rules/, dashboards/, docs/metrics.md and what wraps them for Kubernetes anew
	$(BIN)/perfmon rules
	$(BIN)/perfmon dashboards
	$(BIN)/python -m perfmon.provision.metrics_page
	$(BIN)/python -m perfmon.provision.kubernetes

bench: .venv/.dev servers ## The short benchmarks, each with its rival; long ones are run by hand (docs/benchmarks.md)
	$(BIN)/python benchmarks/scrape_cost.py
	$(BIN)/python benchmarks/schedule.py --seconds 60
	$(BIN)/python benchmarks/accuracy.py
	$(BIN)/python benchmarks/probe_cost.py

MINUTES ?= 60
soak-leaks: .venv/.dev ## Real leaky releases beside their fixed twins, watched by perfmon: an hour, or MINUTES=20
	$(BIN)/python benchmarks/soak_leaks.py --minutes $(MINUTES)

image-test: .venv/.dev ## Build the image by buildah and run it by its own configuration (as root; two minutes)
	@sh tests/image_test.sh

servers: ## Debian's Prometheus, Alertmanager, nginx, Chromium ... that the tests run against (as root)
	@sh tests/install_servers.sh

clean: ## Remove what was installed and made here
	rm -rf .venv .tools .run dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

.tools/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "perfmon needs Python 3.11 or newer; set PYTHON=python3.x")'
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.runtime: pyproject.toml uv.lock | $(UV)
	@test -e .venv/.dev || $(UV) sync --quiet --frozen --no-dev --python $(PYTHON)
	@touch $@

.venv/.dev: pyproject.toml uv.lock | $(UV)
	$(UV) sync --quiet --frozen --python $(PYTHON)
	@touch $@ .venv/.runtime
