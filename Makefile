# The words of this project; CI uses them too. Everything goes into a virtual environment of its own (.venv).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml CMakeLists.txt web/package-lock.json $(wildcard src/_core/*)

.PHONY: build demo test sanitize guards fuzz abuse cluster lint lint-web types image-check bench docs screenshots clean
.DEFAULT_GOAL := build

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# One stamp for each set of dependencies: a source of the core that changed is compiled again, nothing else is.
$(VENV)/.built: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.tools: $(VENV)/.built
	$(BIN)/python -m pip install --quiet --group test --group bench --group lint
	@touch $@

build: $(VENV)/.built  ## compile the core and install the package into .venv, editable

demo: build  ## run the server with a simulated fleet of devices
	@exec $(BIN)/python -m valtronics_fast --demo

# Many tests wait, for other programs or a clock: four processes keep two CPUs busy. The tests of a file stay together.
TEST_PROCESSES ?= 4

test: $(VENV)/.tools  ## install what the tests need (Debian packages of the real servers too), and run them
	@tests/install-packages.sh
	$(BIN)/python -m pytest --numprocesses=$(TEST_PROCESSES) --dist=loadfile --no-loadscope-reorder

# The core with AddressSanitizer, UndefinedBehaviorSanitizer and its own invariants, beside the normal build (GCC).
SANITIZE_BIN := .venv-sanitize/bin
SANITIZE_OPTIONS := -C build-dir=build/sanitize -C cmake.build-type=Debug -C install.strip=false \
	-C cmake.define.VFAST_SANITIZE=ON -C cmake.define.VFAST_INVARIANTS=ON
# The interpreter is not built with it, so libasan has to come first. It frees little at its end, which is no leak. With
# its own allocator it would hide what its objects have for neighbours: bytes, for one. An error aborts, so that the
# place in the test is shown too; capture=sys leaves the report to the terminal.
SANITIZE_ENVIRONMENT = CI=1 PYTHONMALLOC=malloc \
	LD_PRELOAD="$(shell $(CC) -print-file-name=libasan.so) $(shell $(CC) -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1:abort_on_error=1

.venv-sanitize/.built: $(SOURCES)
	$(PYTHON) -m venv .venv-sanitize
	$(SANITIZE_BIN)/python -m pip install --quiet --upgrade pip
	$(SANITIZE_BIN)/python -m pip install --quiet $(SANITIZE_OPTIONS) --editable . --group test
	@touch $@

sanitize: .venv-sanitize/.built  ## the core's tests, and those that need no other programs, under the sanitizers
	$(SANITIZE_ENVIRONMENT) $(SANITIZE_BIN)/python -m pytest --capture=sys tests/core tests/integration tests/workers \
		--ignore-glob='*mqtt*' --ignore-glob='*javascript*'

# The core with guards that can be switched off, beside the normal build.
.venv-guards/.built: $(SOURCES)
	$(PYTHON) -m venv .venv-guards
	.venv-guards/bin/python -m pip install --quiet --upgrade pip
	.venv-guards/bin/python -m pip install --quiet -C build-dir=build/guards -C cmake.build-type=Debug -C install.strip=false \
		-C cmake.define.VFAST_TEST_HOOKS=ON --editable . --group test
	@touch $@

guards: .venv-guards/.built  ## without each guard in turn, of the core and of the Python layers: its test must fail
	.venv-guards/bin/python -m pytest -q tests/guards

# The core for libFuzzer, with Clang and its sanitizers. libFuzzer comes first, or AddressSanitizer would take its place.
FUZZ_SECONDS ?= 300
FUZZ_TARGETS ?= frames commands session mapping inbound offers inflate messagepack proxy head tokens packet
FUZZ_OPTIONS = -max_total_time=$(FUZZ_SECONDS) -max_len=2048 -timeout=120 -rss_limit_mb=3000 -dict=tests/fuzz/words.dict \
	-print_final_stats=1 -verbosity=0
