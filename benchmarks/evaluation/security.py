"""Detectors under attack: rows of unchanged images beside those of changed ones, and AUC over the budget.

An attack changes one class alone. The rows of the other class, which no attack touches, are stored once and stand
beside every attack here (`with_unchanged`). A point of a security curve is the mean AUC over generators of one attack
at one budget; the point at budget 0 is of the same images before the attack.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

import pandas as pd

from benchmarks.evaluation import roc
from benchmarks.evaluation.attack_facts import AttackFacts
from benchmarks.evaluation.cells import Scored, Where, each_test
from benchmarks.evaluation.column import Column
from benchmarks.evaluation.results import SecurityPoint
from benchmarks.protocol import CLEAN, OWN_REALS, AttackId, Protocol, TestGrid

_KEYS = ["detector", "trained_on", "seed"]
_BEFORE = ("attack:before:0", "frame:before:0")  # perturbations of the attacked images before the attack
_FPR = 0.01
_FLAT = 0.05  # share of gradients that are zero everywhere, from which on it is said
_MASKED = 0.02  # AUC by which an attack by scores is better than the best one by gradients, to be called so
_NO_EFFECT = 0.01  # loss of AUC of an attack by gradients at its largest budget, below which it is called so


def is_attack(rows: pd.DataFrame) -> pd.Series[bool]:
    """Return which score rows are of attacked images."""
    return rows["perturbation"].str.startswith(("attack:", "frame:"))


def with_unchanged(rows: pd.DataFrame, protocol: Protocol | None = None) -> pd.DataFrame:
    """Return score rows with those of the other class, unchanged, beside each attack.

    Args:
        rows: of scores.parquet.
        protocol: version and families; by default this version's.
    """
    attacked = is_attack(rows)
    if not attacked.any():
        return rows
    tests = TestGrid.of_scores(rows[~attacked], protocol)
    plain = (rows["split"] == "test") & (rows["perturbation"] == CLEAN) & ~rows["source"].str.startswith(OWN_REALS)
    of_fit = {
        frames: dict(iter(rows[plain & chosen].groupby(_KEYS)))
        for frames, chosen in ((False, rows["generator"] == ""), (True, rows["generator"].isin(tests.generators)))
    }
    parts = [rows]
    for (*fit, perturbation), _ in rows[attacked].groupby([*_KEYS, "perturbation"], sort=True):
        others = of_fit[str(perturbation).startswith("frame:")]
        if tuple(fit) in others:
            parts.append(others[tuple(fit)].assign(perturbation=str(perturbation)))
    return pd.concat(parts, ignore_index=True)


def security_points(
    rows: pd.DataFrame, facts: Sequence[AttackFacts], protocol: Protocol | None = None
) -> list[SecurityPoint]:
    """Compute the points of all security curves.

    Args:
        rows: of scores.parquet.
        facts: what each attack cost.
        protocol: version and families; by default this version's.

    Returns:
        Points by attack, then detector, then budget; those before any attack come first.
    """
    test = rows[rows["split"] == "test"]
    if not is_attack(test).any():
        return []
    whole = with_unchanged(pd.concat([test, *_before(test)], ignore_index=True), protocol)
    attacked = whole[is_attack(whole)]
    rates = _rates(attacked)
    cells: dict[tuple[str, str, str], list[Scored]] = {}
    for detector, cell in each_test(attacked):
        cells.setdefault((cell.where.perturbation, detector, cell.trained_on), []).append(cell)
    costs: dict[tuple[str, str, str], list[AttackFacts]] = {}
    for fact in facts:
        costs.setdefault((fact.attack, fact.detector, fact.trained_on), []).append(fact)
    points = [
        _point(key, of_key, [rates[key[1], key[2], cell.where] for cell in of_key], costs.get(key, []))
        for key, of_key in cells.items()
    ]
    return sorted(points, key=lambda point: (point.frames, point.attack != "", point.attack, point.detector,
                                             point.epsilon or 0.0))  # fmt: skip


def _before(test: pd.DataFrame) -> Iterable[pd.DataFrame]:
    """Yield the clean rows of the images that are attacked, as an attack without effect."""
    columns = [*_KEYS, "generator", "source", "sample_id"]
    clean = test[test["perturbation"] == CLEAN]
    for name in _BEFORE:
        changed = test[test["perturbation"].str.startswith(name.partition(":")[0] + ":")]
        images = changed[columns].drop_duplicates()
        yield clean.merge(images, on=columns).assign(perturbation=name)


def _rates(attacked: pd.DataFrame) -> dict[tuple[str, str, Where], float | None]:
    """Return the TPR at 1 % FPR of each test, by detector, training and position."""
    rates: dict[tuple[str, str, Where], float | None] = {}
    for (detector, trained_on, seed, perturbation), fit in attacked.groupby([*_KEYS, "perturbation"]):
        real = fit[fit["generator"] == ""]
        for generator, forged in fit[fit["generator"] != ""].groupby("generator"):
            both = pd.concat([real, forged])
            where = Where("", str(generator), str(perturbation), int(str(seed)))
            rates[str(detector), str(trained_on), where] = roc.tpr_at_fpr(
                both["label"].to_numpy(), both["score"].to_numpy(), _FPR
            )
    return rates


def _point(
    key: tuple[str, str, str], cells: Sequence[Scored], rates: Sequence[float | None], costs: Sequence[AttackFacts]
) -> SecurityPoint:
    perturbation, detector, trained_on = key
    attack = AttackId.parse(perturbation)
    assert attack is not None  # rows are those of attacks
    mean = Column({detector: list(cells)}).mean(detector)
    known = [rate for rate in rates if rate is not None]
    return SecurityPoint(
        detector=detector,
        trained_on=trained_on,
        attack="" if perturbation in _BEFORE else attack.attack,
        frames=attack.frames,
        epsilon=attack.epsilon,
        access=costs[0].access if costs else "",
        generators=len({cell.where.tested_on for cell in cells}),
        auc=mean.value,
        low=mean.low,
        high=mean.high,
        tpr_at_fpr_1pct=fmean(known) if len(known) == len(rates) else None,
        images=max((fact.images for fact in costs), default=0),
        psnr=_mean_psnr([fact.psnr for fact in costs]),
        changed=fmean(fact.changed for fact in costs) if costs else 0.0,
        flat=fmean(fact.flat for fact in costs) if costs else 0.0,
        scored=fmean(fact.scored for fact in costs) if costs else 0.0,
    )


def _mean_psnr(ratios: Sequence[float | None]) -> float | None:
    """Return the ratio of the mean squared error of several sets; None where nothing was changed in any."""
    errors = [0.0 if ratio is None else 10 ** (-ratio / 10) for ratio in ratios]
    mean = fmean(errors) if errors else 0.0
    return round(-10 * math.log10(mean), 2) if mean else None


def warnings_of(points: Sequence[SecurityPoint]) -> list[str]:
    """Return sentences on points that do not mean what they seem to, after the checks of AutoAttack (Croce 2020).

    Gradients that are zero, attacks by gradients without effect, and attacks by scores that are stronger than all by
    gradients show that a detector hides its gradients, not that it is robust.
    """
    before = {(point.detector, point.frames): point.auc for point in points if not point.attack}
    by_gradient = [point for point in points if point.access == "gradients"]
    sentences = []
    for name, attack in dict.fromkeys((point.detector, point.attack) for point in by_gradient):
        of_attack = [point for point in by_gradient if (point.detector, point.attack) == (name, attack)]
        strongest = max(of_attack, key=lambda point: point.epsilon or 0.0)
        flat = max(point.flat for point in of_attack)
        if flat > _FLAT:
            sentences.append(f"{name}: {flat:.0%} of its gradients under {attack} are zero everywhere.")
        lost = _gained(strongest, before)
        if lost is not None and lost < _NO_EFFECT:
            sentences.append(f"{name}: {attack} has no effect at its largest budget (AUC {strongest.auc:.3f}).")
    for point in points:
        rivals = [
            other
            for other in by_gradient
            if (other.detector, other.frames, other.epsilon) == (point.detector, point.frames, point.epsilon)
        ]
        gained, best = _gained(point, before), max((_gained(other, before) or 0.0 for other in rivals), default=None)
        if point.access == "scores" and best is not None and gained is not None and gained > best + _MASKED:
            sentences.append(
                f"{point.detector}: {point.attack}, which asks for scores alone, is stronger at {point.epsilon:g}/255 "
                "than every attack by gradients: these are masked, and say nothing of its robustness."
            )
    return sentences


def _gained(point: SecurityPoint, before: dict[tuple[str, bool], float]) -> float | None:
    """Return the AUC that an attack took; None without a point before it."""
    clean = before.get((point.detector, point.frames))
    return None if clean is None else clean - point.auc
