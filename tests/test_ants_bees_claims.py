"""Conclusions are decided by the runs, times stand beside the report's, and the flattery of a choice is stated."""

import dataclasses

import numpy as np
import pytest

from tlkeras.reports.ants_bees import claims
from tlkeras.reports.ants_bees import run as report

LABELS = [0, 1] * 10


def run(arm, seed, auc, *, gap=0.1, seconds=100.0, epochs=3):
    settings = dataclasses.replace(report.ARMS[arm], epochs=epochs)
    odds = np.random.default_rng(seed).normal(2 * np.array(LABELS * 1) - 1, 1, (epochs, len(LABELS)))
    return {
        "arm": arm, "seed": seed, "profile": "paper", "settings": dataclasses.asdict(settings), "data": [{}],
        "metrics": {"validation_roc_auc": auc, "gap_loss": gap, "training_seconds": seconds, "best_epoch": 1},
        "details": {"log_odds": odds.round(3).tolist(), "labels": LABELS},
    }  # fmt: skip


WAYS = {
    "full": (0.90, 0.5, 900.0),
    "frozen": (0.96, 0.1, 300.0),
    "last": (0.93, 0.4, 330.0),
    "graded": (0.95, 0.2, 890),
}


def study(count=5, changes=None, arms=report.FAITHFUL):
    values = {f"{network}_{way}": numbers for network in report.NETWORKS for way, numbers in WAYS.items()}
    values |= changes or {}
    return [
        run(arm, seed, auc + seed / 1000, gap=gap + seed / 1000, seconds=seconds + seed)
        for arm, (auc, gap, seconds) in values.items()
        for seed in range(count)
        if arm in arms
    ]


def held(runs):
    return [row["held"] for row in claims.findings(runs)]


def test_five_conclusions_hold_where_the_runs_say_so():
    rows = claims.findings(study())
    assert [row["claim"] for row in rows] == list(claims.CLAIMS) and len(rows) == 5
    assert [row["held"] for row in rows] == ["held"] * 5
    assert all(row["p_adjusted"] < 0.05 and row["n"] == 5 for row in rows)


def test_one_comparison_the_other_way_and_a_conclusion_did_not_hold():
    rows = claims.findings(study(changes={"alexnet_last": (0.99, 0.05, 330.0)}))
    assert [row["held"] for row in rows] == ["did not hold", *["held"] * 4]
    assert rows[0]["weakest"].startswith("alexnet_frozen against alexnet_last")


def test_no_difference_is_not_shown():
    assert held(study(changes={"alexnet_graded": WAYS["full"]}))[1] == "not shown"


def test_few_runs_do_not_decide_and_missing_ones_are_said():
    assert held(study(count=3)) == ["not decided (n too small)"] * 5
    assert held(study(arms=("alexnet_full", "alexnet_frozen", "alexnet_graded"))) == [
        "not run",
        "held",
        *["not run"] * 3,
    ]
    assert held([]) == ["not run"] * 5


def test_short_trainings_stand_in_where_an_arm_was_not_run_and_are_named():
    arms = [arm for arm in report.FAITHFUL if arm != "vgg16_full"]
    short = [
        run(f"vgg16_{way}_short", seed, auc + seed / 1000, gap=gap, seconds=seconds + seed)
        for way, (auc, gap, seconds) in WAYS.items()
        for seed in range(5)
    ]
    rows = claims.findings(study(arms=arms) + short)
    assert [row["held"] for row in rows] == ["held"] * 5
    assert rows[2]["weakest"].startswith("vgg16_frozen_short against vgg16_full_short")
    assert held(study(arms=arms)) == ["held", "held", *["not run"] * 3]
    assert claims.times(short)[4]["n"] == 5


def test_times_are_put_beside_the_reports():
    runs = study() + [run("vgg16_full_short", 0, 0.9)]  # not taken: the whole training is there
    rows = {(row["network"], row["way"]): row for row in claims.times(runs)}
    assert len(rows) == 8
    frozen = rows["vgg16", "frozen"]
    assert (frozen["reported"], frozen["reported_relative"], frozen["n"]) == (336, 0.56, 5)
    assert frozen["seconds_per_epoch"] == pytest.approx(302 / 3)
    assert frozen["relative"] == pytest.approx(302 / 902)
    assert claims.times([])[0]["seconds_per_epoch"] is None


def test_optimism_is_a_mean_over_the_runs_that_chose():
    runs = study(count=2, arms=("alexnet_full",)) + [run("alexnet_views", 0, 0.9)]
    (row,) = claims.optimism(runs, "accuracy")
    assert (row["arm"], row["n"]) == ("alexnet_full", 2)
    assert row["corrected"] == pytest.approx(row["reported"] - row["optimism"])
    broken = run("alexnet_last", 0, 0.5)
    broken["details"]["log_odds"][0][0] = float("nan")
    assert claims.optimism([broken]) == []


def test_the_hardest_images_are_those_that_most_runs_miss():
    runs = study(count=3, arms=("alexnet_full",))
    for own in runs:
        own["details"]["log_odds"][0] = [1.0 if label else -1.0 for label in LABELS]
    runs[0]["details"]["log_odds"][0][4] = 3.0
    for own in runs[:2]:
        own["details"]["log_odds"][0][7] = -2.0
    rows = claims.hardest(runs, 2)
    assert [(row["image"], row["label"], round(row["missed"], 2)) for row in rows] == [(7, 1, 0.67), (4, 0, 0.33)]
    assert rows[0]["log_odds"] == -2.0
