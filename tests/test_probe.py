"""A probe separates what can be separated, costs less by the same result, and is calibrated by a known temperature."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from tlkeras.transfer import probe
from tlkeras.transfer.probe import COOLEST, fit_probe, fit_temperature, reliability, reliability_bins, unit_rows


def problem(features, count=40, views=2, distance=1.0, seed=0, classes=2):
    """Return views of images of two or more classes, and the labels."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = distance * generator.normal(size=(classes, features))
    images = centres[labels] + generator.normal(size=(count, features))
    return [images + 0.1 * generator.normal(size=images.shape) for _ in range(views)], labels


@pytest.mark.parametrize("features", [5, 300])
def test_it_separates_images_it_has_not_seen(features):
    views, labels = problem(features, count=80, distance=4.0)
    found = fit_probe([view[:40] for view in views], labels[:40], seed=0, judged=2)
    odds = found.log_odds([view[40:] for view in views])
    assert np.mean((odds > 0) == labels[40:]) > 0.9
    assert found.weights.shape == (features,) and found.strength in probe.STRENGTHS and found.temperature > 0


@pytest.mark.parametrize("features", [5, 300])
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_it_tells_any_number_of_classes_apart_and_says_how_probable_each_is(features, classes):
    views, labels = problem(features, count=120, distance=4.0, classes=classes)
    inside, outside = [view[:60] for view in views], [view[60:] for view in views]
    found = fit_probe(inside, labels[:60], seed=0, judged=2)
    probabilities = found.probabilities(outside)
    assert probabilities.shape == (60, classes)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert np.mean(probabilities.argmax(axis=1) == labels[60:]) > 0.9
    odds = found.log_odds(outside) / found.temperature
    expected = np.log(probabilities[:, 1:] / probabilities[:, :1])
    difference = odds[:, None] if classes == 2 else odds[:, 1:] - odds[:, :1]
    np.testing.assert_allclose(difference, expected, rtol=1e-6)
    assert found.weights.shape == ((features,) if classes == 2 else (features, classes))
    assert reliability(odds, labels[60:])["loss"] == pytest.approx(log_loss(labels[60:], probabilities))


@pytest.mark.parametrize("classes", [2, 3])
def test_labels_may_be_one_hot_or_names(classes):
    views, labels = problem(5, classes=classes)
    expected = fit_probe(views, labels, seed=0)
    named = fit_probe(views, [("ant", "bee", "cat")[label] for label in labels], seed=0)
    assert named.class_names == ("ant", "bee", "cat")[:classes] and expected.class_names == ()
    for found in (named, fit_probe(views, np.eye(classes)[labels], seed=0)):
        np.testing.assert_array_equal(found.weights, expected.weights)


@pytest.mark.parametrize("classes", [2, 3])
def test_weights_of_classes_are_weights_of_their_images_and_make_a_class_likelier(classes):
    views, labels = problem(5, distance=0.2, classes=classes)
    plain, heavy = fit_probe(views, labels, seed=0), fit_probe(views, labels, seed=0, class_weight={1: 5.0})
    same = fit_probe(views, labels, seed=0, sample_weight=np.where(labels == 1, 5.0, 1.0))
    np.testing.assert_array_equal(heavy.weights, same.weights)
    assert (heavy.strength, heavy.temperature) == (same.strength, same.temperature)
    assert heavy.probabilities(views)[:, 1].mean() > plain.probabilities(views)[:, 1].mean() + 0.1
    with pytest.raises(ValueError, match=rf"classes 0\.\.{classes - 1} or .* Received: .* classes \[{classes}\]$"):
        fit_probe(views, labels, seed=0, class_weight={classes: 5.0})


def test_fewer_columns_give_the_same_probe(monkeypatch):
    views, labels = problem(300, distance=0.2)
    short = fit_probe(views, labels, seed=0)
    monkeypatch.setattr(probe, "_compressed", lambda rows: (rows, False))
    plain = fit_probe(views, labels, seed=0)
    assert short.strength == plain.strength
    np.testing.assert_allclose(short.log_odds(views), plain.log_odds(views), atol=0.02 * np.ptp(plain.log_odds(views)))


def test_views_of_an_image_are_never_on_both_sides(monkeypatch):
    seen = []
    monkeypatch.setattr(probe, "_fit", lambda views, labels, weights, strength: seen.append(views) or (np.ones(2), 0.0))
    views = [np.array([[number, 1.0] for number in range(1, 11)]) for _ in range(3)]
    fit_probe(views, np.arange(10) % 2, seed=0)
    for fitted in seen:
        assert all(np.array_equal(fitted[0], view) for view in fitted)
    assert sorted({len(fitted[0]) for fitted in seen}) == [8, 10]


def test_the_seed_decides_the_folds():
    views, labels = problem(20, distance=0.2)
    temperatures = [fit_probe(views, labels, seed=seed).temperature for seed in (0, 0, 1)]
    assert temperatures[0] == temperatures[1] != temperatures[2]


@pytest.mark.parametrize("classes", [2, 3])
def test_without_an_error_the_probabilities_are_not_made_surer(classes):
    views, labels = problem(50, count=18, distance=20.0, classes=classes)
    assert fit_probe(views, labels, seed=0).temperature == 1


