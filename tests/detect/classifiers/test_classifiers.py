"""Heads against independent solvers and closed forms, and the features they learn from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hmmlearn.hmm import GaussianHMM
from scipy.optimize import check_grad
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import SVC, LinearSVC

from detect.classifiers.bayes import NaiveBayesClassifier, TableClassifier
from detect.classifiers.hmm import HmmClassifier, forward_transitions, log_likelihood
from detect.classifiers.kernel import KernelClassifier
from detect.classifiers.linear import LinearClassifier, objective
from detect.features.matrix import FeatureMatrix
from forge.core.errors import InputError
from forge.core.progress import silent


class Numbered:
    """A view whose images are their own numbers, so that features can be any table."""

    def __init__(self, start, count):
        self.numbers = np.arange(start, start + count)

    def __len__(self):
        return len(self.numbers)

    @property
    def rows(self):
        return pd.DataFrame({"id": [f"image-{number}" for number in self.numbers]})

    def read(self, positions=slice(None)):
        chosen = self.numbers[positions]
        return np.stack([chosen >> 8, chosen & 255, 0 * chosen], axis=-1)[:, None, None].astype(np.uint8)

    def batches(self, size):
        for start in range(0, len(self), size):
            yield self.read(slice(start, start + size))


def design_of(real, forged, *, cache_bytes=1 << 30, scaling="z-score"):
    table = torch.from_numpy(np.concatenate([real, forged]))

    def features(pixels):
        return table[(pixels.flatten(1).long() * torch.tensor([256, 1, 0])).sum(1)]

    views = Numbered(0, len(real)), Numbered(len(real), len(forged))
    return FeatureMatrix(*views, features, device=torch.device("cpu"), cache_bytes=cache_bytes, scaling=scaling)


def two_classes(real=300, forged=200, width=6, seed=0):
    """Overlapping classes of unequal sizes and spreads, features of unequal scale."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(width, width))
    first = rng.normal(size=(real, width)) @ mixing + 3
    second = (1.5 * rng.normal(size=(forged, width)) + 0.6) @ mixing + 3
    return first, second


def fitted(classifier, matrix, seed=0):
    fit = classifier.fit(matrix, seed=seed, on_progress=silent)
    return classifier, fit


def labelled(matrix):
    return np.concatenate([matrix.gather(0), matrix.gather(1)]), np.repeat([0, 1], matrix.counts)


# the features


@pytest.mark.parametrize("cache_bytes", [1 << 30, 0])
def test_features_are_scaled_by_all_training_images(cache_bytes):
    real, forged = two_classes(real=600)
    matrix = design_of(real, forged, cache_bytes=cache_bytes)
    both = np.concatenate([real, forged])
    expected = (both - both.mean(axis=0)) / both.std(axis=0)
    assert matrix.cached == bool(cache_bytes) and matrix.counts == (600, 200)
    for _ in range(2):
        np.testing.assert_allclose(labelled(matrix)[0], expected, atol=1e-10)
    chosen = np.array([0, 3, 255, 256, 599])
    np.testing.assert_allclose(matrix.gather(0, chosen), expected[chosen], atol=1e-10)
    assert [(label, len(block)) for label, block in matrix.blocks()] == [(0, 256), (0, 256), (0, 88), (1, 200)]


def test_centred_and_plain_features():
    real, forged = two_classes()
    both = np.concatenate([real, forged])
    np.testing.assert_allclose(
        labelled(design_of(real, forged, scaling="centre"))[0], both - both.mean(axis=0), atol=1e-10
    )
    assert np.array_equal(labelled(design_of(real, forged, scaling="none"))[0], both)


def test_a_constant_feature_is_only_centred():
    real, forged = two_classes()
    real[:, 2] = forged[:, 2] = -27.6
    np.testing.assert_allclose(labelled(design_of(real, forged))[0][:, 2], 0, atol=1e-9)


