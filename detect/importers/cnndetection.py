"""CNNDetection: blur_jpg_prob0.5.pth and blur_jpg_prob0.1.pth of github.com/PeterWang512/CNNDetection."""

from __future__ import annotations

from detect.importers.importer import Importer, accuracies_and_precisions

_SOURCE = "README of PeterWang512/CNNDetection, without cropping"


CNNDETECTION = Importer(
    weights="blur_jpg_prob0.5.pth, blur_jpg_prob0.1.pth",
    repository="PeterWang512/CNNDetection",
    licence="CC BY-NC-SA 4.0",
    seen=lambda file: ("progan", "lsun"),
    marks={"conv1.weight": (64, 3, 7, 7), "layer4.2.conv3.weight": None, "fc.weight": (1, 2048)},
    detector="resnet50",
    input_size=None,
    preprocessing="none: never resized",
    reported=accuracies_and_precisions(
        _SOURCE,
        "blur_jpg_prob0.5.pth",
        ("ProGAN", 1.0, 1.0),
        ("StyleGAN", 0.775, 0.993),
        ("BigGAN", 0.595, 0.904),
        ("CycleGAN", 0.846, 0.979),
        ("StarGAN", 0.847, 0.975),
        ("GauGAN", 0.829, 0.988),
        ("Deepfake", 0.504, 0.631),
        ("StyleGAN2", 0.724, 0.991),
        ("Whichfaceisreal", 0.752, 1.0),
    )
    + accuracies_and_precisions(
        _SOURCE,
        "blur_jpg_prob0.1.pth",
        ("ProGAN", 1.0, 1.0),
        ("StyleGAN", 0.902, 0.998),
        ("BigGAN", 0.712, 0.860),
        ("CycleGAN", 0.876, 0.949),
        ("StarGAN", 0.946, 0.990),
        ("GauGAN", 0.814, 0.908),
        ("Deepfake", 0.507, 0.845),
        ("StyleGAN2", 0.869, 0.995),
        ("Whichfaceisreal", 0.916, 0.998),
    ),
)
