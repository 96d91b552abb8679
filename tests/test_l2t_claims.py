"""Claims of report 003 on made-up runs: what is found is what was put in."""

import dataclasses

import numpy as np
import pytest

from tlkeras.reports.l2t import claims
from tlkeras.reports.l2t import run as report


def made(arm, values, metric="test_accuracy"):
    facts = {"profile": "paper", "data": [{"name": "stl10", "source": "cache", "stand_in": False}]}
    return [
        {"arm": arm, "seed": seed, "metrics": {metric: value}, "details": {"draw": str(seed)}, **facts}
        for seed, value in enumerate(values)
    ]


def noise(seed, count=8):
    return np.random.default_rng(seed).normal(0, 0.01, count)


def test_a_clear_difference_holds_and_says_how_many_runs_the_reported_one_needs():
    runs = made("stl10_10_www", 0.30 + noise(0)) + made("stl10_10_ww", 0.25 + noise(1))
    (row,) = claims.findings(runs)
    assert (row["dataset"], row["per_class"], row["held"], row["n"]) == ("stl10", "10", "held", 8)
    assert row["reported_difference"] == pytest.approx(0.0375) and row["reported_p"] == "0.000"
    assert row["difference"] == pytest.approx(0.05, abs=0.01) and max(row["paired_p"], row["mann_whitney_p"]) < 0.05
    assert 6 <= row["runs_needed"] < 10


def test_so_many_runs_are_needed_that_the_corrected_p_can_decide():
    runs = []
    for arm in ("stl10_5", "stl10_10", "cifar10_10"):
        runs += made(f"{arm}_www", 0.30 + noise(0, 5)) + made(f"{arm}_ww", 0.30 + noise(1, 5) / 100)
    needed = {row["runs_needed"] for row in claims.findings(runs)} - {None}
    assert min(needed) >= 7, "three rows: Holm's correction makes 3 / 2**5 of the smallest p of six pairs"


def test_how_far_the_meta_networks_went():
    run = made("stl10_10_www", [0.3])[0] | {"settings": dataclasses.asdict(report.ARMS["stl10_10_www"])}
    answers = {
        "where": [[0.0, 1.0, 3.0], [0.5, 1.0, 3.0]],
        "what": [[1.0, 1.0], [0.9, 0.8]],
        "which": [[[1.0]], [[0.7]]],
    }
    run["details"] = {"answers": answers}
    (row,) = claims.learned([run])
    assert (row["iterations"], row["where_moved"], row["what_even"], row["which_low"]) == ("200", 0.5, 0.8, 0.7)
    assert 0.9 < row["where_alike"] < 1 and row["n"] == 1


def test_no_difference_where_one_was_claimed_is_not_shown_and_few_runs_decide_nothing():
    runs = made("cifar10_30_www", noise(0)) + made("cifar10_30_ww", noise(1))
    assert claims.findings(runs)[0]["held"] == "not shown"
    runs = made("cifar10_30_www", noise(0, 3)) + made("cifar10_30_ww", noise(1, 3))
    assert claims.findings(runs)[0]["held"] == "not decided (n too small)"
    runs = made("cifar10_30_www", noise(0)) + made("cifar10_30_ww", 0.1 + noise(1))
    assert claims.findings(runs)[0]["held"] == "did not hold"


def test_the_table_has_a_row_for_every_cell_and_says_what_was_not_run():
    rows = claims.table(made("cifar10_10_ufm", [0.2, 0.3]), "cifar10")
    assert len(rows) == 20
    row = next(row for row in rows if (row["per_class"], row["method"]) == ("10", "ufm"))
    assert (row["reported"], row["reported_n"], row["mean"], row["n"]) == (0.2069, 30, 0.25, 2)
    lost = next(row for row in rows if (row["per_class"], row["method"]) == ("10", "scratch"))
    assert (lost["reported"], lost["reported_n"], lost["mean"], lost["n"]) == (None, 30, None, 0)


def test_the_signs_can_only_mean_intervals():
    rows = claims.plus_minus()
    assert len(rows) == 9
    agree = {
        name: sum((row["printed_p"] == "p > 0.05") == (row[name] > 0.05) for row in rows) for name in claims.MEANINGS
    }
    assert agree["95 % interval"] == 9 and agree["standard deviation"] < 9 and agree["standard error"] < 9


def test_methods_against_those_with_less_and_the_scarce_class():
    runs = made("stl10_5_scratch", noise(0)) + made("stl10_5_ufm", 0.1 + noise(1))
    (row,) = claims.against(runs, "scratch")
    assert row["verdict"] == "first better"
    runs += made("stl10_5_ww", 0.2 + noise(2))
    assert [(row["first"], row["second"]) for row in claims.against(runs, "ufm")] == [("stl10_5_ww", "stl10_5_ufm")]
    runs = made("stl10_unbalanced_ww", [0.5, 0.7], "scarce_recall")
    rows = {row["arm"]: row for row in claims.unbalanced(runs)}
    assert rows["stl10_unbalanced_ww"]["mean"] == pytest.approx(0.6)
    assert rows["stl10_unbalanced_ww"]["reported"] == 0.6512 and rows["stl10_unbalanced_www"]["n"] == 0


def timed(arm, batch_seconds):
    settings = dataclasses.asdict(report.ARMS[arm])
    return {"arm": arm, "settings": settings, "metrics": {"iteration_seconds": batch_seconds}}


def test_hours_are_counted_by_the_image():
    runs = [timed(f"stl10_5_{method}", 1.0) for method in report.METHODS]  # batches of 50
    found = claims.hours(runs)
    assert found > 1
    same = [timed(f"cifar10_10_{method}", 2.0) for method in report.METHODS]  # batches of 100
    assert claims.hours(same) == pytest.approx(found)
    slower = [*runs[:-1], timed("stl10_5_www", 2.0)]
    assert found < claims.hours(slower) < 2 * found
    assert claims.hours(runs[1:]) is None


def test_the_scarce_class_has_fewer_images():
    whole, scarce = (dataclasses.asdict(report.ARMS[arm]) for arm in ("stl10_100_ww", "stl10_unbalanced_ww"))
    assert (claims._images(whole), claims._images(scarce)) == (1000, 910)