@pytest.mark.parametrize(("value", "name"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_a_feature_that_is_no_number_is_named(value, name):
    real, forged = two_classes()
    forged[150, 4] = value
    with pytest.raises(InputError, match=f"feature 4 of image 'image-450' in train_forged is {name}, which is no num"):
        design_of(real, forged)


# linear


def test_logistic_is_at_scikit_learns_optimum():
    matrix = design_of(*two_classes())
    classifier, outcome = fitted(LinearClassifier("logistic", c=0.3, max_iterations=500, tolerance=1e-9), matrix)
    rows, labels = labelled(matrix)
    expected = LogisticRegression(C=0.3, class_weight="balanced", tol=1e-10, max_iter=5000).fit(rows, labels)
    assert outcome.facts["converged"] is True
    np.testing.assert_allclose(classifier.score(rows), expected.decision_function(rows), atol=1e-5)


def test_linear_machine_is_at_liblinears_optimum():
    matrix = design_of(*two_classes())
    classifier, _ = fitted(LinearClassifier("squared-hinge", c=0.3, max_iterations=500, tolerance=1e-9), matrix)
    rows, labels = labelled(matrix)
    # liblinear penalises the intercept as the coefficient of a feature of this size, so that 1000 is nearly none
    expected = LinearSVC(
        C=0.3, class_weight="balanced", dual=False, tol=1e-12, max_iter=100_000, intercept_scaling=1000
    )
    np.testing.assert_allclose(classifier.score(rows), expected.fit(rows, labels).decision_function(rows), atol=1e-4)


@pytest.mark.parametrize("loss", ["logistic", "squared-hinge"])
def test_the_gradient_is_that_of_the_objective(loss):
    matrix = design_of(*two_classes(40, 30))
    at = np.random.default_rng(1).normal(size=7)
    error = check_grad(lambda x: objective(matrix, loss, x, 0.1)[0], lambda x: objective(matrix, loss, x, 0.1)[1], at)
    assert error < 1e-5


# kernel


@pytest.mark.parametrize("gamma", [None, 0.3])
def test_kernel_scores_are_scikit_learns(gamma):
    matrix = design_of(*two_classes())
    classifier, outcome = fitted(KernelClassifier(c=2.0, gamma=gamma), matrix)
    rows, labels = labelled(matrix)
    expected = SVC(C=2.0, gamma=gamma or "scale", class_weight="balanced").fit(rows, labels)
    fresh = np.random.default_rng(5).normal(size=(50, 6))
    np.testing.assert_allclose(classifier.score(fresh), expected.decision_function(fresh), atol=1e-9)
    assert outcome.facts == {"support_vectors": int(expected.n_support_.sum()), "converged": True}


# naive Bayes


def test_naive_bayes_is_scikit_learns():
    real, forged = two_classes()
    forged[:, 1] = 2.0  # constant within a class
    matrix = design_of(real, forged)
    classifier, _ = fitted(NaiveBayesClassifier(smoothing=1e-3), matrix)
    rows, labels = labelled(matrix)
    expected = GaussianNB(priors=[0.5, 0.5], var_smoothing=1e-3).fit(rows, labels).predict_joint_log_proba(rows)
    np.testing.assert_allclose(classifier.score(rows), expected[:, 1] - expected[:, 0], rtol=1e-9, atol=1e-9)


# hidden Markov models


def random_model(states=4, dimensions=3, seed=0):
    rng = np.random.default_rng(seed)
    model = GaussianHMM(states, "diag", init_params="")
    model.n_features = dimensions
    model.startprob_ = np.eye(states)[0]
    model.transmat_ = forward_transitions(states, 7)
    model.means_ = rng.normal(size=(states, dimensions))
    model.covars_ = rng.uniform(0.1, 2, (states, dimensions))
    return model


@pytest.mark.parametrize("length", [1, 2, 9])
def test_the_forward_algorithm_is_hmmlearns(length):
    model = random_model()
    sequences = np.random.default_rng(1).normal(size=(20, length, 3)) * 4
    variances = np.diagonal(model.covars_, axis1=1, axis2=2)
    likelihood = log_likelihood(sequences, model.transmat_, model.means_, variances)
    np.testing.assert_allclose(likelihood, [model.score(sequence) for sequence in sequences], rtol=1e-10)


def test_models_of_known_chains_tell_them_apart():
    models = [random_model(seed=seed) for seed in (1, 2)]
    rng = np.random.RandomState(0)
    classes = [np.array([m.sample(8, random_state=rng)[0].ravel() for _ in range(120)]) for m in models]
    matrix = design_of(*(part[:60] for part in classes), scaling="none")
    classifier, outcome = fitted(
        HmmClassifier(dimensions=3, states=4, sequences=40, iterations=8, tolerance=1e-4), matrix
    )
    scores = np.concatenate([classifier.score(part[60:]) for part in classes])
    assert roc_auc_score(np.repeat([0, 1], 60), scores) > 0.95
    assert outcome.facts["sequences_real"] == 40
    np.testing.assert_allclose(classifier.transitions.sum(axis=2), 1)
    assert (classifier.transitions[:, ~(np.eye(4, dtype=bool) | np.eye(4, k=1, dtype=bool))] == 0).all()
    sure = [log_likelihood(classes[1][60:].reshape(60, 8, 3), *(part[label] for part in parts)) for label in (0, 1)
            for parts in [(classifier.transitions, classifier.means, classifier.variances)]]  # fmt: skip
    np.testing.assert_allclose(classifier.score(classes[1][60:]), (sure[1] - sure[0]) / 8)


def test_the_seed_chooses_the_sequences_and_nothing_else_is_random():
    matrix = design_of(*two_classes(width=12), scaling="none")
    options = {"dimensions": 3, "states": 2, "sequences": 50, "iterations": 3, "tolerance": 0.0}
    first, again, other = (fitted(HmmClassifier(**options), matrix, seed)[0].tensors() for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["means"], other["means"])


# table


def test_table_is_the_log_ratio_of_shares():
    real, forged = np.array([[0.0]] * 9 + [[75.0]]), np.array([[0.0]] * 1 + [[90.0]] * 4)
    classifier, _ = fitted(TableClassifier(values=99), design_of(real, forged, scaling="none"))
    expected = [np.log((0.2 + 0.2) / (0.9 + 0.2)), np.log(0.2 / 0.3), np.log(1.0 / 0.2), 0.0]
    np.testing.assert_allclose(classifier.score(np.array([[0.0], [75.0], [90.0], [50.0]])), expected)


# all of them

HEADS = {
    "logistic": lambda: LinearClassifier("logistic", l2=0.01, max_iterations=50, tolerance=1e-5),
    "linear machine": lambda: LinearClassifier("squared-hinge", c=1.0, max_iterations=50, tolerance=1e-5),
    "kernel machine": lambda: KernelClassifier(c=1.0, gamma=None),
    "naive Bayes": lambda: NaiveBayesClassifier(smoothing=1e-9),
    "hidden Markov": lambda: HmmClassifier(dimensions=2, states=2, sequences=100, iterations=3, tolerance=0.0),
}


@pytest.mark.parametrize("name", HEADS)
def test_arrays_hold_all_that_a_head_knows(name):
    matrix = design_of(*two_classes(60, 50))
    classifier, _ = fitted(HEADS[name](), matrix)
    other = HEADS[name]()
    other.restore(classifier.tensors())
    rows = np.random.default_rng(3).normal(size=(20, 6))
    assert np.array_equal(other.score(rows), classifier.score(rows))
    assert other.parameters == classifier.parameters == sum(array.size for array in classifier.tensors().values())


@pytest.mark.parametrize("name", HEADS)
def test_forged_scores_are_higher_and_rows_are_scored_alone(name):
    real, forged = two_classes(60, 50)
    matrix = design_of(real, forged + 8)
    classifier, _ = fitted(HEADS[name](), matrix)
    rows, labels = labelled(matrix)
    scores = classifier.score(rows)
    assert roc_auc_score(labels, scores) > 0.97
    np.testing.assert_allclose(
        np.concatenate([classifier.score(row[None]) for row in rows]), scores, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("name", HEADS)
def test_constant_features_give_equal_scores(name):
    constant = np.full((30, 6), 3.5)
    classifier, _ = fitted(HEADS[name](), design_of(constant, constant))
    scores = classifier.score(np.zeros((4, 6)))
    assert np.isfinite(scores).all() and np.ptp(scores) == 0


@pytest.mark.parametrize("name", HEADS)
def test_one_image_a_class_is_enough(name):
    real, forged = two_classes(1, 1)
    classifier, _ = fitted(HEADS[name](), design_of(real, forged))
    assert np.isfinite(classifier.score(np.random.default_rng(0).normal(size=(9, 6)))).all()