def test_rows_of_zeros_stay():
    np.testing.assert_allclose(unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])


def test_features_of_half_precision_have_lengths_that_it_cannot_hold():
    (features,), labels = problem(400, views=1, distance=0.3)
    features = (1000 + 100 * features).astype(np.float16)
    np.testing.assert_array_equal(unit_rows(features), unit_rows(features.astype(np.float32)))
    assert unit_rows(features).dtype == np.float32
    half, single = (fit_probe([kind], labels, seed=0) for kind in (features, features.astype(np.float32)))
    np.testing.assert_array_equal(half.probabilities([features]), single.probabilities([features]))


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 2, 2], [1, 1, 2, 2]])
def test_bad_labels(labels):
    with pytest.raises(ValueError, match=r"two images or more of each class from 0 up\. Received: \["):
        fit_probe([np.ones((4, 3))], np.array(labels), seed=0)


def test_no_views():
    with pytest.raises(ValueError, match="Expected views"):
        fit_probe([], np.array([0, 0, 1, 1]), seed=0)


@pytest.fixture(scope="module")
def sample():
    generator = np.random.default_rng(0)
    odds = generator.normal(0, 2, 20_000)
    return odds, (generator.random(20_000) < 1 / (1 + np.exp(-odds))).astype(int)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_factor(sample, factor):
    odds, labels = sample
    assert fit_temperature(factor * odds, labels) == pytest.approx(factor, rel=0.05)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_of_more_classes_undoes_a_factor(factor):
    generator = np.random.default_rng(0)
    odds = generator.normal(0, 2, (20_000, 4))
    labels = (odds + generator.gumbel(size=odds.shape)).argmax(axis=1)  # drawn from their softmax
    assert fit_temperature(factor * odds, labels) == pytest.approx(factor, rel=0.05)
    found = reliability(odds, labels)
    assert found["calibration_error"] < 0.01 < reliability(3 * odds, labels)["calibration_error"]
    assert found["loss"] == pytest.approx(log_loss(labels, softmax(odds, axis=1)))


def test_the_temperature_counts_images_by_their_weights(sample):
    odds, labels = sample[0][:400], sample[1][:400]
    twice = fit_temperature(np.append(odds, odds[:200]), np.append(labels, labels[:200]))
    assert fit_temperature(odds, labels, np.where(np.arange(400) < 200, 2.0, 1.0)) == pytest.approx(twice, rel=1e-4)


def test_known_numbers_of_three_classes():
    odds = np.log([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    found = reliability(odds, np.array([0, 1, 2]))
    assert found["loss"] == pytest.approx(-np.log(0.5 * 0.25 * 0.8) / 3)
    assert found["brier_error"] == pytest.approx((0.375 + 0.875 + 0.06) / 3)
    assert found["calibration_error"] == pytest.approx((2 * 0.0 + 0.2) / 3)
    rows = reliability_bins(odds, np.array([0, 1, 2]))
    assert [(round(row["predicted"], 6), row["observed"], row["n"]) for row in rows] == [(0.5, 0.5, 2), (0.8, 1.0, 1)]


def test_reliable_odds_have_a_small_error_and_exaggerated_ones_a_large(sample):
    odds, labels = sample
    good, bad = reliability(odds, labels), reliability(3 * odds, labels)
    assert good["calibration_error"] < 0.01 < 0.05 < bad["calibration_error"]
    assert good["loss"] < bad["loss"] and good["brier_error"] < bad["brier_error"]


def test_known_numbers():
    odds, labels = np.log([1 / 3, 1 / 3, 3, 3]), np.array([0, 1, 1, 1])
    found = reliability(odds, labels)
    assert found["brier_error"] == pytest.approx((3 * 0.25**2 + 0.75**2) / 4)
    assert found["loss"] == pytest.approx(-(3 * np.log(0.75) + np.log(0.25)) / 4)
    assert found["calibration_error"] == pytest.approx(0.25)
    rows = reliability_bins(odds, labels)
    assert [(round(row["predicted"], 6), row["observed"], row["n"]) for row in rows] == [(0.25, 0.5, 2), (0.75, 1.0, 2)]


def test_odds_of_any_size_are_finite():
    found = reliability(np.array([-1000.0, 1000.0]), np.array([0, 1]))
    assert found == {"loss": 0.0, "brier_error": 0.0, "calibration_error": 0.0}
    assert fit_temperature(np.array([-5.0, 5.0]), np.array([0, 1])) == pytest.approx(COOLEST, rel=0.01)


@pytest.mark.parametrize(
    ("odds", "labels"),
    [
        ([], []),
        ([np.nan], [0]),
        ([1.0], [2]),
        ([1.0, 2.0], [1]),
        ([[1.0]], [[1]]),
        ([[1.0, 2.0]], [1]),
        ([[1.0, 2.0, 3.0]], [3]),
    ],
)
def test_bad_odds_or_labels_are_refused(odds, labels):
    for function in (reliability, reliability_bins, fit_temperature):
        with pytest.raises(ValueError, match="finite log-odds .*Received: shapes"):
            function(np.array(odds), np.array(labels))
