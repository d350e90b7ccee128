#!/usr/bin/env bash
# The run on a GPU machine: tests, speed, trainings. Needs no network; what the machine's Python lacks comes from the GPU
# pack (`make gpu-pack`, folder .gpu/). DEVICE (cuda), BUDGET (540 seconds), OUT (build/gpu), PARTS (all).
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}
if ! [ -x "$python" ] && ! command -v "$python" > /dev/null; then python=python3; fi
lacks='import sys; from importlib.util import find_spec as found
sys.exit(not all(map(found, ("pydantic", "pydantic_core", "hmmlearn", "facenet_pytorch"))))'
if ! "$python" -c "$lacks"; then
  if ! ls .gpu/wheels/*.whl > /dev/null 2>&1; then
    echo "$python lacks packages and .gpu/wheels is not there; run 'make gpu-pack' where there is a network" >&2
    exit 2
  fi
  site=$(mktemp -d)
  trap 'rm -rf "$site"' EXIT
  for wheel in .gpu/wheels/*.whl; do "$python" -m zipfile -e "$wheel" "$site"; done # as pip --target, without pip
  export PYTHONPATH="$site"
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
"$python" -m benchmarks.speed.gpu.run
