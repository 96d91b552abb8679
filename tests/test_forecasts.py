"""A forecast is scored by the draws that both arms have; what was not run is said to be."""

import dataclasses

import pytest
from helpers import made_run

from tlkeras.experiments.runs import Runs
from tlkeras.reports import REPORTS
from tools import forecasts
from tools.forecasts import Forecast

REPORT = REPORTS["tominet"]
PLAIN = Forecast("2026-01-01", "tominet", "letters", "test_accuracy", 0.8, 0.7, 0.85)


def runs(**means):
    """Return two runs of each arm, 0.1 apart; the second of "fashion" is of another draw."""
    return Runs(
        made_run(
            REPORT, arm, seed, {"test_accuracy": mean + 0.1 * seed}, details={"draw": f"{arm * (arm == 'x')}{seed}"}
        )
        for arm, mean in means.items()
        for seed in range(2)
    )


def test_a_mean_is_inside_or_not():
    (row,) = forecasts.score([PLAIN], {"tominet": runs(letters=0.75)})
    assert (row["measured"], row["inside"], row["n"]) == (pytest.approx(0.8), True, 2)
    (row,) = forecasts.score([PLAIN], {"tominet": runs(letters=0.85)})
    assert (row["inside"], row["expected"]) == (False, 0.8)


def test_a_difference_is_taken_draw_by_draw():
    forecast = dataclasses.replace(PLAIN, against="fashion", value=0.1, low=0.05, high=0.2)
    (row,) = forecasts.score([forecast], {"tominet": runs(letters=0.7, fashion=0.6)})
    assert (row["measured"], row["inside"], row["n"], row["against"]) == (pytest.approx(0.1), True, 2, "fashion")


def test_what_was_not_run_is_not_scored():
    for found in ({}, {"tominet": runs(fashion=0.5)}):
        (row,) = forecasts.score([PLAIN], found)
        assert (row["measured"], row["inside"], row["n"]) == (None, None, 0)


def test_an_interval_without_its_value_is_refused():
    with pytest.raises(ValueError, match=r"low <= value <= high\. Received: \{'date'"):
        dataclasses.replace(PLAIN, low=0.9)


def test_stored_forecasts_are_of_arms_and_metrics_that_there_are(tmp_path):
    found = forecasts.load()
    assert found and forecasts.load(tmp_path / "none.json") == []
    for forecast in found:
        arms = REPORTS[forecast.report].arms
        assert forecast.arm in arms and (forecast.against is None or forecast.against in arms)
    keys = [(forecast.report, forecast.arm, forecast.against, forecast.metric) for forecast in found]
    assert len(set(keys)) == len(keys)
