# powerplan's tasks. On a machine with only Python 3.11, pip, make and git: make demo, make test.
# The set-up is done on first use, and again when pyproject.toml or constraints.txt change.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# one thread per process: the tests run two processes, and small matrices do not gain from more
export OMP_NUM_THREADS ?= 1
# the tests as pytest rewrites them are kept for the next run, which begins five seconds earlier
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test quick lint format types imports check proto check-generated bench docs-numbers docs docs-versions clean client-oldest wheels

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

setup: $(STAMP)  ## create .venv and install powerplan with its tools

# -c always: an unpinned torch pulls several GB of CUDA packages
$(STAMP): pyproject.toml client/pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or newer is needed; name it with make PYTHON=/path/to/python"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than Python 3.11; name another with make PYTHON=/path/to/python"; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip uninstall --quiet --quiet --yes powerplan  # the former name of the package
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ./client -e '.[dev]'
	@touch $@

# the digits network on devices whose programming noise is 1 % of their range
DEMO := --network out/digits.npz --inputs out/digits_inputs.npy --programming-noise-std 1uS

demo: $(STAMP)  ## train the digits network, plan for 1 % NMSE, verify by simulation, draw out/*.png
	@mkdir -p out
	$(BIN)/powerplan example digits --output out/digits.npz --inputs out/digits_inputs.npy
	@echo
	$(BIN)/powerplan plan $(DEMO) --max-nmse 1% --verify 2000 --output out/plan.json --plot out/plan.png
	@echo
	$(BIN)/powerplan frontier $(DEMO) --from 0.4% --to 40% --points 7 --verify 200 --plot out/frontier.png

test: $(STAMP)  ## the whole test suite
	$(BIN)/python -m pytest -n 2

quick: $(STAMP)  ## the tests that take seconds
	$(BIN)/python -m pytest -n 2 -m 'not slow'

lint: $(STAMP)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)  ## ruff: apply the format and the safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)  ## mypy --strict
	$(BIN)/mypy

imports: $(STAMP)  ## imports go one way (pyproject.toml, importlinter)
	$(BIN)/lint-imports --no-cache

proto: $(STAMP)  ## generate the stubs, docs/wire.md, docs/aten.md, docs/operations.md, keywords and the client's copies
	$(BIN)/python scripts/generate_proto.py
	$(BIN)/python scripts/document_wire.py
	$(BIN)/python scripts/generate_keywords.py
	$(BIN)/python scripts/generate_client.py
	$(BIN)/python scripts/document_aten.py
	$(BIN)/python scripts/document_operations.py

check-generated: $(STAMP)  ## the committed stubs and reference are current; the contract keeps its rules
	$(BIN)/python scripts/generate_proto.py --check
	$(BIN)/python scripts/document_wire.py --check
	$(BIN)/python scripts/generate_keywords.py --check
	$(BIN)/python scripts/generate_client.py --check
	$(BIN)/python scripts/document_aten.py --check
	$(BIN)/python scripts/document_operations.py --check
	$(BIN)/python scripts/contract_rules.py

PYTHON39 ?= python3.9

client-oldest: $(STAMP)  ## the client with the oldest Python, protobuf and grpcio it is for; needs the network
	$(BIN)/python scripts/try_client.py $(PYTHON39) numpy==1.26.4 grpcio==1.71.0 protobuf==5.29.1

check: test lint types imports docs  ## all that CI runs

bench: $(STAMP)  ## measure; writes docs/benchmarks.md
	$(BIN)/python -m benchmarks

docs-numbers: $(STAMP)  ## measure the examples; writes docs/examples.md and its figures
	$(BIN)/python examples/reproduce_paper.py

docs: $(STAMP)  ## build the documentation site in out/site; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs out/site
	@echo "out/site/index.html"

docs-versions: $(STAMP)  ## the site of every released version and of this one in out/versions, with links between them
	$(BIN)/python scripts/document_versions.py out/versions

wheels: $(STAMP)  ## both wheels in dist/, installed into a fresh environment and tried there; needs the network
	rm -rf dist out/wheels
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist . ./client
	"$(PYTHON)" -m venv out/wheels
	out/wheels/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  --find-links dist 'powerplan-crossbar[server,plot]'
	out/wheels/bin/powerplan doctor

clean:  ## remove what the other tasks made, .venv too
	rm -rf $(VENV) out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find powerplan server client tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
