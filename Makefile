# make demo    the tutorial: stop, resume and destroy a running enclave
# make linux   a real Linux as the host, for penglai boot;  make linux SDK_FILES="penglai.ko install.sh mine"
# make test    every test;  make test ARGS="tests/monitor -k stop" for some
# make lint    formatting, types, and the rules of the rooms
# make attack  every class of attack, and one table;  make attack ARGS=--long for some hours of it
# make fuzz    every parser and every call, led by coverage;  make fuzz TARGET=elf SECONDS=600 for one, longer
# make mutate  breaks promises of the monitor one at a time, and shows that a test notices each
# make bench   how fast it is, beside what one would use instead;  make bench ARGS=--quick
# make soak    the long forms of the tests: hours of stops in a few minutes
# make docs    the API reference, into build/docs
# make clean   removes what these made, .venv included
#
# Each sets up .venv by itself the first time.  PYTHON chooses the interpreter, ARGS adds arguments.

PYTHON ?= python3
ARGS ?=
TARGET ?=
SECONDS ?= 60

# Every file that is in / of Linux after boot: names of what is shipped, and paths of your own.
SDK_FILES ?= penglai.ko install.sh host fork-host test-caller test-stop attest shadow \
	hello-world loop prime mem relay-page caller server server1 float libc cxx zigzag

BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo linux test lint attack fuzz mutate bench soak docs clean
.DELETE_ON_ERROR:

demo: $(STAMP)
	$(BIN)/penglai test-stop loop $(ARGS)

linux: $(STAMP)
	$(BIN)/penglai image build $(SDK_FILES) $(ARGS)

test: $(STAMP)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

attack: $(STAMP)
	$(BIN)/python -m tests.attack $(ARGS)

fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz $(TARGET) --seconds $(SECONDS) $(ARGS)

mutate: $(STAMP)
	$(BIN)/python -m tests.attack.mutate $(ARGS)

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(ARGS)

soak: $(STAMP)
	PENGLAI_SOAK=1 $(BIN)/pytest -m soak --timeout=3600 $(ARGS)

docs: $(STAMP)
	$(BIN)/pdoc penglai -o build/docs

clean:
	rm -rf .venv build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pypenglai needs Python 3.11 or later: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m compileall -q src
	touch $@
