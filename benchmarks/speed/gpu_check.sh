#!/usr/bin/env bash
# Dry check of the GPU pack: the tracked files and .gpu/ in an empty folder, its wheels installed into a target folder
# without an index, and the bench imported from there by a Python that has what a GPU machine has.
# PYTHON: such a Python 3.12 (torch 2.10 or newer, torchvision, timm, pandas, pyarrow, scikit-learn, typer, rich, pytest).
set -euo pipefail
cd "$(dirname "$0")/../.."
python=$(realpath -s "$(command -v "${PYTHON:-python3.12}")")
pip=$(realpath -s .venv/bin/python)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
git ls-files -z | xargs -0 cp --parents --target-directory "$place"
cp -r .gpu "$place"
printf '%s MiB travel\n' "$(du -sm --apparent-size "$place" | cut -f1)"
cd "$place"
"$pip" -m pip --python "$python" install --quiet --no-index --no-deps --no-compile --target site .gpu/wheels/*.whl
PYTHONPATH="$place/site:$place" "$python" - << 'EOF'
import importlib
from pathlib import Path

names = ["pydantic", "hmmlearn.hmm", "facenet_pytorch", "benchmarks.cli.main", "benchmarks.speed.gpu.run"]
names += [f"benchmarks.speed.gpu.{part}" for part in ("parts", "trainings", "detectors", "synthesis", "zoo")]
for name in names:
    module = importlib.import_module(name)
    assert Path(module.__file__).is_relative_to(Path.cwd()), module.__file__
print("the bench and its packages import from the unpacked folder")
EOF
