"""Logistic regression on the logarithm of the discrete cosine transform."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from detect.detectors.base import Detector, DetectorSettings, FitContext, FitData, FitSummary, Scores
from detect.views import View
from forge.compute import Compute
from forge.errors import BenchError, InputError
from forge.faces.faceset import Images
from forge.progress import Report, Tick

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BLOCK = 256  # images transformed at a time
FLAT = 1e-6  # a feature whose standard deviation is below this says nothing and is only centred
Floats = NDArray[np.float64]


class LogDctSettings(DetectorSettings):
    """Settings of the log-DCT detector."""

    l2: float = Field(0.01, ge=0, description="weight of the squared norm of the coefficients beside the mean log loss")
    max_iterations: int = Field(200, ge=1, description="most iterations of L-BFGS")
    tolerance: float = Field(1e-4, gt=0, description="largest absolute gradient at which it stops")
    cache_mb: int = Field(
        1024, ge=0, description="largest memory for features in MB; more of them are computed again in each iteration"
    )


class LogDct(Detector):
    """Log-DCT coefficients, z-scored by the training images, into logistic regression with an L2 penalty."""

    family = "dct"
    citation = "Frank et al., Leveraging Frequency Analysis for Deep Fake Image Recognition, ICML 2020"
    variant = "at the set's own resolution (the paper: 128 px); both classes weigh the same whatever their sizes"
    Settings: ClassVar[type[DetectorSettings]] = LogDctSettings

    def __init__(self, settings: DetectorSettings, resolution: int) -> None:
        super().__init__(settings, resolution)
        if not isinstance(settings, LogDctSettings):
            raise TypeError(f"LogDct needs LogDctSettings, not {type(settings).__name__}")
        self.own = settings
        self.mean = self.std = self.coefficients = np.empty(0)
        self.intercept = 0.0

    def fit(self, data: FitData, context: FitContext) -> FitSummary:
        """Fit the regression on `train`; `val` is scored once, for the record.

        Raises:
            BenchError: the loss is no longer finite.
        """
        from scipy.optimize import minimize
        from sklearn.metrics import roc_auc_score

        device = context.compute.torch_device
        design = _Design(data.train_real, data.train_forged, device, self.own.cache_mb << 20)
        report = _Reporter(context.report, self.own.max_iterations)
        found = minimize(
            lambda at: design.loss(at, self.own.l2),
            np.zeros(design.width + 1),
            jac=True,
            method="L-BFGS-B",
            callback=report,
            options={"maxiter": self.own.max_iterations, "gtol": self.own.tolerance, "ftol": 0.0},
        )
        if not np.isfinite(found.fun):
            raise BenchError(f"fitting dct diverged: the loss is {found.fun}; raise l2 (now {self.own.l2:g})")
        self.mean, self.std = design.mean, design.std
        self.coefficients, self.intercept = found.x[:-1], float(found.x[-1])
        scores = [
            np.concatenate([self.score(images, context.compute) for images in view.batches(BLOCK)])
            for view in (data.val_real, data.val_forged)
        ]
        labels = np.repeat([0, 1], [len(part) for part in scores])
        auc = float(roc_auc_score(labels, np.concatenate(scores)))
        facts = {
            "precision": "fp32",
            "device": context.compute.describe(),
            "iterations": int(found.nit),
            "converged": bool(np.abs(found.jac).max() <= self.own.tolerance),
            "features_cached": design.cached,
            "best_val_auc": auc,
        }
        return FitSummary([{"iterations": int(found.nit), "train_loss": float(found.fun), "val_auc": auc}], facts)

    def score(self, images: Images, compute: Compute) -> Scores:
        """Log odds, float64 [n]."""
        import torch

        from detect.features.dct import log_dct

        if not len(self.coefficients):
            raise InputError("dct has not been fitted or loaded")
        parts = [np.empty(0)]
        for start in range(0, len(images), BLOCK):
            pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + BLOCK])).to(compute.torch_device)
            z = (log_dct(pixels).cpu().double().numpy() - self.mean) / self.std
            # row by row and not as a matrix product, whose rounding would depend on the number of rows
            parts.append((z * self.coefficients).sum(axis=1) + self.intercept)
        return np.concatenate(parts)

    def save(self, directory: Path) -> None:
        """Write weights.safetensors: coefficients, intercept, mean and standard deviation of the features."""
        from safetensors.numpy import save_file

        tensors = {"coefficients": self.coefficients, "mean": self.mean, "std": self.std}
        save_file(tensors | {"intercept": np.array([self.intercept])}, directory / "weights.safetensors")

    @classmethod
    def load(cls, directory: Path, settings: DetectorSettings, resolution: int) -> Self:
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        detector = cls(settings, resolution)
        tensors = load_file(directory / "weights.safetensors")
        detector.mean, detector.std = tensors["mean"], tensors["std"]
        detector.coefficients, detector.intercept = tensors["coefficients"], float(tensors["intercept"][0])
        return detector

    @property
    def parameters(self) -> int:
        """Coefficients and intercept."""
        return len(self.coefficients) + 1


class _Design:
    """The z-scored features of both classes, block by block: kept as float32 where they fit, else computed again."""

    def __init__(self, real: View, forged: View, device: torch.device, cache_bytes: int) -> None:
        side = real.read(slice(0, 1)).shape[1]
        self.width = 3 * side * side
        self.views, self.device = (real, forged), device
        self.cached = (len(real) + len(forged)) * self.width * 4 <= cache_bytes
        raw = list(self._raw()) if self.cached else None
        self.mean, self.std = self._moments(raw if raw is not None else self._raw())
        # in place, so that raw and z-scored features are never both in memory
        self._kept = [(label, self._scaled(features)) for label, features in raw] if raw is not None else None

    def _raw(self) -> Iterator[tuple[int, Tensor]]:
        import torch

        from detect.features.dct import log_dct

        for label, view in enumerate(self.views):
            for images in view.batches(BLOCK):
                yield label, log_dct(torch.from_numpy(images).to(self.device))

    def _moments(self, blocks: Iterable[tuple[int, Tensor]]) -> tuple[Floats, Floats]:
        import torch

        total, squares = torch.zeros(2, self.width, dtype=torch.float64, device=self.device)
        for _, features in blocks:
            exact = features.double()  # a constant feature of -27 would show a spread of 0.01 in float32
            total += exact.sum(0)
            squares += exact.square_().sum(0)
        count = sum(map(len, self.views))
        mean = total / count
        std = (squares / count - mean.square()).clamp_min(0).sqrt()
        std[std < FLAT] = 1.0
        return mean.cpu().numpy(), std.cpu().numpy()

    def _scaled(self, features: Tensor) -> Tensor:
        import torch

        mean = torch.from_numpy(self.mean).float().to(self.device)
        return features.sub_(mean).div_(torch.from_numpy(self.std).float().to(self.device))

    def _blocks(self) -> Iterable[tuple[int, Tensor]]:
        if self._kept is not None:
            return self._kept
        return ((label, self._scaled(features)) for label, features in self._raw())

    def loss(self, at: Floats, l2: float) -> tuple[float, Floats]:
        """Loss and gradient: the mean of the classes' mean log losses, plus l2 |w|^2.

        Args:
            at: coefficients and, last, the intercept; float64 [width + 1].
            l2: weight of the penalty.
        """
        import torch
        from torch.nn.functional import softplus

        w = torch.from_numpy(at[:-1]).float().to(self.device)
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        gradient = torch.zeros(self.width + 1, dtype=torch.float64, device=self.device)
        for label, z in self._blocks():
            sign, weight = 1 - 2 * label, 0.5 / len(self.views[label])
            logit = sign * ((z @ w).double() + at[-1])
            loss += weight * softplus(logit).sum()
            slope = sign * weight * torch.sigmoid(logit)
            gradient[:-1] += z.T @ slope.float()
            gradient[-1] += slope.sum()
        whole = gradient.cpu().numpy()
        whole[:-1] += 2 * l2 * at[:-1]
        return float(loss) + l2 * float(at[:-1] @ at[:-1]), whole


class _Reporter:
    """Tells the caller about each iteration of L-BFGS."""

    def __init__(self, report: Report, total: int) -> None:
        self.report, self.total, self.done = report, total, 0

    def __call__(self, intermediate_result: object) -> None:
        self.done += 1
        loss = float(getattr(intermediate_result, "fun", float("nan")))
        self.report(Tick(self.done, self.total, "iterations", {"loss": loss}))
