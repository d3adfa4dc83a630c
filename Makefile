# Every target makes .venv and installs what it needs first; what is installed already is not installed again.
#
#   make demo    train a classifier on handwritten digits, eager and compiled
#   make test    the test suite
#   make bench   the benchmarks (NAMES="mlp_step import_time" chooses); `make peers` adds the frameworks to compare with
#   make gpu     what the GPU target needs, which `make test` then tests, too (about 2 GB)
#   make lint    style and types

.PHONY: demo test bench peers gpu lint clean
.DEFAULT_GOAL := test

VENV   := .venv
PYTHON := $(VENV)/bin/python
NAMES  ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# One thread for OpenBLAS, which eager runs use: for products this small a second one gains little, and since
# OpenBLAS waits by spinning it costs very much as soon as another program wants that core.
demo: $(VENV)/.installed-demo
	OPENBLAS_NUM_THREADS=1 $(PYTHON) -m examples.digits

test: $(VENV)/.installed-test
	$(PYTHON) -m pytest -q -n auto --dist worksteal

bench: $(VENV)/.installed-bench
	$(PYTHON) -m benchmarks $(NAMES)

peers: $(VENV)/.installed-peers

gpu: $(VENV)/.installed-gpu

lint: $(VENV)/.installed-lint
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

clean:
	rm -rf $(VENV) out build *.egg-info

# One stamp for each extra of pyproject.toml.
$(VENV)/.installed-%: pyproject.toml | $(PYTHON)
	$(PYTHON) -m pip install --quiet --editable '.[$*]'
	@touch $@

# The first interpreter on the path that is new enough.
$(PYTHON):
	@for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        $$python -m venv $(VENV) && exit 0; \
	        rm -rf $(VENV); \
	        echo "$$python cannot make a virtual environment: install its venv module (python3-venv on Debian and Ubuntu)" >&2; exit 1; \
	    fi; \
	done; \
	echo "tracegrad needs Python 3.11 or newer, and there is none on the path" >&2; exit 1
