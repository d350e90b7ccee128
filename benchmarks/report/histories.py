"""The figures made from training: how generators and detectors got where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.measures.results import DetectorFacts, GeneratorFacts
from benchmarks.report import curves
from benchmarks.report.figures import Figure, Names
from benchmarks.report.numbers import duration
from benchmarks.report.svg import Axis, Plot, nice_axis, series

_SHARES = [(0.0, "0"), (0.25, "25 %"), (0.5, "50 %"), (0.75, "75 %"), (1.0, "100 %")]
_PROGRESS = {"images": "training images seen", "epoch": "epochs", "step": "steps", "iterations": "iterations"}
_WORDS = {
    "d_loss": "discriminator loss", "g_loss": "generator loss", "d_accuracy": "discriminator accuracy",
    "train_loss": "loss on training data", "val_loss": "loss on validation data", "val_auc": "AUC on validation data",
    "loss": "loss on training data", "val_accuracy": "accuracy on validation data",
}  # fmt: skip


def generator_figures(generator: GeneratorFacts, names: Names) -> list[Figure]:
    """Losses, and the discriminator's accuracy, against thousands of images seen; none without a log."""
    log = [line for line in generator.log if "kimg" in line]
    found = []
    losses = [name for name in ("d_loss", "g_loss") if any(name in line for line in log)]
    where = f"of {generator.name}, trained for {duration(generator.seconds)}"
    if losses and len(log) > 1:
        found.append(
            _figure(
                log, "kimg", "thousand real images seen", losses, f"Losses {where}", names("losses", generator.name)
            )
        )
    if any("d_accuracy" in line for line in log) and len(log) > 1:
        name = names("discriminator", generator.name)
        title = f"Discriminator accuracy {where}"
        found.append(_figure(log, "kimg", "thousand real images seen", ["d_accuracy"], title, name))
    return found


def detector_figures(detector: DetectorFacts, names: Names) -> list[Figure]:
    """Loss and validation AUC of a fit; none where the fit has a single line."""
    log = detector.history
    if len(log) < 2:
        return []
    progress = next((name for name in _PROGRESS if all(name in line for line in log)), None)
    if progress is None:
        progress, log = "step", [{**line, "step": float(i + 1)} for i, line in enumerate(log)]
    known = dict.fromkeys(name for line in log for name in line)
    found = []
    for kind, wanted in (("Loss", "loss"), ("Validation AUC", "auc")):
        chosen = [name for name in known if name.endswith(wanted)]
        if chosen:
            title = f"{kind} of {detector.name}, trained on {detector.trained_on}"
            name = names("fit", wanted, detector.name, detector.trained_on)
            found.append(_figure(log, progress, _PROGRESS[progress], chosen, title, name))
    return found


def _figure(
    log: Sequence[Mapping[str, float]], progress: str, label: str, chosen: Sequence[str], title: str, name: str
) -> Figure:
    lines = {
        one: curves.thin([line[progress] for line in log if one in line], [line[one] for line in log if one in line])
        for one in chosen
    }
    shown = {one: curve for one, curve in lines.items() if len(curve.x)}
    seen = [line[progress] for line in log]
    x = nice_axis(min(0.0, *seen), max(seen), label)
    plot = Plot(x, _vertical(chosen[0], shown), height=170)
    if chosen[0] == "d_accuracy":
        plot.line([x.low, x.high], [0.5, 0.5], "chance")
    for i, (one, curve) in enumerate(shown.items()):
        if curve.thinned:
            plot.band(curve.x, curve.low, curve.high, series(i))
        plot.line(curve.x, curve.mean, series(i))
        if len(curve.x) <= 12:
            for px, py in zip(curve.x, curve.mean, strict=True):
                plot.dot(px, py, series(i).split()[0], radius=2.5)
        said = _WORDS.get(one, one.replace("_", " "))
        plot.legend(f"{said} (area: range)" if curve.thinned else said, series(i))
    ends = "; ".join(f"{_WORDS.get(o, o)} from {c.mean[0]:.3g} to {c.mean[-1]:.3g}" for o, c in shown.items())
    alt = f"{title}: {ends}."
    return Figure(name, title, plot.svg(alt), alt)


def _vertical(first: str, lines: Mapping[str, curves.Curve]) -> Axis:
    if first.endswith("accuracy"):
        return Axis(0, 1, _SHARES, "share of images judged right")
    low = min((float(curve.low.min()) for curve in lines.values()), default=0.0)
    high = max((float(curve.high.max()) for curve in lines.values()), default=1.0)
    if first.endswith("auc"):
        return nice_axis(min(low, 0.98) - 0.005, 1.0, "AUC", most=4)
    return nice_axis(min(low, 0.0), high, "loss", most=4)
