# orthosharp: everything a fresh machine with make and Python >= 3.11 (with venv) needs.
#
#   make demo                          install what the server needs, start it on the demo picture
#   make test                          install the rest, run the tests
#
# Variables, all optional:
#   PYTHON=python3.12                  the Python that .venv is made from
#   VENV=.venv                         where it is made
#   TORCH_INDEX=URL                    `make setup`: take torch and torchvision from this wheel index (a CPU-only build)
#   DEMO_ARGS="--port 9000"            added to `orthosharp serve --demo`
#   BENCH_ARGS="--only warm"           added to the benchmark of the server
#   PYTEST_ARGS="-k seams"             added to pytest
#   ORTHOSHARP_NO_BROWSER=1            leave the browser test out where there is no Chromium

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
DEMO_ARGS ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
BROWSERS := chromium chromium-browser google-chrome

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo setup test test-all test-clients test-system test-cluster cluster-demo bench-cluster clients lint format docs bench bench-tools browser clean distclean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.stamp-demo ## serve the demo picture on http://127.0.0.1:8000 (Ctrl-C stops it)
	@$(BIN)/orthosharp serve --demo $(DEMO_ARGS) || { code=$$?; \
	    [ $$code -ne 2 ] || echo 'Options of the server go into DEMO_ARGS: make demo DEMO_ARGS="--port 9000"' >&2; exit $$code; }

setup: $(VENV)/.stamp-dev ## install everything: server, training, tests, linters

test: browser $(VENV)/.stamp-dev ## run the tests that take seconds
	$(BIN)/python tests/side_by_side.py -m "not slow" $(PYTEST_ARGS)

test-all: browser $(VENV)/.stamp-dev clients ## run all tests, including those that take minutes
	$(BIN)/python -m pytest $(PYTEST_ARGS)

CLIENT_TESTS := $(addprefix tests/system/test_,archive_clients.py examples.py gis_clients.py qgis.py mapproxy.py \
    services_of_mapproxy.py prefix.py nginx.py nginx_cache.py) \
    $(addprefix tests/tileserver/test_,ai_mark.py ogc_api.py openapi.py)

test-clients: browser $(VENV)/.stamp-dev clients .venv-bench/.stamp-mapproxy ## read maps with GDAL, QGIS, MapProxy, exiftool and others
	$(BIN)/python -m pytest $(CLIENT_TESTS) $(PYTEST_ARGS)

SYSTEM_TESTS := $(addprefix tests/system/test_,viewer.py viewer_manners.py viewer_waiting.py viewer_years.py logs.py \
    telemetry.py without_torch.py workers.py) tests/tileserver/test_mending_commands.py

test-system: browser $(VENV)/.stamp-dev clients ## drive the page in Chromium, servers and suggested commands as processes; minutes
	$(BIN)/python -m pytest $(SYSTEM_TESTS) $(PYTEST_ARGS)

test-cluster: $(VENV)/.stamp-ray ## serve, seed and restore on a Ray cluster of this machine; minutes
	$(BIN)/python -m pytest tests/cluster $(PYTEST_ARGS)

cluster-demo: $(VENV)/.stamp-ray ## kill replicas of a small cluster and show what its visitors see; minutes
	$(BIN)/python -m benchmarks.cluster_drill

bench-cluster: $(VENV)/.stamp-ray ## seed with 1, 2 and 4 networks that sleep instead of computing; ten minutes
	$(BIN)/python -m benchmarks.cluster

lint: $(VENV)/.stamp-dev ## ruff (rules and format), mypy --strict, and the schemas of GitHub's files and compose.yaml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml

# Other projects' map libraries and readers of archives. Without npm their tests are skipped, with a message.
clients: tests/system/js/package.json
	@command -v npm >/dev/null 2>&1 && npm install --prefix tests/system/js --ignore-scripts --no-fund --no-audit || \
	echo "npm did not install the readers of tests/system/js: their tests are skipped." >&2

format: $(VENV)/.stamp-dev ## let ruff fix and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.stamp-dev ## rewrite the tables of docs/settings.md from the declarations of the settings
	$(BIN)/python -m tileserver.cli.docs_table docs/settings.md

