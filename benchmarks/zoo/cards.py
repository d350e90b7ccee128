"""README cards of the zoo's members in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.evaluation.numbers import count, percent
from benchmarks.zoo.members import PREFIX, ZooCard
from forge.training.monitor.health import state_title

if TYPE_CHECKING:
    from forge.generators.artifact import GeneratorCard


def mega(size: int) -> str:
    """Return a number of bytes in megabytes (10^6).

    >>> mega(7_250_000)
    '7.25 MB'
    """
    return f"{size / 1e6:.2f} MB"


def generator_readme(card: ZooCard, generator: GeneratorCard, facts: Mapping[str, Any]) -> str:
    """Write the card of a generator.

    Args:
        card: of the member.
        generator: what generator.json holds.
        facts: `rows` of quality.json, `rounding`, the last `health` tick, bytes of the `weights`, what the
            `samples` show, whether it `takes_faces`, and precision and threads of the training (`numerics`).
    """
    name = f"{PREFIX}{card.name}"
    data = generator.data
    made = "made of real faces" if facts["takes_faces"] else "drawn from latents"
    rows = {
        "architecture": f"{card.architecture}, family {card.family}, {card.resolution} px",
        "parameters": ", ".join(f"{part} {count(number)}" for part, number in generator.parameters.items()),
        "weights": f"averaged over the training, half precision, {mega(facts['weights'])}",
        "trained on": f"{count(data.get('images', 0))} photos of split `forge` of {data['name']}, digest "
        f"`{str(data['digest'])[:16]}`",
        "training": f"{card.kimg:g} thousand images shown, seed {generator.seed}"
        + (f", {facts['numerics']}" if facts["numerics"] else f", {generator.precision}"),
        "health at its end": _health(facts["health"]),
        **_labels(generator),
        "licence of the photos": card.licence,
        "citation": card.citation or "–",
    }
    parts = [
        f"# {name}",
        f"Forged faces of {card.resolution} px, {made}, without training: `bench run -g {name} -d npr`.",
        *([f"![{facts['samples']}](samples.png)"] if facts["samples"] else []),
        _table(("", ""), [*rows.items()]),
        "## Quality\n\n" + _quality(facts["rows"]),
        "## Half precision\n\n" + _rounding(facts["rounding"]),
        "## Made again by\n\n    " + "\n    ".join(card.command.split(" && ")),
        "## Limits\n\n"
        "One training: seeds of a run draw other latents of these weights, so that intervals over seeds say nothing of "
        "another training. Its discriminator is not published: detectors that start from one, snapshots, races and "
        f"continued trainings need a generator that is trained. {_seen(card)}",
    ]
    return "\n\n".join(parts) + "\n"


def _seen(card: ZooCard) -> str:
    return (
        f"It was trained on photos of {card.trained_on}: with the same prepared set detectors never see these photos, "
        "with other photos of that source a run cannot know which of its test photos the generator has seen."
    )


def _health(tick: Mapping[str, Any] | None) -> str:
    return "not watched" if tick is None else f"{state_title(tick['state'])}: {tick['reason']}"


def _labels(generator: GeneratorCard) -> dict[str, str]:
    rows = {}
    if generator.condition:
        values = generator.condition["values"]
        rows["labels"] = "; ".join(f"{column}: {', '.join(names)}" for column, names in values.items())
    if generator.domains:
        rows["domains"] = "; ".join(f"{column}: {pair[0]} to {pair[1]}" for column, pair in generator.domains.items())
    return rows


def _quality(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "Not measured."
    lines = [
        (row["metric"], _number(row["value"]), _number(row["reference"]), row["better"], count(row["n"]))
        for row in rows
    ]
    return "Measured on the published weights, beside its reference: what held-out real faces reach.\n\n" + _table(
        ("metric", "value", "reference", "better", "images"), lines
    )


def _rounding(rounding: Mapping[str, Any]) -> str:
    if not rounding["images"]:
        return "Not compared with the weights in single precision."
    return (
        f"Of {count(rounding['images'])} faces made with the weights in single and in half precision, the largest "
        f"difference of a value is {rounding['largest']} of 255, the mean {rounding['mean']:.3f}; "
        f"{percent(rounding['changed'], 1000)} of the values differ."
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _table(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write a table; a bar in a cell is escaped."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
