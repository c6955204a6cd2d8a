# Two commands matter: `make run` and `make test`. Each makes the environment it needs, in .venv, from constraints.txt.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: run test lint clean

run: $(READY)  ## the main job: build the embedded cohort, train and score MAEDiff and two baselines, print the table
	$(BIN)/bench run --method thresh --method mean-brain --method ae --method maediff --folds all
	$(BIN)/bench table 1 --controls

test: $(READY)  ## the whole test suite, on two cores: two workers, who only wait for each other with more threads
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

lint: $(READY)  ## ruff, mypy on the installed package, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf .lint build && $(BIN)/pip install --quiet --no-deps --no-build-isolation --target .lint . && rm -rf build
	cd .lint && $(abspath $(BIN))/mypy --config-file ../pyproject.toml -p uadbench
	cd .lint && PYTHONPATH=. $(abspath $(BIN))/lint-imports --config ../pyproject.toml

clean:  ## remove the environment and everything generated (runs and volume stores under results/ stay)
	rm -rf $(VENV) .lint build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# torch first and by its exact version: the registry's newest one would bring gigabytes of CUDA libraries.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch setuptools wheel
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	touch $(READY)
