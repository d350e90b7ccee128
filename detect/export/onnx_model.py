"""Detectors as ONNX files, and these files run by onnxruntime; imported where the extra `onnx` is there."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from onnxscript import DOUBLE
from onnxscript import opset18 as typed_opset

from detect.artifact import TrainedDetector
from detect.export.agreement import Outputs
from detect.export.graph import INPUT, OUTPUTS, CannotExportError, program_of
from forge.core.errors import InputError
from forge.faces.faceset import Images


def write(trained: TrainedDetector, file: Path, facts: Mapping[str, str]) -> Callable[[Images], Outputs]:
    """Write a detector as an ONNX file: `images` uint8 [N, H, W, 3] to `probability` and `score`, float32 [N].

    Args:
        trained: the detector.
        file: to write.
        facts: stored as metadata of the model.

    Returns:
        What runs the file.

    Raises:
        CannotExportError: its score is no graph of operators that ONNX has.
    """
    program = program_of(trained)
    with _quiet():
        try:
            made = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                custom_translation_table={torch.ops.aten.log_sigmoid.default: _log_sigmoid},
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise CannotExportError(
                f"{trained.name} cannot be exported: ONNX lacks an operation of it ({_cause(error)}); try --torch"
            ) from error
    assert made is not None
    made.model.metadata_props.update(facts)
    made.save(str(file))
    return OnnxScorer(file)


class OnnxScorer:
    """Runs an ONNX file that `write` made.

    Args:
        file: the model.
        threads: of one call; None: onnxruntime's choice.

    Raises:
        InputError: the file is no model that onnxruntime can run.
    """

    def __init__(self, file: Path, *, threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        try:
            self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no public class of its errors
            raise InputError(f"{file} cannot be run by onnxruntime: {str(error).splitlines()[0]}") from error

    def __call__(self, images: Images) -> Outputs:
        """Score uint8 [n, H, W, 3]."""
        probability, score = self.session.run(list(OUTPUTS), {INPUT: images})
        return Outputs(probability, score)


def _log_sigmoid(x: Any) -> Any:  # noqa: ANN401 - a value of the graph
    """Write log(sigmoid(x)) as min(x, 0) - log(1 + exp(-|x|)) in float64.

    onnxruntime computes it in float32 as a logarithm of the sigmoid, which is 0 from x = 17 on; detectors that compare
    how sure many patches are need the difference to 0.
    """
    operators: Any = typed_opset  # its types are those of tensors, not of values in a graph
    wide = operators.Cast(x, to=DOUBLE.dtype)
    zero, unit = (operators.CastLike(operators.Constant(value_float=value), wide) for value in (0.0, 1.0))
    log = operators.Log(operators.Add(unit, operators.Exp(operators.Neg(operators.Abs(wide)))))
    return operators.CastLike(operators.Sub(operators.Min(wide, zero), log), x)


def _cause(error: BaseException) -> str:
    """Return the first line of the innermost error."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on versions and on names of operators."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
