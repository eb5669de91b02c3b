# make demo    the tutorial: stop, resume and destroy a running enclave
# make linux   a real Linux as the host, for penglai boot;  make linux SDK_FILES="penglai.ko install.sh mine"
# make test    every test;  make test ARGS="tests/monitor -k stop" for some
# make lint    formatting, types, and the rules of the rooms
# make check   lint and the fast tests side by side: the answer while you work
# make format  Python and C, as lint wants them
# make attack  every class of attack, and one table;  make attack ARGS=--long for some hours of it
# make compat  what binaries of Penglai-TVM rely on: each fact, on both hosts, in one table
# make fuzz    every parser and every call, led by coverage;  make fuzz TARGET=elf SECONDS=600 for one, longer
# make mutate  changes the code in small ways, and shows that a test notices;  make mutate ARGS=--long for hours of it
# make bench   how fast it is, beside what one would use instead;  make bench ARGS=--quick
# make soak    the long forms of the tests: hours of stops in a few minutes
# make docs    tutorials, guides and the reference as a site, into build/docs; a link that leads nowhere is an error
# make dist    source archive and wheel, into dist
# make clean   removes what these made, .venv included
#
# Each sets up .venv by itself the first time.  PYTHON chooses the interpreter, ARGS adds arguments,
# JOBS says how many tests run at once (0: in one process).

PYTHON ?= python3
ARGS ?=
JOBS ?= 2
TARGET ?=
SECONDS ?= 60

# Every file that is in / of Linux after boot: names of what is shipped, and paths of your own.
SDK_FILES ?= penglai.ko install.sh host fork-host fshost test-caller test-stop attest shadow \
	hello-world loop prime mem relay-page caller server server1 float libc cxx zigzag count

BIN := .venv/bin
C_FILES = $(shell find src tests benchmarks -name '*.[ch]' -o -name '*.cpp')
STAMP := .venv/.installed
DOCS_STAMP := .venv/.installed-docs

.PHONY: demo linux test lint check quick format attack compat fuzz mutate bench soak docs dist clean
.DELETE_ON_ERROR:

demo: $(STAMP)
	$(BIN)/penglai test-stop loop $(ARGS)

linux: $(STAMP)
	$(BIN)/penglai image build $(SDK_FILES) $(ARGS)

test: $(STAMP)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/clang-format --dry-run --Werror $(C_FILES)
	$(BIN)/mypy
	$(BIN)/python -m tests.rooms

check: $(STAMP)
	$(MAKE) --no-print-directory --output-sync -j 2 lint quick

quick: $(STAMP)
	$(BIN)/pytest --quick -q -r fE -n 2 --dist worksteal $(ARGS)

format: $(STAMP)
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	@$(BIN)/clang-format -i $(C_FILES)

attack: $(STAMP)
	$(BIN)/python -m tests.attack $(ARGS)

compat: $(STAMP)
	$(BIN)/python -m tests.compat $(ARGS)

fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz $(TARGET) --seconds $(SECONDS) $(ARGS)

mutate: $(STAMP)
	$(BIN)/python -m tests.mutation $(ARGS)

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(ARGS)

soak: $(STAMP)
	PENGLAI_SOAK=1 $(BIN)/pytest -m soak $(ARGS)

docs: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

dist: $(STAMP)
	rm -rf dist
	$(BIN)/python -m build $(ARGS)

clean:
	rm -rf .venv build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pypenglai needs Python 3.11 or later: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m compileall -q src
	touch $@

# What only the site needs is not installed for the rest.
$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@
