# The words of this project; CI uses them too. Everything goes into a virtual environment of its own (.venv).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml CMakeLists.txt $(wildcard src/_core/*)

.PHONY: build demo test lint types bench docs clean
.DEFAULT_GOAL := build

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# One stamp for each set of dependencies: a source of the core that changed is compiled again, nothing else is.
$(VENV)/.built: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.tools: $(VENV)/.built
	$(BIN)/python -m pip install --quiet --editable '.[test,bench,lint]'
	@touch $@

build: $(VENV)/.built  ## compile the core and install the package into .venv, editable

demo: build  ## run the server with a simulated fleet of devices
	@exec $(BIN)/python -m valtronics_fast --demo

test: $(VENV)/.tools  ## install what the tests need (Debian packages of the real servers too), and run them
	@tests/install-packages.sh
	$(BIN)/python -m pytest

lint: $(VENV)/.tools  ## ruff and cython-lint
	$(BIN)/ruff check src tests bench
	PATH="$(abspath $(BIN)):$$PATH" cython-lint src/_core  # it calls pycodestyle

types: $(VENV)/.tools  ## mypy --strict, and the stubs against the compiled modules
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest valtronics_fast._core --allowlist tests/stubtest-allowlist.txt

bench: $(VENV)/.tools  ## benchmarks of the core, beside the stored baseline (bench/README.md)
	@mkdir -p build
	$(BIN)/python -m pytest bench -q --benchmark-quiet --benchmark-timer=time.process_time --benchmark-json=build/bench.json
	$(BIN)/python bench/compare_baseline.py build/bench.json

docs: build  ## write the generated pages anew
	$(BIN)/python -m valtronics_fast.config > docs/configuration.md

clean:  ## remove what was built
	rm -rf $(VENV) build dist
