"""The advice is judged by the runs, cell by cell, and every table says what the runs say."""

import dataclasses
import math

import pytest

from tlkeras.reports.strategies import claims
from tlkeras.reports.strategies import run as report
from tlkeras.reports.strategies.features import BLOCKS


def run(arm, seed, metrics, **changes):
    settings = dataclasses.replace(report.ARMS[arm], **changes)
    return {
        "arm": arm, "seed": seed, "profile": "paper", "settings": dataclasses.asdict(settings), "data": [{}],
        "metrics": metrics, "details": {"draw": f"{seed}", "seconds": {"head": 1.0, "main": 2.0}},
    }  # fmt: skip


def cell(name, train_all, freeze_some, freeze_base, count=5):
    means = {"train_all": train_all, "freeze_some": freeze_some, "freeze_base": freeze_base}
    return [
        run(f"{name}_{strategy}", seed, {"test_accuracy": mean + noise, "collapsed": 0.0})
        for number, (strategy, mean) in enumerate(means.items())
        for seed, noise in zip(range(count), (0.01, -0.01, 0.0, 0.005 * number, -0.005), strict=False)
    ]


def test_the_advised_strategy_is_judged_against_the_better_of_the_others():
    runs = cell("cifar10_small", 0.5, 0.6, 0.7) + cell("letters_small", 0.8, 0.8, 0.6)
    runs += cell("fashion_mnist_large", 0.7, 0.9, 0.6) + cell("cifar10_large", 0.7, 0.9, 0.6, count=4)
    runs += cell("stl10_small", 0.7, 0.9, 0.6)[:10]  # one strategy was never run
    rows = claims.findings(runs)
    found = {(row["target"], row["size"]): (row["quadrant"], row["advised"], row["rival"], row["held"]) for row in rows}
    assert found == {
        ("fashion_mnist", "large"): (1, "train_all", "freeze_some", "worse"),
        ("cifar10", "large"): (2, "freeze_some", "train_all", "not decided (n too small)"),
        ("letters", "small"): (3, "freeze_some", "train_all", "not worse"),
        ("cifar10", "small"): (4, "freeze_base", "freeze_some", "best"),
    }
    assert [row["quadrant"] for row in rows] == [1, 2, 3, 4]
    (row,) = [row for row in rows if (row["target"], row["size"]) == ("cifar10", "small")]
    assert row["difference"] == pytest.approx(row["accuracy"] - row["rival_accuracy"], abs=1e-6)
    assert row["ci_low"] <= row["difference"] <= row["ci_high"] and row["n"] == 5


def test_every_strategy_has_a_row_in_the_order_of_the_slides():
    rows = claims.strategy_rows(cell("cifar10_small", 0.5, 0.6, 0.7))
    assert [row["strategy"] for row in rows] == ["train_all", "freeze_some", "freeze_base"]
    assert [row["advised"] for row in rows] == [False, False, True]
    assert {(row["quadrant"], row["n"], row["seconds"], row["collapsed"]) for row in rows} == {(4, 5, 3.0, "0 of 5")}
    assert rows[0]["ci_low"] <= rows[0]["mean"] <= rows[0]["ci_high"]


def test_the_estimated_similarity_stands_beside_the_measured_truth():
    runs = cell("cifar10_small", 0.5, 0.8, 0.6, count=1)
    runs += [run("blocks_cifar10_few", 0, {"similarity": 0.3, "logme": -0.1})]
    (row,) = claims.similarity_rows(runs)
    assert (row["target"], row["judged"], row["estimated"], row["best"]) == ("cifar10", "similar", 0.3, "freeze_some")
    assert (row["quadrant_by_estimate"], row["advised_by_estimate"]) == (3, "freeze_some")
    assert row["frozen_share"] == pytest.approx(0.61 / 0.81)
    assert claims.similarity_rows(runs[:3]) == []


def test_rates_are_averaged_over_the_seeds():
    def metrics(value):
        source = {f"source_accuracy{end}": value / 2 for end in ("", "_before", "_recalibrated")}
        return {"test_accuracy": value, **source, "moved_conv_1": 2 * value}

    rows = claims.rate_rows([run("rate_1e-3", seed, metrics(0.4 + 0.2 * seed)) for seed in range(2)])
    (row,) = rows
    assert (row["rate"], row["n"]) == (1e-3, 2)
    for name, value in {"target": 0.5, "source": 0.25, "source_before": 0.25, "moved_conv_1": 1.0}.items():
        assert row[name] == pytest.approx(value)
    assert row["target_ci_low"] <= 0.5 <= row["target_ci_high"]


def test_classifiers_and_blocks_are_listed_with_their_cost_and_the_best():
    kinds = ("fully_connected", "global_average", "linear_svm")
    values = {"accuracy": 0.5, "parameters": 10.0, "seconds": 2.0}
    one = run("classifiers_cifar10_few", 0, {f"{kind}_{name}": v for kind in kinds for name, v in values.items()})
    rows = claims.classifier_rows([one])
    assert [(row["classifier"], row["images"], row["parameters"]) for row in rows] == [(k, "50", 10) for k in kinds]
    assert math.isnan(rows[0]["ci_low"])
    names = [block.removesuffix("_concat") for block in BLOCKS]
    accuracy = {f"{name}_accuracy": 0.9 - abs(6 - i) / 10 for i, name in enumerate(names)}
    rows = claims.block_rows([one, run("blocks_cifar10_few", 0, accuracy)])
    assert [row["block"] for row in rows] == names and [row["position"] for row in rows] == list(range(9))
    assert [row["block"] for row in rows if row["best"]] == ["fire7"]
