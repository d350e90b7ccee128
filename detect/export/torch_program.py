"""Detectors as programs of `torch.export`, which need torch but nothing of this repository.

TorchScript is not written: torch 2.15 warns at each of its functions that it is deprecated in favour of `torch.export`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from detect.artifact import TrainedDetector
from detect.export.agreement import Outputs
from detect.export.graph import program_of
from forge.core.files import canonical_json
from forge.faces.faceset import Images

FACTS = "facts.json"  # entry of the file that holds them


def write(trained: TrainedDetector, file: Path, facts: Mapping[str, str]) -> Callable[[Images], Outputs]:
    """Write a detector for `torch.export.load(file).module()`, with the facts as its extra file facts.json.

    Args:
        trained: the detector.
        file: to write; its name must end in .pt2.
        facts: stored beside the program.

    Returns:
        What runs the file.

    Raises:
        CannotExportError: its score is no graph of tensor operations.
    """
    program = program_of(trained)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No complete tensor")  # of views of one storage, which it copies
        torch.export.save(program, file, extra_files={FACTS: canonical_json(dict(facts))})
    module = torch.export.load(file).module()

    def run(images: Images) -> Outputs:
        with torch.inference_mode():
            probability, score = module(torch.from_numpy(images))
        return Outputs(probability.numpy(), score.numpy())

    return run
