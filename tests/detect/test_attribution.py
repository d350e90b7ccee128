"""Frozen features of detectors, and the generator that is learned from them."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid

from detect.attribution import Labelled, Scale, embed, from_few, learn, nearest, reject
from detect.detectors.registry import DETECTORS
from forge.core.compute import Compute


def blobs(seed, count=60, classes=4, width=8, spread=0.5):
    """Classes as blobs on the axes, far apart beside their spread."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(classes), count)
    features = 3 * np.eye(classes, width)[truth] + rng.normal(0, spread, (len(truth), width))
    return Labelled(features.astype(np.float32), truth)


@pytest.mark.parametrize("name", ["npr", "meso4", "gramnet"])
def test_the_score_of_a_network_is_its_last_layer_on_its_embedding(name):
    implementation = DETECTORS.load(name)
    detector = implementation(implementation.Settings(), 32)
    torch.manual_seed(0)
    detector.network = detector.build().eval()
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    embedded = torch.from_numpy(detector.embeddings(images, Compute()))
    layers = [layer for layer in detector.network.modules() if isinstance(layer, torch.nn.Linear)]
    with torch.inference_mode():
        outputs = layers[-1](embedded)
    logits = outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]
    np.testing.assert_allclose(logits.numpy(), detector.score(images, Compute()), rtol=1e-4, atol=1e-5)
    assert not any(layer._forward_pre_hooks for layer in detector.network.modules())


def test_the_score_of_a_detector_on_features_is_its_classifier_on_its_embedding(data, context, sets):
    implementation = DETECTORS.load("logistic")
    detector = implementation(implementation.Settings(), data.resolution)
    detector.fit(data, context())
    images = sets[1].view("test").read()
    rows = (detector.embeddings(images, Compute()).astype(np.float64) - detector.mean) / detector.std
    np.testing.assert_allclose(detector.fitted.score(rows), detector.score(images, Compute()), rtol=1e-4, atol=1e-4)
    labelled = embed(detector, {0: sets[0].view("test"), 1: sets[1].view("test")}, Compute())
    assert labelled.classes.tolist() == [0] * len(sets[0].view("test")) + [1] * len(images)
    np.testing.assert_array_equal(labelled.features[-len(images) :], detector.embeddings(images, Compute()))


def test_a_score_of_nothing_has_no_features(sets):
    implementation = DETECTORS.load("random")
    assert embed(implementation(implementation.Settings(), 32), {0: sets[0].view("test")}, Compute()) is None


def test_classes_that_are_apart_are_told():
    told, probability = learn(blobs(0))(blobs(1).features)
    assert (told == blobs(1).classes).mean() > 0.99
    assert ((probability >= 0.25) & (probability <= 1)).all()


def test_labels_without_information_are_told_by_chance():
    train, test = blobs(0, spread=30.0), blobs(1, count=500, spread=30.0)
    told, _ = learn(train)(test.features)
    assert abs((told == test.classes).mean() - 0.25) < 0.06


def test_prototypes_are_nearest_centroids_of_scaled_features():
    train, test = blobs(0, spread=3.0), blobs(1, spread=3.0)
    scale = Scale.of(train.features[train.classes == 0])
    expected = NearestCentroid().fit(scale(train.features), train.classes).predict(scale(test.features))
    np.testing.assert_array_equal(nearest(train, scale)(test.features), expected)


def test_a_feature_that_never_varies_stays_finite():
    features = np.ones((4, 2), np.float32)
    np.testing.assert_array_equal(Scale.of(features)(features), np.zeros((4, 2)))


def test_an_unknown_class_between_the_known_ones_is_rejected():
    known = blobs(0, classes=3)
    between = np.full((60, 8), 0, np.float32)
    between[:, :3] = 1.0  # as far from each of them
    train = Labelled(np.concatenate([known.features, between]), np.concatenate([known.classes, np.full(60, 3)]))
    test = blobs(1, classes=3)
    score = reject(train, np.concatenate([test.features, between]), unknown=3)
    assert score[:180].max() < score[180:].min()
    # its own images in training take no part
    other = Labelled(np.concatenate([known.features, 50 + between]), train.classes)
    np.testing.assert_array_equal(reject(other, test.features, unknown=3), score[:180])


def test_few_images_are_told_better_than_by_chance_and_draws_differ():
    train, test = blobs(0, spread=1.5), blobs(1, spread=1.5)
    first, again, other = (from_few(train, test.features, 5, draw, 0) for draw in (0, 0, 1))
    for learner in ("logistic regression", "prototypes"):
        assert (first[learner] == test.classes).mean() > 0.5
        np.testing.assert_array_equal(first[learner], again[learner])
    assert any((first[learner] != other[learner]).any() for learner in first)
    assert from_few(train, test.features, 61, 0, 0) is None
