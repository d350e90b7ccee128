"""A fitted detector as one graph: uint8 faces in, calibrated probability and raw score out; preprocessing inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from detect.artifact import TrainedDetector
from detect.detectors.network import NetworkDetector
from forge.core.compute import Compute
from forge.core.errors import InputError

INPUT, OUTPUTS = "images", ("probability", "score")

# detectors whose score is not made of tensor operations from the pixels on, by family
REASONS = {
    "random": "its score is a hash of the image's bytes",
    "metadata": "its score is looked up in a table by a count of JPEG traces",
    "hmm": "its hidden Markov models are scored outside of the tensor operations that a graph is made of",
    "noise-map": "its map solves a system of linear equations for each image, for which ONNX has no operator",
    "copy-move-match": "its search for equal parts of an image is a program with loops, not a graph",
    "disc-gradient": "its features are gradients of a network, which a graph for inference does not compute",
}


class CannotExportError(InputError):
    """A detector whose score cannot be written as a graph; the message says why."""


class ScoreGraph(nn.Module):
    """Scores faces: uint8 [N, H, W, 3] RGB to the probability of being forged and the raw score, float32 [N] each.

    Args:
        score: score as a function of float32 pixels [N, H, W, 3] in 0..255.
        slope: of the calibration: probability = sigmoid(slope * score + intercept).
        intercept: of the calibration.
    """

    def __init__(self, score: Callable[[Tensor], Tensor], slope: float, intercept: float) -> None:
        super().__init__()
        self.score, self.slope, self.intercept = score, slope, intercept

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return probability and score, higher for forged."""
        scores = self.score(images.float())
        # calibrated in float64, as the bench does
        probabilities = torch.sigmoid(self.slope * scores.double() + self.intercept)
        return probabilities.float(), scores.float()


def score_graph(trained: TrainedDetector) -> ScoreGraph:
    """Return a detector as a module that computes in fp32 on the CPU, whatever the precision of its fit.

    Raises:
        CannotExportError: its score is no graph of tensor operations.
    """
    function = trained.detector.score_function(Compute("cpu", "fp32"))
    if function is None:
        families = [trained.detector.family, *(member.detector.family for member in members_of(trained.detector))]
        known = [f"{family}: {REASONS[family]}" for family in families if family in REASONS]
        reason = "; ".join(known) or "it gives no score as a function of pixels (`Detector.score_function`)"
        raise CannotExportError(f"{trained.name} cannot be exported ({reason}); choose another detector with -d")
    return ScoreGraph(function, trained.calibration.a, trained.calibration.b).eval()


def check_is_network(trained: TrainedDetector) -> None:
    """Refuse what has no convolutions that could compute in int8.

    Raises:
        CannotExportError: it is no network; a detector that fits one inside, as self-blended does, is.
    """
    if not isinstance(getattr(trained.detector, "inner", trained.detector), NetworkDetector):
        raise CannotExportError(
            f"{trained.name} cannot be exported in int8, which is for networks of convolutions; use --precision fp32"
        )


def members_of(detector: Any) -> list[Any]:  # noqa: ANN401 - a detector of any settings
    """Return the members of an ensemble; of another detector none."""
    return list(getattr(detector, "members", []))


def program_of(trained: TrainedDetector) -> torch.export.ExportedProgram:
    """Trace a detector for any number of images.

    Raises:
        CannotExportError: its score is no graph, or fixes the number of images.
    """
    graph, side = score_graph(trained), trained.card.resolution
    examples = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    with torch.no_grad():
        # once for real: constants that are kept for later calls must not be made while it is traced
        graph(examples)
        try:
            # not strict: code of libraries is run, not analysed
            return torch.export.export(
                graph, (examples,), dynamic_shapes=({0: torch.export.Dim("N", min=1)},), strict=False
            )
        except (RuntimeError, torch._dynamo.exc.UserError) as error:  # also of a plug-in's own code
            first = str(error).strip().splitlines()[0]
            raise CannotExportError(
                f"{trained.name} cannot be exported: torch.export cannot trace its code ({first})"
            ) from error
