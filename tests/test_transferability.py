"""LogME is the evidence that a brute-force search finds, and the similarity knows the answers that are known."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from tlkeras.transfer import transferability

GENERATOR = np.random.default_rng(0)
LABELS = np.arange(120) % 3
NOISE = GENERATOR.normal(size=(120, 5))


def brute_force(features, target):
    """Return the largest log evidence per sample, straight from y ~ N(0, 1 / beta + F F' / alpha)."""

    def loss(logs):
        covariance = np.eye(len(target)) / np.exp(logs[1]) + features @ features.T / np.exp(logs[0])
        return -stats.multivariate_normal.logpdf(target, cov=covariance) / len(target)

    return -optimize.minimize(loss, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-9}).fun


@pytest.mark.parametrize("shape", [(30, 4), (12, 20)], ids=["more samples", "more features"])
def test_the_evidence_is_the_largest_there_is(shape):
    generator = np.random.default_rng(1)
    features = generator.normal(size=shape)
    target = features[:, 0] - 0.5 * features[:, 1] + 0.3 * generator.normal(size=len(features))
    (found,) = transferability.evidences(features, target[:, None])
    assert found == pytest.approx(brute_force(features, target), abs=1e-4)


def test_logme_is_the_mean_over_the_classes():
    labels = LABELS[:30]
    features = NOISE[:30] + 2.0 * labels[:, None]
    wanted = np.mean([brute_force(features, (labels == label).astype(float)) for label in range(3)])
    assert transferability.logme(features, labels) == pytest.approx(wanted, abs=1e-3)


def test_features_without_a_word_on_the_labels_are_dissimilar():
    assert transferability.similarity(NOISE, LABELS) < 0.1


@pytest.mark.parametrize("count", [10, 20, 40])
def test_noise_of_more_features_than_images_is_dissimilar(count):
    noise = np.random.default_rng(3).normal(size=(count, 512))
    assert transferability.similarity(noise, np.arange(count) % 2) < 0.2


@pytest.mark.parametrize(("width", "change"), [(50, 1e-9), (59, 0.01)])
def test_signal_is_as_similar_as_all_centred_images_say(width, change):
    generator = np.random.default_rng(4)
    features = np.eye(3)[LABELS[:60]] @ generator.normal(size=(3, width)) + generator.normal(size=(60, width))
    targets = np.eye(3)[LABELS[:60]] - 1 / 3
    plain = features - features.mean(axis=0)
    gain = np.mean(transferability.evidences(plain, targets)) + 0.5 * np.log(2 * math.pi * np.e * 2 / 9)
    expected = math.sqrt(1 - math.exp(-2 * gain))
    assert transferability.similarity(features, LABELS[:60]) == pytest.approx(expected, abs=change)


def test_features_that_are_the_labels_are_similar():
    assert transferability.similarity(np.eye(3)[LABELS], LABELS) > 0.99


def test_the_similarity_is_the_correlation_of_a_gaussian_problem():
    """Two classes, one feature: the features are correlated with the labels by a number that is known."""
    generator = np.random.default_rng(2)
    labels = np.arange(4000) % 2
    deviation = math.sqrt(0.5**2 * (1 / 0.6**2 - 1))  # so that the correlation is 0.6
    feature = labels + generator.normal(scale=deviation, size=4000)
    assert transferability.similarity(feature[:, None], labels) == pytest.approx(0.6, abs=0.03)


def test_more_noise_is_less_similar_and_neither_scale_nor_shift_matters():
    signal = 3 * np.eye(3)[LABELS] @ GENERATOR.normal(size=(3, 5))
    found = [transferability.similarity(signal + noise * NOISE, LABELS) for noise in (0.1, 1.0, 4.0, 30.0)]
    assert found == sorted(found, reverse=True)
    moved = transferability.similarity(1000 * (signal + NOISE) - 50, LABELS)
    assert moved == pytest.approx(found[1], abs=1e-6)


BAD = {
    "flat": (NOISE[:, 0], LABELS),
    "no samples": (NOISE[:0], LABELS[:0]),
    "integers": (NOISE.astype(int), LABELS),
    "nan": (np.where(NOISE > 2, np.nan, NOISE), LABELS),
    "fewer labels": (NOISE, LABELS[:-1]),
    "one class": (NOISE, 0 * LABELS),
    "a class without samples": (NOISE, 2 * LABELS),
    "labels below zero": (NOISE, LABELS - 1),
}


@pytest.mark.parametrize(("features", "labels"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("score", [transferability.logme, transferability.similarity])
def test_what_cannot_be_scored_is_refused(score, features, labels):
    with pytest.raises(ValueError, match=r"Expected .* Received: "):
        score(features, labels)
