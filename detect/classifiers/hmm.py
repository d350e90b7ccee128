"""One Gaussian hidden Markov model a class: fitted by hmmlearn, stored and scored as plain arrays."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from detect.classifiers.base import Classifier, ClassifierFit, Tensors
from detect.features.matrix import FeatureMatrix, Floats
from forge.core.compute import derive_seed
from forge.core.errors import BenchError
from forge.core.progress import OnProgress, ProgressEvent

BLOCK = 256  # sequences scored at a time
# features are log powers: a part whose images all agree would otherwise have an infinite density
LEAST_VARIANCE = 1e-3  # of a state before the first iteration


class HmmClassifier(Classifier):
    """Log likelihood under the model of forged minus that under the model of real images, an observation.

    Features of an image are its observations one after the other. Each model goes through its states from the first
    to the last without a way back (Nefian and Hayes 1998); each state is a normal density with diagonal covariance.

    Args:
        dimensions: length of one observation.
        states: of each model.
        sequences: most training images per class, a random choice by the seed.
        iterations: most iterations of Baum-Welch.
        tolerance: least gain of the log likelihood an observation for which it goes on.
    """

    def __init__(self, *, dimensions: int, states: int, sequences: int, iterations: int, tolerance: float) -> None:
        self.dimensions, self.states = dimensions, states
        self.sequences, self.iterations, self.tolerance = sequences, iterations, tolerance
        self.transitions: Floats = np.empty((2, states, states))
        self.means = self.variances = np.empty((2, states, dimensions))

    def fit(self, matrix: FeatureMatrix, *, seed: int, on_progress: OnProgress) -> ClassifierFit:
        """Fit both models, each starting with its sequences cut into `states` equal parts.

        Raises:
            BenchError: a state was left without observations.
        """
        length = matrix.width // self.dimensions  # observations an image, at least as many as states
        self.means, self.variances = np.empty((2, 2, self.states, self.dimensions))  # [class, state, dimension]
        facts: dict[str, Any] = {}
        log_likelihoods = []
        for label, name in enumerate(("real", "forged")):
            count = matrix.counts[label]
            order = np.random.default_rng(derive_seed(seed, "sequences", name)).permutation(count)
            # in rising order, as `gather` wants them
            chosen = np.sort(order[: self.sequences])
            # [images x strips, dimensions]: sequences one after the other, as hmmlearn takes them
            observations = matrix.gather(label, chosen).reshape(-1, self.dimensions)
            # iterations of the models before this one, for a single count of progress
            done = label * self.iterations

            def on_iteration(iteration: int, value: float, done: int = done) -> None:
                on_progress(
                    ProgressEvent(done + iteration, 2 * self.iterations, "iterations", {"log_likelihood": value})
                )

            model = self._learn(observations, length, on_iteration)
            self.transitions[label], self.means[label] = model.transmat_, model.means_
            # hmmlearn gives full matrices [states, D, D] of a diagonal model
            self.variances[label] = np.diagonal(model.covars_, axis1=1, axis2=2)
            facts |= {f"sequences_{name}": len(chosen), f"iterations_{name}": model.monitor_.iter}
            log_likelihoods.append(model.monitor_.history[-1] / len(observations))
        # a state that no strip visits has weight 0 and means of 0 / 0
        if not all(np.isfinite(array).all() for array in self.tensors().values()):
            raise BenchError(
                f"a state of the hidden Markov model was left without strips; lower states ({self.states})"
            )
        iterations = max(facts["iterations_real"], facts["iterations_forged"])
        return ClassifierFit(facts, {"iterations": iterations, "log_likelihood": float(np.mean(log_likelihoods))})

    def score(self, rows: Floats) -> Floats:
        """Return the difference of the log likelihoods divided by the number of observations."""
        sequences = rows.reshape(len(rows), -1, self.dimensions)
        parts = [np.empty(0)]
        for start in range(0, len(sequences), BLOCK):
            block = sequences[start : start + BLOCK]
            real, forged = (
                log_likelihood(block, self.transitions[label], self.means[label], self.variances[label])
                for label in (0, 1)
            )
            # per observation, so that images of different sizes have scores of one scale
            parts.append((forged - real) / block.shape[1])
        return np.concatenate(parts)

    def tensors(self) -> Tensors:
        """`transitions` [2, S, S], `means` and `variances` [2, S, dimensions], real first."""
        return {"transitions": self.transitions, "means": self.means, "variances": self.variances}

    def restore(self, tensors: Tensors) -> None:
        """Take what `tensors` returned."""
        self.transitions, self.means = tensors["transitions"], tensors["means"]
        self.variances = tensors["variances"]

    def _learn(self, observations: Floats, length: int, on_iteration: Callable[[int, float], None]) -> Any:  # noqa: ANN401 - hmmlearn is untyped
        from hmmlearn.base import ConvergenceMonitor  # takes a second to import
        from hmmlearn.hmm import GaussianHMM

        class Monitor(ConvergenceMonitor):  # type: ignore[misc]
            def report(self, log_prob: float) -> None:
                super().report(log_prob)
                on_iteration(self.iter, log_prob / len(observations))

        # hmmlearn compares total log likelihoods; the setting is per observation
        gain = self.tolerance * len(observations)
        # params "tmc": transitions, means and covariances are learned, the start is not; init_params "": nothing is
        # drawn
        model = GaussianHMM(self.states, "diag", params="tmc", init_params="", n_iter=self.iterations, tol=gain)
        model.monitor_ = Monitor(gain, self.iterations, False)
        # every image has the same number of strips, so its equal parts are the same strips in each
        state = np.tile(np.arange(length) * self.states // length, len(observations) // length)
        parts = [observations[state == number] for number in range(self.states)]
        model.n_features = self.dimensions
        # every sequence starts in the first state
        model.startprob_ = np.eye(self.states)[0]
        model.transmat_ = forward_transitions(self.states, length)
        model.means_ = np.array([part.mean(axis=0) for part in parts])
        model.covars_ = np.array([part.var(axis=0) + LEAST_VARIANCE for part in parts])
        with _quiet():
            model.fit(observations, np.full(len(observations) // length, length))
        return model


def forward_transitions(states: int, length: int) -> Floats:
    """Return probabilities of staying in a state and of going on to the next, so that each lasts its share of `length`.

    Returns:
        float64 [states, states]; what is zero stays zero in Baum-Welch.
    """
    # a state that is left with probability p lasts 1 / p strips on average: p = states / length shares the image evenly
    stay = max(0.5, 1 - states / length)
    matrix = stay * np.eye(states) + (1 - stay) * np.eye(states, k=1)
    # the last state has nowhere to go
    matrix[-1, -1] = 1.0
    return matrix


def log_likelihood(sequences: Floats, transitions: Floats, means: Floats, variances: Floats) -> Floats:
    """Run the forward algorithm in logarithms, all sequences at once; the first state is where each begins.

    Args:
        sequences: float64 [n, T, D].
        transitions: probabilities [S, S].
        means: of the states' normal densities, [S, D].
        variances: likewise, [S, D].

    Returns:
        Natural logarithm of each sequence's density, float64 [n].
    """
    # log det of the diagonal covariance and the constant of the normal density, [S]
    offsets = np.log(2 * np.pi * variances).sum(axis=1)
    emissions = np.stack(  # [n, T, S]
        [
            -0.5 * (((sequences - mean) ** 2 / variance).sum(axis=2) + offset)
            for mean, variance, offset in zip(means, variances, offsets, strict=True)
        ],
        axis=2,
    )
    with np.errstate(divide="ignore"):
        steps = np.log(transitions)  # -inf where there is no way
    # no weight on other states: the first strip is of the first state
    states = np.full((len(sequences), len(means)), -np.inf)
    states[:, 0] = emissions[:, 0, 0]
    for time in range(1, sequences.shape[1]):
        # alpha_t(j) = log sum_i exp(alpha_{t-1}(i) + a_ij) + b_j(x_t); [n, S, 1] + [S, S], reduced over i
        states = np.logaddexp.reduce(states[:, :, None] + steps, axis=1) + emissions[:, time]
    # a sequence may end in any state
    totals: Floats = np.logaddexp.reduce(states, axis=1)
    return totals


@contextmanager
def _quiet() -> Iterator[None]:
    """Without hmmlearn's warning that the likelihood fell by a rounding error or by its prior of the variances."""
    logger = logging.getLogger("hmmlearn")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