bench: bench-tools $(VENV)/.stamp-dev .venv-bench/.stamp ## measure the server beside nginx, MapProxy and titiler; minutes
	$(BIN)/python -m benchmarks.serving $(BENCH_ARGS)

# nginx lies in /usr/sbin, which is not always on the PATH.
bench-tools:
	@missing=; for tool in nginx wrk; do PATH="$$PATH:/usr/sbin" command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	[ -z "$$missing" ] && exit 0; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo="sudo --non-interactive"; \
	command -v apt-get >/dev/null && $$sudo apt-get update --quiet && \
	DEBIAN_FRONTEND=noninteractive $$sudo apt-get install --quiet --yes --no-install-recommends $$missing || { \
	echo "The benchmark compares with tools that are missing and could not be installed:$$missing." >&2; exit 1; }

# The servers that ours is compared with have other requirements, so they get an environment of their own.
.venv-bench/.stamp: .venv-bench/.stamp-mapproxy
	.venv-bench/bin/python -m pip install titiler.application uvicorn
	@touch $@

# What the tests of clients need of it.
.venv-bench/.stamp-mapproxy:
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install gunicorn mapproxy
	@touch $@

# Checked before anything is installed: a missing browser is reported at once, not after torch has been downloaded.
browser:
	@if [ "$$ORTHOSHARP_NO_BROWSER" = 1 ]; then exit 0; fi; \
	for name in $(BROWSERS); do command -v $$name >/dev/null 2>&1 && exit 0; done; \
	echo "The test of the viewer needs Chromium, and none of these is on the PATH: $(BROWSERS)." >&2; \
	echo "Install it (Debian: apt-get install chromium), or leave that test out: make ORTHOSHARP_NO_BROWSER=1 test" >&2; \
	exit 1

# Four stamps: the empty environment, the server's requirements, those of developers, those of a cluster. Each is touched only after its
# install succeeded, and is older than pyproject.toml only when that changed, so a repeated call installs nothing.
$(VENV)/.stamp-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "orthosharp needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)." >&2; \
	echo "Name another one: make PYTHON=python3.12 setup" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	echo "'$(PYTHON)' comes without venv. Install it (Debian: apt-get install python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.stamp-demo: pyproject.toml $(VENV)/.stamp-venv
	@$(drop_half_installed)
	$(PIP) install --editable .
	@touch $@

$(VENV)/.stamp-dev: pyproject.toml $(VENV)/.stamp-venv
	@$(drop_half_installed)
	$(install_torch)
	@echo "torch is large, so the first time takes minutes."
	$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/.stamp-demo

$(VENV)/.stamp-ray: pyproject.toml $(VENV)/.stamp-dev
	$(PIP) install --editable '.[ray]' 'moto[s3,server]>=5'
	@touch $@

# pip writes INSTALLER after a package's last file: a package without it was cut off, and pip would take it for whole.
define drop_half_installed
for info in $(VENV)/lib/python*/site-packages/*.dist-info; do \
[ ! -d "$$info" ] || [ -f "$$info/INSTALLER" ] || { echo "repairing $$info"; rm -rf "$$info"; }; done; \
echo "Installing into $(VENV)."
endef

ifneq ($(TORCH_INDEX),)
install_torch = $(PIP) install --index-url $(TORCH_INDEX) torch torchvision
endif

# A .venv that is already there keeps its Python; asking for another one must not be ignored in silence.
ifeq ($(origin PYTHON),command line)
ifneq ($(wildcard $(VENV)/.stamp-venv),)
version_of = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>&1)
ifneq ($(call version_of,$(PYTHON)),$(call version_of,$(BIN)/python))
$(error $(VENV) is made of Python $(call version_of,$(BIN)/python), not of $(PYTHON). Run `make distclean` first, or choose another folder with VENV=.venv-other)
endif
endif
endif

clean: ## remove caches and build results
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path './$(VENV)' -prune -o -type d -name __pycache__ -exec rm -rf {} +

distclean: clean ## remove .venv as well
	rm -rf '$(VENV)' .venv-bench
