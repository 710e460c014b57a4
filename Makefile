# The two commands: `make demo` runs the main job, `make test` passes the tests. Both set up all they need.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The torch this is tested with. What build pip finds for it, CPU or CUDA, depends on the machine and on pip's
# settings; install the one you want into .venv first, and it is kept.
TORCH ?= torch==2.13.0
# Processes of `make test`: many tests wait for servers and kills, so one more than there are cores.
WORKERS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))
# Of `make crash`.
CYCLES ?= 100
SEED ?= 7
# Of `make fuzz`.
EXAMPLES ?= 500
DATABASE ?= sqlite
ENGINE ?= embedded

.PHONY: help demo test check fix bench bench-encode crash fuzz clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/'

$(VENV)/.ready: pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	test -z "$(TORCH)" || $(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/pip install --quiet "$(TORCH)"
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $@

demo: $(VENV)/.ready  ## the main job on real documents: build, swap, roll back
	$(BIN)/lockstep demo

test: $(VENV)/.ready  ## all tests, on all cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

check: $(VENV)/.ready  ## formatting, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(VENV)/.ready  ## format, and mend what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.ready  ## the benchmarks; DATA=folder of BEIR collections
	$(BIN)/python -m benchmarks $(if $(DATA),--data $(DATA))

bench-encode: $(VENV)/.ready  ## passages to vectors, beside the library's encode; MODEL, TEXTS, DATA, COLLECTION, DEVICE, ROUNDS, ALL=1, COMPILE=1, FP8=1, SERVER=URL, SERVER_MODEL
	$(BIN)/python -m benchmarks.encode $(if $(MODEL),--model $(MODEL)) $(if $(TEXTS),--texts $(TEXTS)) \
		$(if $(DATA),--data $(DATA)) $(if $(ALL),--all) $(if $(COMPILE),--compile) $(if $(FP8),--fp8) $(if $(SERVER),--server $(SERVER)) \
		$(if $(SERVER_MODEL),--server-model $(SERVER_MODEL)) $(if $(DEVICE),--device $(DEVICE)) \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(COLLECTION),--collection $(COLLECTION))

crash: $(VENV)/.ready  ## kill -9 at every moment, restart, check; CYCLES, SEED, DATABASE=postgresql, ENGINE=stand-in or URL
	$(BIN)/python -m crash --cycles $(CYCLES) --seed $(SEED) --database $(DATABASE) --engine $(ENGINE)

fuzz: $(VENV)/.ready  ## thousands of requests against the OpenAPI document; EXAMPLES of each route, SEED
	LOCKSTEP_FUZZ_EXAMPLES=$(EXAMPLES) LOCKSTEP_FUZZ_SEED=$(SEED) OMP_NUM_THREADS=1 $(BIN)/python -m pytest --timeout=3600 \
		tests/e2e/test_openapi.py

clean:  ## remove what the other targets made
	rm -rf $(VENV) lockstep-demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
