"""Training: losses, accuracy and health of the generators, losses and validation AUC of the detectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from benchmarks.evaluation.numbers import duration
from benchmarks.evaluation.results import Results
from benchmarks.evaluation.run_facts import DetectorFacts, GeneratorFacts
from benchmarks.protocol import TrainSet
from benchmarks.report.health import health_figures
from benchmarks.report.plot import curves
from benchmarks.report.plot.elements import series
from benchmarks.report.plot.figure import Figure, FileNames
from benchmarks.report.plot.plot import Axis, Plot, nice_axis
from benchmarks.report.run_view import RunView
from benchmarks.report.sections.base import Content, Section

_SHOWN = 4  # generators, and fits, with figures of their own
_FOLDED = 20  # further fits whose figures are folded away
_SHARES = [(0.0, "0"), (0.25, "25 %"), (0.5, "50 %"), (0.75, "75 %"), (1.0, "100 %")]
_PROGRESS = {"images": "training images seen", "epoch": "epochs", "step": "steps", "iterations": "iterations"}
_LABELS = {
    "d_loss": "discriminator loss", "g_loss": "generator loss", "d_accuracy": "discriminator accuracy",
    "train_loss": "loss on training data", "val_loss": "loss on validation data", "val_auc": "AUC on validation data",
    "loss": "loss on training data", "val_accuracy": "accuracy on validation data",
    **{f"quarter{i}_loss": f"loss at times {(i - 1) / 4:g} to {i / 4:g}" for i in range(1, 5)},
}  # fmt: skip


@dataclass(frozen=True)
class TrainingContent(Content):
    """Figures of generators and fits; `left_out` has a sentence for each list that is not complete."""

    generators: list[Figure]
    detectors: list[Figure]
    more_detectors: list[Figure]
    left_out: dict[str, str]

    @property
    def figures(self) -> list[Figure]:
        """All of them, in the order of the page."""
        return [*self.generators, *self.detectors, *self.more_detectors]


class TrainingSection(Section):
    """Training curves of generators and detectors."""

    id, title, position = "training", "Training", 1100
    template, text_template = "training.html.j2", "training.md.j2"

    def build(self, run: RunView) -> TrainingContent:
        """Draw the training curves."""
        # one order for the figures and for the sentence on what is left out
        names, generators, fits = run.file_names, run.results.generators, _hardest_first(run.results)
        return TrainingContent(
            generators=[
                figure
                for generator in generators[:_SHOWN]
                for figure in (
                    *health_figures(generator.name, generator.health, names),
                    *generator_figures(generator, names),
                )
            ],
            detectors=[figure for fit in fits[:_SHOWN] for figure in detector_figures(fit, names)],
            more_detectors=[
                figure for fit in fits[_SHOWN : _SHOWN + _FOLDED] for figure in detector_figures(fit, names)
            ],
            left_out={
                "generators": _first(_SHOWN, len(generators)),
                "detectors": f"The {_SHOWN} of {len(fits)} fits with the lowest AUC on generators of their training."
                if len(fits) > _SHOWN
                else "",
                "more_detectors": _first(_FOLDED, len(fits) - _SHOWN),
            },
        )


def _first(shown: int, total: int) -> str:
    return f"The first {shown} of {total}; results.json has them all." if total > shown else ""


def _hardest_first(results: Results) -> list[DetectorFacts]:
    """Sort many fits by the mean AUC on the generators that they were trained on, lowest first; keep the order of few.

    Repetitions with other seeds are fits of their own.
    """
    if len(results.detectors) <= _SHOWN:
        return results.detectors
    seen_aucs: dict[tuple[str, str, int], list[float]] = {}
    for cell in results.cells:
        if cell.seen:
            seen_aucs.setdefault((cell.detector, cell.trained_on, cell.seed), []).append(cell.auc)
    # fits whose own generators were not tested come last
    return sorted(results.detectors, key=lambda fit: fmean(seen_aucs.get((fit.name, fit.trained_on, fit.seed), [1.0])))


def generator_figures(generator: GeneratorFacts, names: FileNames) -> list[Figure]:
    """Draw losses and the accuracy of the discriminator against thousands of images seen; none without a log."""
    log = [line for line in generator.log if "kimg" in line]  # lines without a position cannot be drawn
    figures = []
    losses = [name for name in dict.fromkeys(name for line in log for name in line) if name.endswith("loss")]
    where = f"of {generator.name}, trained for {duration(generator.seconds)}"
    if losses and len(log) > 1:
        figures.append(
            _figure(
                log, "kimg", "thousand real images seen", losses, f"Losses {where}", names("losses", generator.name)
            )
        )
    if any("d_accuracy" in line for line in log) and len(log) > 1:
        name = names("discriminator", generator.name)
        title = f"Discriminator accuracy {where}"
        figures.append(_figure(log, "kimg", "thousand real images seen", ["d_accuracy"], title, name))
    return figures


def detector_figures(detector: DetectorFacts, names: FileNames) -> list[Figure]:
    """Draw loss and validation AUC of a fit; none where its log has a single line."""
    log = detector.history
    if len(log) < 2:
        return []
    # Methods count their progress differently; without any count the lines are numbered.
    progress = next((name for name in _PROGRESS if all(name in line for line in log)), None)
    if progress is None:
        progress, log = "step", [{**line, "step": float(i + 1)} for i, line in enumerate(log)]
    known = dict.fromkeys(name for line in log for name in line)
    figures = []
    # by the ending of the name: a plug-in may log losses of its own
    for heading, ending in (("Loss", "loss"), ("Validation AUC", "auc")):
        chosen = [name for name in known if name.endswith(ending)]
        if chosen:
            title = f"{heading} of {detector.name}, trained on {TrainSet.parse(detector.trained_on).readable}"
            name = names("fit", ending, detector.name, detector.trained_on)
            figures.append(_figure(log, progress, _PROGRESS[progress], chosen, title, name))
    return figures


def _figure(
    log: Sequence[Mapping[str, float]], progress: str, x_label: str, chosen: Sequence[str], title: str, name: str
) -> Figure:
    lines = {
        # A reading may be missing in some lines.
        key: curves.thin([line[progress] for line in log if key in line], [line[key] for line in log if key in line])
        for key in chosen
    }
    shown = {key: curve for key, curve in lines.items() if len(curve.x)}
    seen = [line[progress] for line in log]
    # The axis begins at 0, also where the log begins later.
    x = nice_axis(min(0.0, *seen), max(seen), x_label)
    plot = Plot(x, _vertical(chosen[0], shown), height=170)
    # 0.5 is guessing for the discriminator, as for a detector.
    if chosen[0] == "d_accuracy":
        plot.line([x.low, x.high], [0.5, 0.5], "chance")
    for i, (key, curve) in enumerate(shown.items()):
        if curve.thinned:  # the range of what each point stands for
            plot.band(curve.x, curve.low, curve.high, series(i))
        plot.line(curve.x, curve.mean, series(i))
        if len(curve.x) <= 12:  # few points are shown one by one, since a line between them is a guess
            for px, py in zip(curve.x, curve.mean, strict=True):
                plot.dot(px, py, series(i).split()[0], radius=2.5)
        label = _LABELS.get(key, key.replace("_", " "))
        plot.legend(f"{label} (area: range)" if curve.thinned else label, series(i))
    ends = "; ".join(f"{_LABELS.get(k, k)} from {c.mean[0]:.3g} to {c.mean[-1]:.3g}" for k, c in shown.items())
    alt = f"{title}: {ends}."
    return Figure(name, title, plot.svg(alt), alt)


def _vertical(first: str, lines: Mapping[str, curves.Curve]) -> Axis:
    if first.endswith("accuracy"):
        return Axis(0, 1, _SHARES, "share of images judged right")
    low = min((float(curve.low.min()) for curve in lines.values()), default=0.0)
    high = max((float(curve.high.max()) for curve in lines.values()), default=1.0)
    # An AUC near 1 would be a line at the frame: the axis begins below .98.
    if first.endswith("auc"):
        return nice_axis(min(low, 0.98) - 0.005, 1.0, "AUC", max_steps=4)
    return nice_axis(min(low, 0.0), high, "loss", max_steps=4)
