"""The health of a training: a state in one word, a reason in one sentence, and what to do about it.

The states: *warming* (too early to say), *healthy*, *overfit* (the discriminator knows the training images by heart;
without one: forgeries are copies of them),
*collapsed* (forgeries are all alike), *d_dominates* (the discriminator is right nearly always, and the forgeries are
poor and get no better), *d_at_chance* (its accuracy is one half although the forgeries are poor and get no better),
*diverged* (numbers have left all bounds); of trainings without a discriminator *blank* (forgeries of one even colour)
and *noise* (forgeries that are still the noise they are made from); and of translators *does_nothing*,
*colours_inverted*, *one_output* (the same image whatever goes in) and *hides_source* (the way back reads what nobody
sees). docs/manual/forge.md lists what triggers each and which trainings the thresholds were set on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from forge.training.monitor.signs import translation_signs
from forge.training.monitor.thresholds import HealthSettings, State, TranslationThresholds

Step = Literal["continue", "warn", "stop", "roll-back"]

# trainings without a discriminator: what their forgeries are when nothing was learned, relative to training images
_BLANK, _NOISE = 0.1, 0.5  # less contrast; less correlation of neighbouring pixels
_COPIED = 0.5  # overfit: share of copies of training images, see `RealReference.copied`
_SILENT = 1.0  # nats per image below which codes say nothing; a thousandth of a face's
# the first that lasts names the state
_SIGNS: tuple[State, ...] = (
    "overfit", "d_dominates", "d_at_chance", "blank", "noise", "does_nothing", "colours_inverted", "one_output",
    "collapsed", "hides_source",
)  # fmt: skip
# the same would come again after a roll-back: the images are learned by heart again, and hiding pays off in a cycle
_NOT_ROLLED_BACK: tuple[State, ...] = ("overfit", "hides_source")
_WORDS = {
    "d_logit": "a logit of the discriminator", "d_loss": "the discriminator's loss", "g_loss": "the generator's loss",
    "d_grad_norm": "the discriminator's gradient norm", "g_grad_norm": "the generator's gradient norm",
    "grad_norm": "the gradient norm", "loss": "the loss",
}  # fmt: skip
FAILURE_MODES: tuple[State, ...] = ("diverged", *_SIGNS)
REMARKS: tuple[State, ...] = ("hides_source",)  # states of trainings whose images are as good as others
_TITLES = {
    "d_dominates": "discriminator dominates",
    "d_at_chance": "discriminator at chance",
    "does_nothing": "does nothing",
    "colours_inverted": "colours inverted",
    "one_output": "one output for all",
    "hides_source": "hides its source",
}
_EARLIER_STATES = {"won": "d_dominates", "coin toss": "d_at_chance"}  # in files of versions up to 0.2


def present_state(state: str) -> str:
    """Return the present name of a stored state, which earlier versions may have written."""
    return _EARLIER_STATES.get(state, state)


def state_title(state: str) -> str:
    """Return a state as people read it.

    >>> state_title("d_at_chance"), state_title("healthy")
    ('discriminator at chance', 'healthy')
    """
    name = present_state(state)
    return _TITLES.get(name, name)


@dataclass(frozen=True)
class Health:
    """Result of one health check; `dataclasses.asdict` of it is plain JSON.

    Attributes:
        kimg: thousands of real images shown.
        state: in one word.
        reason: in one sentence, without a full stop.
        readings: numbers by name, finite ones only; `HealthMonitor.observe` explains them.
    """

    kimg: float
    state: State
    reason: str
    readings: dict[str, float]


@dataclass(frozen=True)
class Action:
    """Action of the loop after a health check.

    Attributes:
        step: continue; warn; stop; or roll back: to the last checkpoint of a healthy or warming tick, or to the
            beginning where there is none.
        reason: for people; empty where all is well.
        lr_factor: on the learning rates of the settings, from now on.
        stream: number of the random stream of all steps from now on; 0 is the first.
    """

    step: Step
    reason: str
    lr_factor: float
    stream: int


def decide(health: Health, settings: HealthSettings, roll_backs: int) -> Action:
    """Return the action after a health check.

    Divergence stops the training under "warn" too, as nothing can come of it. Overfitting and hiding are never rolled
    back: the same images would be learned by heart again. Hiding is no reason to stop either: the images are as good.

    Args:
        health: of the tick.
        settings: with the policy.
        roll_backs: how often this training was rolled back so far.
    """
    if health.state not in FAILURE_MODES:
        # rates that earlier roll-backs lowered stay low: at the old ones the training fell sick
        return Action("continue", "", settings.roll_back_lr**roll_backs, roll_backs)
    message = f"{state_title(health.state)} at {health.kimg:.1f} thousand images: {health.reason}"
    if settings.policy == "roll-back" and health.state not in _NOT_ROLLED_BACK and roll_backs < settings.roll_backs:
        # another stream too: with the same numbers the same steps would follow
        factor = settings.roll_back_lr ** (roll_backs + 1)
        return Action("roll-back", f"{message}; going back, learning rates x {factor:g}", factor, roll_backs + 1)
    step: Step = "stop"
    if health.state in REMARKS or (health.state in _NOT_ROLLED_BACK and settings.policy == "roll-back"):
        step = "warn"
    elif settings.policy == "roll-back":
        message = f"{message}; it was rolled back {roll_backs} times already"
    elif settings.policy == "warn" and health.state != "diverged":
        step = "warn"
    return Action(step, message, settings.roll_back_lr**roll_backs, roll_backs)


class Diagnosis:
    """Names the state from the readings of one tick after the other; remembers what it needs as plain JSON.

    Args:
        settings: the thresholds.
        guided: whether the generator also follows a loss beside the game, e.g. the distance to a target. Then a
            discriminator that is always right is only noted, as the other loss still leads somewhere.
    """

    def __init__(self, settings: HealthSettings, *, guided: bool = False) -> None:
        self.settings, self._guided = settings, guided
        self._lasted: dict[str, int] = dict.fromkeys(_SIGNS, 0)  # ticks in a row with this sign
        self._since: dict[str, float | None] = {"one": None, "half": None}  # kimg from which D's accuracy was there
        self._best: float | None = None  # lowest distance so far
        self._idle = 0  # ticks since the distance last got better
        self._was_healthy = False
        self._named: str | None = None  # the failure mode of the last tick

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain JSON."""
        return {
            "lasted": dict(self._lasted),
            "since": dict(self._since),
            "best": self._best,
            "idle": self._idle,
            "was_healthy": self._was_healthy,
            "named": self._named,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        # an earlier version knew fewer signs
        self._lasted |= {present_state(sign): ticks for sign, ticks in state["lasted"].items()}
        self._since = dict(state["since"])
        self._best, self._idle = state["best"], state["idle"]
        self._was_healthy = state["was_healthy"]
        self._named = None if state["named"] is None else present_state(state["named"])

    @property
    def clear(self) -> bool:
        """Whether the last health check had no sign of a failure mode."""
        return not any(self._lasted.values())

    def name(self, readings: Mapping[str, float], *, step: int, kimg: float) -> Health:
        """Return the state at a tick.

        Args:
            readings: distance, diversity, coverage, bins_filled, near_duplicates; d_accuracy, d_memory, fixed_change,
                copied and information where they are known; of translators those of
                `forge.training.monitor.translation`.
            step: steps played.
            kimg: thousands of real images shown.

        Returns:
            The state; its readings also say how long the accuracy has been at one and at one half.
        """
        durations = self._durations(readings["d_accuracy"], kimg) if "d_accuracy" in readings else {}
        readings = {**readings, **durations}
        self._follow(readings["distance"])
        signs = self._signs(readings)
        # untrained networks show several of the signs, which count only after the warm-up
        warming = step <= self.settings.warming_steps
        for sign in _SIGNS:
            # a gap of one tick starts the count anew: a sign has to last
            self._lasted[sign] = self._lasted[sign] + 1 if sign in signs and not warming else 0
        state, reason = self._state(signs, readings, warming=warming)
        self._was_healthy |= state == "healthy"  # stays true, so that later suspicions do not lead back to "warming"
        return Health(kimg, state, reason, readings)

    def _state(self, signs: Mapping[State, str], readings: Mapping[str, float], *, warming: bool) -> tuple[State, str]:
        lasting = [sign for sign in _SIGNS if self._lasts(sign)]
        self._named = lasting[0] if lasting else None  # keeps its name as long as its sign lasts, see `_lasts`
        if lasting:
            return lasting[0], "; ".join(signs[sign] for sign in lasting)
        comparison = (
            f"the forgeries lie {readings['distance']:.1f} times as far from real images as other real images do, with "
            f"{_percent(readings['diversity'])} of their diversity"
        )
        if self._guided and self._dominates(readings.get("d_accuracy", 0.0)):
            comparison += "; the discriminator is nearly always right, which is harmless beside another loss"
        if warming:
            return "warming", f"the first {self.settings.warming_steps} steps are not judged: {comparison}"
        suspected = "; ".join(f"{signs[s]} (for {self._lasted[s]} ticks)" for s in signs)
        if self._was_healthy or not (suspected or self._poor(readings)):
            return "healthy", suspected or comparison
        return "warming", suspected or f"too early to say: {comparison}"

    def _lasts(self, sign: State) -> bool:
        """Return whether a symptom has lasted long enough to be reported; twice as long where there is progress.

        Memory needs no lack of progress, and a failure mode that was named keeps its name while its sign is there.
        """
        ticks, patience = self._lasted[sign], self.settings.patience
        if sign == self._named and ticks:
            return True
        return ticks >= patience * 2 or (ticks >= patience and (sign == "overfit" or self._idle >= patience))

    def _durations(self, accuracy: float, kimg: float) -> dict[str, float]:
        there = {"one": self._dominates(accuracy), "half": self._at_chance(accuracy)}
        for where, holds in there.items():
            # kimg of the first tick at which it held, without a break since
            before = self._since[where]
            self._since[where] = (kimg if before is None else before) if holds else None
        return {f"kimg_at_{where}": 0.0 if since is None else kimg - since for where, since in self._since.items()}

    def _follow(self, distance: float) -> None:
        # only a clear step counts as progress: noise of the distance would else reset the count for ever
        if self._best is None or distance < self._best * (1 - self.settings.improvement):
            self._best, self._idle = distance, 0
        else:
            self._idle += 1

    def _dominates(self, accuracy: float) -> bool:
        return accuracy >= self.settings.won_accuracy

    def _at_chance(self, accuracy: float) -> bool:
        return accuracy <= 0.5 + self.settings.coin_margin

    def _poor(self, readings: Mapping[str, float]) -> bool:
        return readings["distance"] > self.settings.poor_distance

    def _signs(self, readings: Mapping[str, float]) -> dict[State, str]:
        """Return the signs of failure modes at this tick, each in words."""
        limits, accuracy, signs = self.settings, readings.get("d_accuracy"), dict[State, str]()
        if readings.get("d_memory", 0.5) >= limits.memory:
            signs["overfit"] = (
                f"the discriminator ranks training images above held-out ones in {_percent(readings['d_memory'])} of "
                "cases: it knows them by heart"
            )
        poor, alike = self._poor(readings), self._alike(readings)
        stands_still = readings.get("fixed_change", 1.0) < limits.still  # unknown counts as moving
        so = (
            f"while the forgeries are poor (distance {readings['distance']:.1f} x, coverage "
            f"{_percent(readings['coverage'])} of real images"
        ) + (f") and got no better for {self._idle} ticks" if self._idle else ")")
        if accuracy is not None and poor and self._dominates(accuracy) and not self._guided:
            signs["d_dominates"] = f"the discriminator is right in {_percent(accuracy)} of cases, {so}"
        if accuracy is not None and poor and self._at_chance(accuracy) and (stands_still or not alike):
            # collapsed forgeries that still move are called collapsed, not at chance as well
            signs["d_at_chance"] = f"the discriminator is right in only {_percent(accuracy)} of cases, {so}"
        if accuracy is None:
            signs |= _unlearned(readings)
        reasons = [_silent(readings), f"the forgeries are too much alike: {alike}" if alike else ""]
        if any(reasons):
            signs["collapsed"] = "; ".join(filter(None, reasons))
        if isinstance(limits, TranslationThresholds):
            signs |= translation_signs(readings, limits)
        return signs

    def _alike(self, readings: Mapping[str, float]) -> str:
        limits, twins = self.settings, readings["near_duplicates"]
        parts = []
        if readings["diversity"] < limits.low_diversity:
            parts.append(f"two of them differ {_percent(readings['diversity'])} as much as real images do")
        if twins > limits.duplicates:
            parts.append(f"{_percent(twins)} are near-duplicates of each other")
        # empty bins alone may mean different faces; together with twins they mean few
        if readings["bins_filled"] < limits.few_bins and twins > limits.some_duplicates:
            parts.append(f"they fill {_percent(readings['bins_filled'])} of the bins that real images fill")
        return ", ".join(parts)


def _unlearned(readings: Mapping[str, float]) -> dict[State, str]:
    """Return the signs of a training without a discriminator that has learned nothing, or nothing but copies."""
    signs = dict[State, str]()
    if readings.get("copied", 0.0) >= _COPIED:
        signs["overfit"] = (
            f"{_percent(readings['copied'])} of the forgeries are copies of training images: at most half as far from "
            "one as unseen real images are"
        )
    contrast, smoothness = readings.get("contrast", 1.0), readings.get("smoothness", 1.0)
    if contrast < _BLANK:
        signs["blank"] = f"the forgeries are of one even colour: {_percent(contrast)} of the contrast of real images"
    elif smoothness < _NOISE:
        signs["noise"] = (
            f"the forgeries are noise: neighbouring pixels are {_percent(max(0.0, smoothness))} as alike as in real "
            "images"
        )
    return signs


def _silent(readings: Mapping[str, float]) -> str:
    """Describe a posterior collapse (Bowman et al. 2016); empty where there are no codes, or they say something."""
    information = readings.get("information", math.inf)
    if information >= _SILENT:
        return ""
    return f"posterior collapse: the codes of images hold {information:.2g} nats, and the decoder does without them"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def not_finite(readings: Mapping[str, float], limit: float) -> str:
    """Describe the divergence that the numbers show; empty if they show none.

    Args:
        readings: by name.
        limit: largest size of a loss (a name ending in "loss").
    """
    # sorted, so that of several the same one is named
    for name, value in sorted(readings.items()):
        if not math.isfinite(value):
            return f"{_WORDS.get(name, name)} is {value}"
        if abs(value) > limit and name.endswith("loss"):
            return f"{_WORDS.get(name, name)} is {value:.3g}, beyond {limit:g}"
    return ""
