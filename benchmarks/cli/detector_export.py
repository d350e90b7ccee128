"""`bench detect export`: a detector as an ONNX file or a program of torch.export, with a card and a script."""

from __future__ import annotations

import shlex
import tempfile
from importlib.resources import files
from pathlib import Path

from benchmarks.inference.check_faces import CheckFaces, faces_for
from benchmarks.inference.model_card import model_card
from benchmarks.inference.predictor import Predictor, folder_named, predictor_at, predictor_of
from benchmarks.protocol import PROTOCOL_VERSION
from benchmarks.report.run_report import RunReport
from benchmarks.workflow.store import Store
from detect.export import WRITERS
from detect.export.agreement import Agreement, compare
from detect.export.graph import check_is_network, score_graph
from forge.core.compute import tune_allocator
from forge.core.errors import InputError, quoted
from forge.core.extras import require
from forge.core.files import write_text
from forge.faces.faceset import Images
from forge.generators import GENERATORS

PRECISIONS = ("fp32", "int8")  # of an ONNX file
ENDINGS = {"onnx": (".onnx",), "torch": (".pt2",)}


def export(
    run: str,
    onnx: Path | None,
    torch: Path | None,
    precision: str,
    detector: str | None,
    trained_on: str | None,
    max_fpr: float | None,
    generator: list[str] | None,
    store: Path,
    reports: Path,
) -> None:
    """Write a detector as files that need nothing of this repository, and compare them with it."""
    tune_allocator()
    wanted = {form: file for form, file in (("onnx", onnx), ("torch", torch)) if file is not None}
    _check(wanted, precision)
    for reference in generator or []:
        GENERATORS.load(reference)  # a discriminator from a file is built only if its file was named
    at = folder_named(run, reports)
    if at is not None:
        predictor, results = predictor_at(at, detector, trained_on, max_fpr=max_fpr), None
    else:
        predictor = predictor_of(run, detector, trained_on, store, reports, max_fpr=max_fpr)
        results = RunReport.open(run, reports).results
    score_graph(predictor.trained)  # what cannot be exported is said before faces are rendered
    if precision == "int8":
        check_is_network(predictor.trained)
    resolution = predictor.trained.card.resolution
    faces = faces_for(results, Store(store), resolution)
    ranges = faces_for(results, Store(store), resolution, split="val").images if precision == "int8" else None
    agreements = [(file, _write(predictor, form, file, faces, ranges)) for form, file in wanted.items()]
    others = [] if results is None or detector else sorted({fact.detector for fact in results.cells} - {predictor.name})
    if others:
        print(f"{predictor.name}, the run's leader; --detector takes another: {', '.join(others)}")
    for file, agreement in agreements:
        print(f"{file}: {predictor.name} trained on {predictor.trained_on}, {resolution} px; {agreement.sentence()}")
    command = _command(run, predictor, wanted, max_fpr, precision, at_path=at is not None)
    card, script = _card_of(wanted), _script_of(wanted)
    write_text(card, model_card(predictor, results, agreements, command))
    print(f"{card}: what it is, what it was trained on, and how well it does")
    if onnx is not None and script is not None:
        template = (files("detect.export") / "script.txt").read_text(encoding="utf-8")
        write_text(script, template.format(model=onnx.name, script=script.name))
        print(f"next: python {shlex.quote(str(script))} PHOTO…   (numpy, pillow and onnxruntime are enough)")


def _check(wanted: dict[str, Path], precision: str) -> None:
    """Refuse files that cannot be written, before anything is loaded."""
    if not wanted:
        raise InputError("name a file to write: --onnx FILE.onnx, or --torch FILE.pt2")
    if precision not in PRECISIONS:
        raise InputError(f"--precision {quoted(precision)}: choose {' or '.join(PRECISIONS)}")
    if precision == "int8" and list(wanted) != ["onnx"]:
        raise InputError("--precision int8 is for --onnx alone; a file for torch is written in fp32")
    for form, file in wanted.items():
        if file.suffix.lower() not in ENDINGS[form]:
            raise InputError(f"--{form} {quoted(str(file))}: its name must end in {ENDINGS[form][0]}")
        if any(character in file.name for character in '"\\{}\n\r'):
            raise InputError(
                f"--{form} {quoted(str(file))}: a quote, backslash, brace or line feed in a name is refused"
            )
        if file.is_dir() or not file.parent.is_dir():
            reason = "is a folder" if file.is_dir() else "its folder does not exist"
            raise InputError(f"--{form} {quoted(str(file))}: {reason}; choose another place")
    card, script = _card_of(wanted), _script_of(wanted)
    for beside, sign in ((card, "bench detect export"), (script, "Score photos with")):
        # an earlier export is replaced, notes of the user's are not
        if beside and beside.exists() and sign not in beside.read_text(encoding="utf-8", errors="replace"):
            raise InputError(
                f"{beside} would be written beside the model, but holds something else; choose another name"
            )
    if "onnx" in wanted:
        require("--onnx", "onnx", "onnx", "onnxscript", "onnxruntime")


def _card_of(wanted: dict[str, Path]) -> Path:
    """Return the file of the card: beside the first model."""
    return next(iter(wanted.values())).with_suffix(".md")


def _script_of(wanted: dict[str, Path]) -> Path | None:
    """Return the file of the script, which an ONNX file has; a prefix keeps it from hiding a module, as numpy.py."""
    return wanted["onnx"].with_name(f"score_{wanted['onnx'].stem}.py") if "onnx" in wanted else None


def _write(predictor: Predictor, form: str, file: Path, faces: CheckFaces, ranges: Images | None) -> Agreement:
    """Write a file in one format, in int8 where there are images for it; it appears only where it agrees."""
    trained, threshold = predictor.trained, predictor.threshold.score
    # a folder beside the target: a rename is atomic, and a model of several gigabytes is several files
    with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as folder:
        target, facts = Path(folder) / file.name, _facts(predictor)
        if ranges is None:
            run = WRITERS.load(form)(trained, target, facts)
        else:
            run = WRITERS.load(f"{form}-int8")(trained, target, facts | {"precision": "int8"}, ranges)
        calibrated = 0 if ranges is None else len(ranges)
        agreement = compare(trained, run, faces.images, threshold, forged=faces.forged, calibrated=calibrated)
        agreement.check(predictor.name)
        for part in Path(folder).iterdir():
            part.replace(file.with_name(part.name))
    return agreement


def _facts(predictor: Predictor) -> dict[str, str]:
    """Return what the file itself carries."""
    card = predictor.trained.card
    return {
        "detector": predictor.name,
        "trained_on": predictor.trained_on,
        "resolution": str(card.resolution),
        "threshold": repr(predictor.threshold.score),
        "crop": predictor.crop,
        "calibration_a": repr(card.calibration["a"]),
        "calibration_b": repr(card.calibration["b"]),
        "source": predictor.source,
        "protocol": str(PROTOCOL_VERSION),
    }


def _command(
    run: str, predictor: Predictor, wanted: dict[str, Path], max_fpr: float | None, precision: str, *, at_path: bool
) -> str:
    """Return the command with every choice named; files by name, since paths say who works where."""
    choice = [] if at_path else ["-d", predictor.name, "--trained-on", predictor.trained_on]
    rate = [] if max_fpr is None else ["--max-fpr", f"{max_fpr:g}"]
    bits = [] if precision == "fp32" else ["--precision", precision]
    target = [word for form, file in wanted.items() for word in (f"--{form}", file.name)]
    return shlex.join(["bench", "detect", "export", Path(run).name if at_path else run, *choice, *rate, *target, *bits])
