"""Convolutional networks as ONNX files that compute in int8; imported where the extra `onnx` is there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from detect.artifact import TrainedDetector
from detect.export.agreement import Outputs
from detect.export.graph import INPUT, CannotExportError, check_is_network
from detect.export.onnx_model import OnnxScorer
from detect.export.onnx_model import write as write_fp32
from forge.faces.faceset import Images

# between convolutions these pass on int8; the pixels' preparation, pooling to one value a channel and the last layer,
# which take no time, stay in fp32
OPERATORS = ("Conv", "Add", "Relu", "MaxPool")
PART = 10  # images that calibration puts through the network at a time


def write(
    trained: TrainedDetector, file: Path, facts: Mapping[str, str], images: Images
) -> Callable[[Images], Outputs]:
    """Write a network as an ONNX file whose convolutions compute in int8; inputs and outputs are those of fp32.

    Weights get a scale for each output channel, activations one for each tensor: the range that they have on images
    (Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, 2018).

    Args:
        trained: the detector.
        file: to write; a file in fp32 is made beside it for a moment.
        facts: stored as metadata of the model.
        images: on which ranges are measured, uint8 [n, H, W, 3], not those of the comparison.

    Returns:
        What runs the file.

    Raises:
        CannotExportError: it is no network, has no convolutions, or cannot be exported in fp32 either.
    """
    check_is_network(trained)
    whole, prepared = (file.with_name(f"{stage}-{file.name}") for stage in ("fp32", "prepared"))
    write_fp32(trained, whole, {})
    if not any(node.op_type == "Conv" for node in onnx.load(whole, load_external_data=False).graph.node):
        raise CannotExportError(
            f"{trained.name} cannot be exported in int8: its network has no convolutions; use --precision fp32"
        )
    with _quiet():
        # shapes are known from the export
        quant_pre_process(str(whole), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(file),
            _Parts(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(OPERATORS),
        )
    model = onnx.load(file)
    onnx.helper.set_model_props(model, dict(facts))
    onnx.save(model, file)
    for stage in (whole, prepared):
        stage.unlink()
    return OnnxScorer(file)


class _Parts(CalibrationDataReader):  # type: ignore[misc]  # its class has no types
    """Images for calibration, some at a time."""

    def __init__(self, images: Images) -> None:
        self.parts = ({INPUT: images[start : start + PART]} for start in range(0, len(images), PART))

    def get_next(self) -> dict[str, Images] | None:
        """Return the next part; None: there is none."""
        return next(self.parts, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's notes, which it gives to the root logger."""
    before = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.root.setLevel(before)
