"""Fitted detectors as files that other programs run: ONNX, and programs of `torch.export`; listed by format."""

from forge.core.registry import Registry

# format -> function that writes it; each is imported when it is asked for, since ONNX is an extra
WRITERS = Registry(
    "format",
    "detect.exports",
    {
        "onnx": "detect.export.onnx_model:write",
        # its function takes calibration images too
        "onnx-int8": "detect.export.onnx_int8:write",
        "torch": "detect.export.torch_program:write",
    },
)
