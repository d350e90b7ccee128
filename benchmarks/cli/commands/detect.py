"""`bench detect`: score own photos with a detector that a run has trained, or with published weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.groups import UNNAMED, Unnamed, WithDefault, implemented_in
from forge.core.compute import share_cores

EXAMPLES = """\b
Examples:
  bench detect dcgan-xception-rendered-quick me.jpg holiday/
  bench detect dcgan-xception-rendered-quick holiday/ --max-fpr 0.01 --out scores.csv
  bench detect dcgan-xception-rendered-quick holiday/ --error-rate 0.1 --prior 0.01 --fail-on forged
  bench detect dcgan-xception-rendered-quick me.jpg --explain
  bench detect splice-unet-rendered-quick me.jpg --map
  bench detect export dcgan-xception-rendered-quick --onnx xception.onnx
  bench detect dcgan-xception-rendered-quick clip.mp4 --frames 32
  bench detect import meso4 Meso4_DF.h5
  bench detect meso4-published me.jpg
"""


# Without the name of a command it scores photos; `export`, `import` and `published` are the other commands.
app = typer.Typer(add_completion=False, cls=WithDefault, rich_markup_mode=None, epilog=EXAMPLES)


@app.command(UNNAMED, cls=Unnamed, hidden=True)  # shown as the group itself, see groups.py
@implemented_in("benchmarks.cli.detect", first=share_cores)
def detect(
    run: options.DetectorRun,
    images: Annotated[list[Path], typer.Argument(help="Photos, videos, or folders of them.")],
    detector: options.Detector = None,
    trained_on: options.TrainedOn = None,
    max_fpr: options.MaxFpr = None,
    error_rate: Annotated[
        float | None,
        typer.Option(
            "--error-rate",
            help="Share of the photos of each class whose class may be ruled out wrongly; smaller: more answers are "
            "'cannot say'. [default: 0.05]",
            show_default=False,
        ),
    ] = None,
    prior: Annotated[
        float | None,
        typer.Option(
            "--prior",
            help="Share of forgeries among such photos, e.g. 0.01; probabilities hold for it. [default: 0.5]",
            show_default=False,
        ),
    ] = None,
    reencode: Annotated[
        bool | None,
        typer.Option(
            "--reencode/--no-reencode",
            help="Judge each photo under six re-encodings too. [default: up to 200 photos]",
            show_default=False,
        ),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option("--fail-on", help="Exit with code 3 if a verdict is: forged, real, cannot-say or problem."),
    ] = None,
    generator: options.Discriminators = None,
    crop: options.Crop = None,
    view: Annotated[
        str,
        typer.Option("--view", help="How a photo is shown: resize, centre-crop, five-crops, tiles or tiles-max."),
    ] = "resize",
    explain: Annotated[
        bool, typer.Option("--explain", help="Write one picture per photo that shows where the detector looked.")
    ] = False,
    explain_to: Annotated[
        Path | None, typer.Option("--explain-to", help="Folder of these pictures. [default: pictures/RUN/DETECTOR]")
    ] = None,
    draw: Annotated[
        bool, typer.Option("--map", help="Write one picture per photo that shows where it may have been altered.")
    ] = False,
    draw_to: Annotated[
        Path | None, typer.Option("--map-to", help="Folder of these pictures. [default: pictures/RUN/LOCALISER]")
    ] = None,
    map_values: Annotated[
        bool, typer.Option("--map-values", help="Write the values of each map too, float32, as a file .npy.")
    ] = False,
    frames: Annotated[
        int, typer.Option("--frames", min=1, max=1000, help="Frames judged of each video, evenly spaced in time.")
    ] = 16,
    plot_to: Annotated[
        Path | None,
        typer.Option(
            "--plot-to",
            help="Folder of the plots of scores over time of videos. [default: beside --out, or pictures/RUN/DETECTOR]",
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", help="Format: table, csv, json or parquet. [default: table, or as --out ends]"),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File for the results. [default: the terminal]")] = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that read photos; 0: one per core.")] = 0,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Judge photos: score, calibrated probability, and the verdict: forged, real or cannot say.

    Exit codes: 0 done, 1 failed, 2 bad input or no photo could be used, 3 a verdict of --fail-on.

    A run that is called like a command (export, import, published) is named by its path, as in
    bench detect reports/import PHOTO.
    """


@app.command("export")
@implemented_in("benchmarks.cli.detector_export")
def export(
    run: options.DetectorRun,
    onnx: Annotated[
        Path | None, typer.Option("--onnx", help="ONNX file to write; a script that runs it is written beside it.")
    ] = None,
    torch: Annotated[
        Path | None, typer.Option("--torch", help="File to write for torch.export.load, ends in .pt2.")
    ] = None,
    precision: Annotated[
        str,
        typer.Option("--precision", help="Precision of the ONNX file: fp32, or int8, faster for convolutions."),
    ] = "fp32",
    detector: options.Detector = None,
    trained_on: options.TrainedOn = None,
    max_fpr: options.MaxFpr = None,
    generator: options.Discriminators = None,
    store: options.Store = options.STORE,
    reports: options.Reports = options.REPORTS,
) -> None:
    """Write a detector as files that need nothing of this repository, and compare them with it.

    The model takes faces, uint8 [N, H, W, 3], and gives the calibrated probability and the raw score. A card (.md) and
    for ONNX a script of ten lines (score_NAME.py) are written beside it. Needs the extra: pip install
    'deepfake-bench[onnx]'.
    """


@app.command("import")
@implemented_in("benchmarks.cli.detect")
def import_weights(
    name: Annotated[
        str, typer.Argument(help="Detector that the weights are of, e.g. meso4; bench detect published lists them.")
    ],
    file: Annotated[Path, typer.Argument(help="File as its authors published it (.h5, .pth, .pt or .safetensors).")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder to make. [default: NAME-published]")] = None,
    resolution: Annotated[
        int | None,
        typer.Option(
            "--resolution", min=8, max=1024, help="Resolution of the images it will score. [default: the authors']"
        ),
    ] = None,
    backbone: Annotated[
        Path | None,
        typer.Option("--backbone", help="Pretrained network that the file continues (.safetensors): CLIP, or VGG-19."),
    ] = None,
) -> None:
    """Turn weights that authors published into a detector; nothing in the file is ever run.

    The detector is used as it is, not fitted: with photos (bench detect FOLDER PHOTO) or in a run
    (bench run --detector FOLDER).
    """


@app.command("published")
@implemented_in("benchmarks.cli.published")
def published(
    name: Annotated[str | None, typer.Argument(help="Network whose reported figures to list.")] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="Run that tested it: fills in the column of reproduced values.")
    ] = None,
    reports: options.Reports = options.REPORTS,
    as_json: options.Json = False,
) -> None:
    """List published detectors that can be imported: weights, licence, preprocessing.

    Published against reproduced values: import the weights, test them on the set, then name the run:

      bench detect import cnndetection blur_jpg_prob0.5.pth
      bench run -g dcgan -d cnndetection-published --external stylegan=0_real,1_fake
      bench detect published cnndetection --run RUN
    """