CLANG ?= clang
clang_library = $(shell $(CLANG) -print-file-name=libclang_rt.$(1)-$(shell uname -m).$(2))
FUZZ_ENVIRONMENT = PYTHONMALLOC=malloc LD_PRELOAD="$(abspath build/fuzz/libfuzzer.so) $(call clang_library,asan,so)" \
	ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:verify_asan_link_order=0 UBSAN_OPTIONS=print_stacktrace=1

.venv-fuzz/.built: $(SOURCES)
	@tests/install-packages.sh clang
	$(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/python -m pip install --quiet --upgrade pip
	CC=$(CLANG) .venv-fuzz/bin/python -m pip install --quiet -C build-dir=build/fuzz/core -C cmake.build-type=Debug \
		-C install.strip=false -C cmake.define.VFAST_FUZZ=ON -C cmake.define.VFAST_INVARIANTS=ON --editable . --group test
	$(CLANG) -shared -o build/fuzz/libfuzzer.so -Wl,--whole-archive $(call clang_library,fuzzer_no_main,a) \
		-Wl,--no-whole-archive -lstdc++ -lm -lpthread
	@touch $@

fuzz: .venv-fuzz/.built $(FUZZ_TARGETS:%=fuzz-%)  ## each target for FUZZ_SECONDS, from the corpus on

fuzz-%: .venv-fuzz/.built
	@mkdir -p build/fuzz/corpus/$*
	$(FUZZ_ENVIRONMENT) .venv-fuzz/bin/python tests/fuzz/driver.py $* $(FUZZ_OPTIONS) \
		-artifact_prefix=tests/fuzz/corpus/$*/crash- build/fuzz/corpus/$* tests/fuzz/corpus/$*

abuse: $(VENV)/.tools  ## attack a server for some minutes; ROWS=name,name, FLAGS='--quick' (docs/operations.md has more)
	@tests/install-packages.sh
	PYTHONPATH=tests $(BIN)/python -m abuse $(if $(ROWS),--rows $(ROWS)) $(FLAGS)

cluster: $(VENV)/.tools  ## harm a cluster of three nodes for some minutes (docs/scaling.md); ROWS=name,name for a part, FLAGS=--quick
	@tests/install-packages.sh
	PYTHONPATH=tests $(BIN)/python -m cluster $(if $(ROWS),--rows $(ROWS)) $(FLAGS)

lint: $(VENV)/.tools  ## ruff, cython-lint and hadolint; the dashboard, where npm is there
	$(BIN)/ruff check src tests bench
	$(BIN)/hadolint deploy/Dockerfile
	PATH="$(abspath $(BIN)):$$PATH" cython-lint src/_core  # it calls pycodestyle
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory lint-web; else echo "no npm: the dashboard is not checked"; fi

web/node_modules: web/package-lock.json
	npm --prefix web ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

lint-web: web/node_modules  ## TypeScript's checker over the dashboard's scripts, and checkers of HTML and CSS
	npm --prefix web run --silent check

types: $(VENV)/.tools  ## mypy --strict, and the stubs against the compiled modules
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest valtronics_fast._core --allowlist tests/stubtest-allowlist.txt

image-check: $(VENV)/.tools  ## what deploy/Dockerfile does, without Docker: some three minutes
	$(BIN)/python -m pytest -q tests/deploy/image_check.py

bench: $(VENV)/.tools  ## benchmarks of the core, beside the stored baseline (bench/README.md)
	@mkdir -p build
	$(BIN)/python -m pytest bench -q --benchmark-quiet --benchmark-timer=time.process_time --benchmark-json=build/bench.json
	$(BIN)/python bench/compare_baseline.py build/bench.json

docs: build  ## write the generated pages anew
	$(BIN)/python -m valtronics_fast.config > docs/configuration.md
	$(BIN)/python -m valtronics_fast.http_openapi > docs/openapi.json
	$(BIN)/python -m valtronics_fast.metrics.reference > docs/metrics.md

screenshots: $(VENV)/.tools  ## take the pictures of the dashboard anew
	@tests/install-packages.sh
	PYTHONPATH=tests $(BIN)/python -m dashboard.screenshots

clean:  ## remove what was built
	rm -rf $(VENV) .venv-sanitize .venv-guards .venv-fuzz build dist web/node_modules
