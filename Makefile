# Everything lives in .venv, made from requirements.lock; only python3 (3.11 or newer, with venv) and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# where the environment asks Python to keep no bytecode, each of the many processes of the tests would compile torch anew:
# 4 to 10 seconds a process
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test test-quick test-slow coverage wheel-check lint docs speed gpu gpu-pack gpu-check clean
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip --version > /dev/null 2>&1 || $(BIN)/python -m ensurepip > /dev/null
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: $(STAMP)
	$(BIN)/bench run --generator dcgan --detector xception

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup

# what takes milliseconds, without whole runs, trainings and browsers
test-quick: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow and not e2e"

# the branches that the quick tests cover, with the floor of pyproject.toml; no deadlines: tracing is slow
coverage: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow and not e2e" --cov --cov-report=term:skip-covered --hypothesis-profile=ci

# a thousand mutations each of stored files, YAML and scores, and 20 rounds of kills, and repeated cases of long tests: half an hour
test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

# a wheel, installed into an environment of its own, runs from an empty folder
wheel-check: $(STAMP)
	rm -rf build/wheel && mkdir -p build/wheel/empty
	$(BIN)/uv build --quiet --wheel --out-dir build/wheel .
	$(BIN)/uv venv --quiet --python $(BIN)/python build/wheel/venv
	$(BIN)/uv pip install --quiet --python build/wheel/venv/bin/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python build/wheel/venv/bin/python --no-deps build/wheel/*.whl
	cd build/wheel/empty && ../venv/bin/bench run -g dcgan -d dct --preset smoke
	rm -rf build/wheel

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# the site, strictly, from docs/ and the docstrings: build/docs/index.html
docs:
	test -x build/docs-venv/bin/mkdocs || $(PYTHON) -m venv build/docs-venv
	build/docs-venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r docs/requirements.lock
	NO_MKDOCS_2_WARNING=1 build/docs-venv/bin/mkdocs build --strict --quiet

speed: $(STAMP)
	$(BIN)/bench speed

# tests, speed and trainings on a GPU, in nine minutes: OUT=build/gpu, BUDGET=540 (reports/speed.md)
gpu: $(STAMP)
	bash benchmarks/speed/gpu.sh

# what a GPU machine without a network lacks, in .gpu/
gpu-pack: $(STAMP)
	$(BIN)/python -m benchmarks.speed.pack

# the pack unpacked into an empty folder and imported by a Python 3.12 that has torch: PYTHON=...
gpu-check: $(STAMP)
	bash benchmarks/speed/gpu_check.sh

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
