"""The monitor of a training: checks the start, measures discriminator and forgeries at every check."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from forge.core.compute import derive_seed
from forge.core.errors import InputError
from forge.faces.tensors import to_float, to_uint8
from forge.training.monitor.health import Diagnosis, Health, not_finite
from forge.training.monitor.metrics import SAMPLES, RealReference, diversity, rank, shrink, smoothness
from forge.training.monitor.thresholds import HealthSettings

_FIXED, _FIXED_PIXELS = 64, 8  # what is remembered of the fixed samples until the next tick: 12 kB
_JUDGED = 128  # images of each kind shown to the discriminator, which is the dearest part of a tick
FEWEST = 16  # images of a kind below which shares of them say nothing
_LARGEST_VALUE = 50.0  # of untrained output that is meant to be -1..1; style-based generators start at 10 and more
_VISIBLE = 2 / 255  # one grey level, in units of -1..1


@dataclass(frozen=True)
class Observed:
    """Inputs of a health check.

    Attributes:
        step: steps played.
        kimg: thousands of real images shown.
        readings: of the loop; d_loss, g_loss, r1, d_grad_norm ... are kept as they are. d_accuracy should be the mean
            over the steps since the last tick, as single steps swing; without it the signs of this tick are used.
        fixed: forged images [N, 3, H, W] in -1..1, of the same latents at every tick.
        fresh: forged images [N, 3, H, W] in -1..1, of new latents, by the weights that will be published;
            as many as are watched.
        discriminator: images [N, 3, H, W] to logits [N], above 0 for real; must not change the training (`aside`). None
            where there is none; then nothing is said of it.
    """

    step: int
    kimg: float
    readings: Mapping[str, float]
    fixed: Tensor
    fresh: Tensor
    discriminator: Callable[[Tensor], Tensor] | None = None


def aside(
    network: nn.Module, autocast: Callable[[], AbstractContextManager[object]] = nullcontext
) -> Callable[[Tensor], Tensor]:
    """Return a function that computes a network's logits and leaves the network as it is.

    It computes no gradients and works on a copy of the buffers (batch-norm statistics).

    The network stays in the mode it is in: in training mode it uses the statistics of the batch, as in a training step.

    Args:
        network: the discriminator.
        autocast: makes the context it computes in, for the precision of the training.
    """

    @torch.no_grad()
    def discriminate(images: Tensor) -> Tensor:
        # functional_call writes batch-norm statistics into these copies, not into the network
        buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
        with autocast():
            output: Tensor = functional_call(network, buffers, (images,))
        return output.float()

    return discriminate


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Euclidean norm of the gradients that are there, all taken as one vector; a scalar."""
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


