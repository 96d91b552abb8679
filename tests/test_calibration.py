"""The temperature that made odds too large is found again, and reliability numbers are those of known cases."""

import numpy as np
import pytest

from tlkeras.transfer.probe import COOLEST, fit_temperature, reliability, reliability_bins


@pytest.fixture(scope="module")
def sample():
    generator = np.random.default_rng(0)
    odds = generator.normal(0, 2, 20_000)
    return odds, (generator.random(20_000) < 1 / (1 + np.exp(-odds))).astype(int)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_factor(sample, factor):
    odds, labels = sample
    assert fit_temperature(factor * odds, labels) == pytest.approx(factor, rel=0.05)


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
    ("odds", "labels"), [([], []), ([np.nan], [0]), ([1.0], [2]), ([1.0, 2.0], [1]), ([[1.0]], [[1]])]
)
def test_bad_input(odds, labels):
    for function in (reliability, reliability_bins, fit_temperature):
        with pytest.raises(ValueError, match="finite log-odds .*Received: shapes"):
            function(np.array(odds), np.array(labels))