class HealthMonitor:
    """Watches one training.

    Args:
        settings: the thresholds.
        train_images: uint8 [N, H, W, 3]; at most 1,280 of them, chosen by the seed, are looked at.
        held_out: real images that are not trained on, uint8 [M, H, W, 3]; with none, or fewer than 16, overfitting
            is not seen.
        seed: of all choices.
        device: where forged images come from.
        watched: forged images of a look.
        guided: see `TrainingMethod.guided`.

    Raises:
        InputError: fewer than 16 training images.
    """

    def __init__(
        self,
        settings: HealthSettings,
        train_images: NDArray[np.uint8],
        held_out: NDArray[np.uint8] | None,
        *,
        seed: int,
        device: torch.device,
        watched: int = SAMPLES,
        guided: bool = False,
    ) -> None:
        if len(train_images) < FEWEST:
            raise InputError(f"{len(train_images)} training images are too few to watch a training; use {FEWEST}")
        self.settings, self._device = settings, device
        self._diagnosis = Diagnosis(settings, guided=guided)
        self._reals = {"train": _choose(train_images, seed)}
        # of fewer, shares and ranks are noise
        others = held_out if held_out is not None and len(held_out) >= FEWEST else None
        if others is not None:
            self._reals["held_out"] = _choose(others, seed)
        self._reference = RealReference(train_images, others, seed=seed, device=device, samples=watched)
        reals = to_float(self._reals["train"])
        self._smoothness, self._contrast = smoothness(reals), _contrast(reals)
        self._fixed: Tensor | None = None  # small copies of the fixed samples at the last tick

    def start_check(self, untrained: Tensor, *, tellable: bool = True) -> None:
        """Before the first step: the images are photos, the generator's are of their kind, and the two can be told.

        Args:
            untrained: 256 images [N, 3, H, W] of the untrained generator, about -1..1.
            tellable: whether the two must differ.

        Raises:
            InputError: training images without content, or all the same; forged images of another shape, not finite,
                far outside -1..1, or such that a small classifier cannot tell them from the training images.
        """
        train = self._reals["train"]
        reals = to_float(train).to(self._device)
        if untrained.shape[1:] != reals.shape[1:]:
            raise InputError(
                f"the generator makes images of shape {list(untrained.shape[1:])}, training images have "
                f"{list(reals.shape[1:])}; its forward must return [N, 3, height, width] at the set's resolution"
            )
        # the median over images: single even ones, such as a black frame, are no reason to refuse a set
        if float(reals.std(dim=(1, 2, 3)).median()) < _VISIBLE:
            raise InputError(
                f"most training images show one even colour (levels {int(train.min())} to {int(train.max())} of 0 to "
                "255); that is what pictures stored as 0 to 1 look like: prepare the set again"
            )
        if diversity(reals.flatten(1)) < _VISIBLE:
            raise InputError("all training images are the same picture; prepare a set of different faces")
        if not bool(torch.isfinite(untrained).all()):
            raise InputError("the untrained generator returns values that are no numbers; look at its forward")
        # the median over images: with few channels, single ones of a style-based generator reach far
        largest = float(untrained.float().abs().amax(dim=(1, 2, 3)).median())
        if largest > _LARGEST_VALUE:
            raise InputError(
                f"most images of the untrained generator have values of {largest:.3g} and more, real images are -1 to "
                "1; end its forward with tanh, or scale its output"
            )
        # an untrained generator makes no photos: where even a linear classifier on random features cannot tell its
        # output from the training images, these are no photos either
        right = self._reference.tell_apart(untrained.float(), reals) if tellable else 1.0
        if right < self.settings.start_accuracy:
            raise InputError(
                f"a small classifier tells the untrained generator's images from the training images in {right:.0%} of "
                f"cases, expected {self.settings.start_accuracy:.0%} or more; are the training images photos?"
            )

    @torch.no_grad()
    def observe(self, observed: Observed) -> Health:
        """Look at the training: one tick, which is remembered.

        Returns:
            The state, and these readings beside the loop's own. Of the discriminator: `d_sign_train`,
            `d_sign_held_out`, `d_sign_forged` (share of training, held-out and fresh forged images judged real),
            `d_sign_gap` (training less held-out), `d_memory` (the chance that a training image gets a higher logit than
            a held-out one: 1/2 none is remembered, 1 all are), `d_logit` (largest size of a logit), `kimg_at_one` and
            `kimg_at_half` (how long its accuracy has been there). Of the fresh forgeries: `diversity`, `distance`,
            `coverage`, `precision` and `bins_filled` as ratios to as many real images, `bins_different` and
            `near_duplicates` as shares (`Look` explains them); `smoothness` and
            `contrast`, how alike neighbouring pixels are and how far values spread within an image, as ratios to
            training images. Without a discriminator, and with held-out images: `copied`, the share that are copies of
            training images (`RealReference.copied`). `fixed_change`: how far the fixed samples moved since
            the last tick, in mean distances of two real images.
        """
        # readings of the loop take precedence: its d_accuracy is a mean over many steps
        readings = self._of_discriminator(observed) | {k: float(v) for k, v in observed.readings.items()}
        broken = not_finite(readings, self.settings.exploded)
        if not broken and not bool(torch.isfinite(observed.fresh).all()):
            broken = "forged images contain values that are no numbers"
        if broken:
            # observations are stored as JSON, which has no NaN
            finite = {name: value for name, value in readings.items() if math.isfinite(value)}
            return Health(observed.kimg, "diverged", broken, finite)
        readings |= self._of_forgeries(observed.fresh) | self._change(observed.fixed)
        copied = None if observed.discriminator else self._reference.copied(observed.fresh)
        if copied is not None:
            readings["copied"] = copied
        return self._diagnosis.name(readings, step=observed.step, kimg=observed.kimg)

    @property
    def clear(self) -> bool:
        """Whether the last health check had no sign of a failure mode: only such a state is worth returning to."""
        return self._diagnosis.clear

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint, as plain JSON (about 17 kB)."""
        # one byte a value, in base64, for the JSON of a checkpoint
        fixed = None if self._fixed is None else base64.b64encode(self._fixed.numpy().tobytes()).decode()
        return {"diagnosis": self._diagnosis.state_dict(), "fixed": fixed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; settings, images and seed must be the same."""
        self._diagnosis.load_state_dict(state["diagnosis"])
        self._fixed = None
        if state["fixed"] is not None:
            raw = np.frombuffer(base64.b64decode(state["fixed"]), np.uint8).copy()  # a copy, as frombuffer is read-only
            self._fixed = torch.from_numpy(raw).reshape(-1, _FIXED_PIXELS, _FIXED_PIXELS, 3)

    def _of_discriminator(self, observed: Observed) -> dict[str, float]:
        discriminate = observed.discriminator
        if discriminate is None:
            return {}
        logits = {
            name: discriminate(to_float(images[:_JUDGED]).to(self._device)) for name, images in self._reals.items()
        }
        logits["forged"] = discriminate(observed.fresh[:_JUDGED].float())
        readings = {f"d_sign_{name}": float((some > 0).double().mean()) for name, some in logits.items()}
        # the mean of both kinds' shares, so that it does not depend on how many of each were shown
        readings["d_logit"] = max(float(some.abs().max()) for some in logits.values())
        # 1/2: no better than chance
        readings["d_accuracy"] = (readings["d_sign_train"] + 1 - readings["d_sign_forged"]) / 2
        if "held_out" in logits:
            readings["d_sign_gap"] = readings["d_sign_train"] - readings["d_sign_held_out"]
            readings["d_memory"] = rank(logits["train"], logits["held_out"])
        return readings

    def _of_forgeries(self, fresh: Tensor) -> dict[str, float]:
        look, baseline = self._reference.look(fresh), self._reference.real_baseline
        return {
            "diversity": _ratio(look.diversity, baseline.diversity),
            "distance": _ratio(look.distance, baseline.distance),
            "coverage": _ratio(look.coverage, baseline.coverage),
            "precision": _ratio(look.precision, baseline.precision),
            "bins_filled": _ratio(look.bins_filled, baseline.bins_filled),
            "bins_different": look.bins_different,
            "near_duplicates": look.near_duplicates,
            "smoothness": _ratio(smoothness(fresh), self._smoothness),
            "contrast": _ratio(_contrast(fresh), self._contrast),
        }

    def _change(self, fixed: Tensor) -> dict[str, float]:
        # [64, 8, 8, 3] uint8
        before, self._fixed = self._fixed, to_uint8(shrink(fixed[:_FIXED].float(), _FIXED_PIXELS)).cpu()
        if before is None:
            return {}
        # root mean square over pixels, mean over samples
        moved = (to_float(self._fixed) - to_float(before)).square().mean(dim=(1, 2, 3)).sqrt().mean()
        return {"fixed_change": float(moved) / self._reference.real_baseline.diversity}


def _contrast(images: Tensor) -> float:
    """Return the median over images [N, C, H, W] of the standard deviation of their values."""
    return float(images.float().std(dim=(1, 2, 3)).median())


def _ratio(value: float, baseline: float) -> float:
    return value / max(baseline, 1e-3)  # a few real images may cover none of a few others


def _choose(images: NDArray[np.uint8], seed: int) -> Tensor:
    # a fixed choice for the whole training: ticks differ by the networks, not by the images
    source = np.random.default_rng(derive_seed(seed, "watched"))
    return torch.from_numpy(images[source.permutation(len(images))[:SAMPLES]])
