"""Every arm is one cell of the plan, stand-ins are named, and a run depends on its seed alone."""

import dataclasses
import math

import keras
import numpy as np
import pytest
from helpers import made_run

from tlkeras import data
from tlkeras.experiments.runs import Runs
from tlkeras.models import records
from tlkeras.reports.squeezenet import run as squeezenet
from tlkeras.reports.strategies import claims, targets
from tlkeras.reports.strategies import run as report
from tlkeras.reports.strategies.settings import (
    ARMS,
    BLOCKS,
    CELLS,
    LATER,
    QUADRANTS,
    RATE_ARMS,
    REPORT,
    STRATEGIES,
    arm_name,
)
from tlkeras.transfer import evaluation, freeze, strategies
from tlkeras.transfer.classifiers import CLASSIFIERS


@pytest.fixture(scope="module", autouse=True)
def no_imagenet():
    """Without a network and without the published weights; forget what other tests found."""

    def refuse(name):
        raise records.WeightsUnavailableError(f"Expected a source. Received: {name}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "fetch", refuse)
        squeezenet.pretrained.cache_clear()
        yield
    squeezenet.pretrained.cache_clear()


def test_every_cell_has_every_strategy():
    arms = {(arm.dataset, arm.per_class, arm.strategy) for arm in QUADRANTS.values()}
    small = {(name, 50) for name in ("cifar10", "stl10", "fashion_mnist", "letters")}
    large = {("cifar10", 2_000), ("fashion_mnist", 2_000)}
    assert arms == {(*cell, strategy) for cell in small | large for strategy in strategies.STRATEGIES}
    assert STRATEGIES == strategies.STRATEGIES


def test_arms_of_a_cell_differ_in_the_strategy_alone():
    for dataset, size in CELLS:
        names = [arm_name(dataset, size, strategy) for strategy in strategies.STRATEGIES]
        plain = {dataclasses.replace(ARMS[name], strategy="") for name in names}
        assert len(plain) == 1


def test_rates_reach_from_1e_5_to_1e_1():
    rates = [arm.learning_rate for arm in RATE_ARMS.values()]
    assert rates == sorted(rates) and (rates[0], rates[-1]) == (1e-5, 1e-1)
    assert len({dataclasses.replace(arm, learning_rate=0.0) for arm in RATE_ARMS.values()}) == 1


def test_every_arm_has_as_many_seeds_as_its_interval_needs():
    assert {REPORT.seed_count(arm, "paper") for arm in ARMS} == {claims.FEWEST}
    assert {REPORT.seed_count(arm, "smoke") for arm in ARMS} == {1}


def test_later_strategies_are_those_of_the_package_and_differ_from_the_slides_in_the_strategy_alone():
    for dataset, size in CELLS:
        plain = ARMS[arm_name(dataset, size, "train_all")]
        for strategy in LATER:
            assert ARMS[arm_name(dataset, size, strategy)] == dataclasses.replace(plain, strategy=strategy)
    whole = {name for name in strategies.WHOLE if name != "lp_ft"}
    assert whole == {name for name in LATER if not name.startswith(strategies.SURGICAL)}
    arm = REPORT.settings("cifar10_small_surgical_4", "paper")
    model = report.build_quadrant(arm, (32, 32, 3))
    blocks = len(LATER) - len(whole)
    assert strategies.layers_to_train(model, f"surgical_{blocks}")
    with pytest.raises(strategies.UnknownStrategyError, match=rf"surgical_1\.\.{blocks}"):
        strategies.layers_to_train(model, f"surgical_{blocks + 1}")


def test_settings_are_reduced_as_the_profile_says():
    for arm, paper in ARMS.items():
        quick, smoke = (REPORT.settings(arm, profile) for profile in ("quick", "smoke"))
        assert smoke.test_count < quick.test_count < paper.test_count
    large, small = (REPORT.settings(f"cifar10_{size}_train_all", "smoke").per_class for size in ("large", "small"))
    assert (large, small) == (4, 2)


def test_letters_and_clothes_have_a_stand_in_that_is_named():
    for name in ("letters", "fashion_mnist"):
        found = targets.target(name)
        assert (found.name, found.stand_in) == (name, True)
        assert found.source.startswith("mnist: embedded: 5,000 digits") and "(stand-in)" not in found.source
    with pytest.raises(ValueError, match="Expected a data set"):
        targets.target("kittens")


def test_data_that_have_no_grey_stand_in_are_an_error(monkeypatch):
    def refuse(name):
        raise data.DataUnavailableError(f"Expected a source. Received: {name}")

    monkeypatch.setattr(data, "load", refuse)
    with pytest.raises(data.DataUnavailableError):
        targets.target.__wrapped__("cifar10")


def test_a_draw_is_balanced_and_the_test_images_are_always_the_same():
    first, again, other = (targets.cut("cifar10", 4, 50, seed) for seed in (0, 0, 1))
    assert np.bincount(first["train"][1]).tolist() == [4] * 10
    np.testing.assert_array_equal(first["train"][0], again["train"][0])
    assert not np.array_equal(first["train"][0], other["train"][0])
    np.testing.assert_array_equal(first["test"][0], other["test"][0])
    assert len(targets.cut("cifar10", 10_000, 50, 0)["train"][0]) == 10 * 100  # no class has more


def test_grey_images_become_three_channels_of_32_pixels():
    grey = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28, 1)
    found = targets.coloured(grey)
    assert found.shape == (2, 32, 32, 3)
    np.testing.assert_array_equal(found[:, 2:30, 2:30], np.repeat(grey, 3, axis=-1))
    assert found[:, :2].max() == found[:, :, 30:].max() == 0
    colour = np.ones((1, 96, 96, 3), np.uint8)
    np.testing.assert_array_equal(targets.coloured(colour), colour)


def test_inputs_name_data_and_weights():
    found = report.inputs(ARMS["cifar10_small_train_all"])
    assert [item["name"] for item in found["weights"]] == ["tinyimagenet32"] and found["weights"][0]["stand_in"]
    found = report.inputs(ARMS["rate_1e-3"])
    assert [item["name"] for item in found["data"]] == ["mnist", "letters"]
    assert [item["name"] for item in found["weights"]] == ["tominet_letters"]


@pytest.fixture(scope="module")
def smoke_runs():
    """One run of each kind; the first one twice, with other use of the global generator before."""
    arms = ["letters_small_freeze_base", "letters_small_freeze_base", "rate_1e-1", "classifiers_fashion_mnist_few"]
    arms.append("blocks_cifar10_few")
    found = []
    for number, arm in enumerate(arms):
        keras.utils.set_random_seed(number)
        found.append(report.run(REPORT.settings(arm, "smoke"), seed=0))
    return found


def test_the_same_seed_twice_gives_the_same(smoke_runs):
    first, again, *_ = smoke_runs
    assert (first.metrics, first.history) == (again.metrics, again.history)


def test_a_strategy_returns_its_metrics_and_trains_what_it_says(smoke_runs):
    run = smoke_runs[0]
    assert set(run.metrics) == {"test_accuracy", "test_loss", "train_accuracy", "collapsed"}
    assert 0 <= run.metrics["test_accuracy"] <= 1
    assert run.details["trainable"] == {"freeze_base": 5_130}
    assert run.details["cached"] == {"freeze_base": True}
    assert run.history["phase"] == ["freeze_base"] * 2


def test_cached_evaluation_is_evaluation():
    arm = REPORT.settings("cifar10_small_freeze_base", "smoke")
    images, labels = targets.cut("cifar10", 2, 20, 0)["test"]
    model = report.build_quadrant(arm, images.shape[1:])
    for train in ("head", "all"):
        freeze(model, train)
        found = report.evaluate_cached(model, images, labels)
        assert found == pytest.approx(evaluation.evaluate(model, images, labels), rel=1e-4)


def test_a_rate_returns_what_was_gained_lost_and_moved(smoke_runs):
    metrics = smoke_runs[2].metrics
    assert {"test_accuracy", "test_loss", "source_accuracy", "source_accuracy_before"} < set(metrics)
    moved = {name: value for name, value in metrics.items() if name.startswith("moved_")}
    assert set(moved) == {f"moved_{name}" for name in ("conv_1", "batch_norm_1", "conv_2", "batch_norm_2")}
    assert min(moved.values()) > 0.1  # at 0.1 nothing stays where it was


def test_classifiers_and_blocks_have_a_metric_each(smoke_runs):
    classifiers, blocks = (run.metrics for run in smoke_runs[3:])
    wanted = {f"{kind}_{what}" for kind in CLASSIFIERS for what in ("accuracy", "parameters", "seconds")}
    assert set(classifiers) == wanted
    assert len(BLOCKS) == 9
    names = {f"{block.removesuffix('_concat')}_accuracy" for block in BLOCKS}
    assert set(blocks) == names | {"similarity", "logme"}
    assert 0 <= blocks["similarity"] <= 1


def run(arm, seed, metrics):
    return made_run(REPORT, arm, seed, metrics, details={"draw": f"{seed}", "seconds": {"head": 1.0, "main": 2.0}})


def cell(name, train_all, freeze_some, freeze_base, count=5):
    means = {"train_all": train_all, "freeze_some": freeze_some, "freeze_base": freeze_base}
    return Runs(
        run(f"{name}_{strategy}", seed, {"test_accuracy": mean + noise, "collapsed": 0.0})
        for number, (strategy, mean) in enumerate(means.items())
        for seed, noise in zip(range(count), (0.01, -0.01, 0.0, 0.005 * number, -0.005), strict=False)
    )


def test_the_advised_strategy_is_judged_against_the_better_of_the_others():
    runs = cell("cifar10_small", 0.5, 0.6, 0.7) + cell("letters_small", 0.8, 0.8, 0.6)
    runs += cell("fashion_mnist_large", 0.7, 0.9, 0.6) + cell("cifar10_large", 0.7, 0.9, 0.6, count=4)
    runs += cell("stl10_small", 0.7, 0.9, 0.6)[:10]  # one strategy was never run
    rows = claims.findings(runs)
    found = {(row["target"], row["size"]): (row["quadrant"], row["advised"], row["verdict"]) for row in rows}
    assert found == {
        ("fashion_mnist", "large"): (1, "train_all", "did not hold"),
        ("cifar10", "large"): (2, "freeze_some", "not decided: n too small"),
        ("letters", "small"): (3, "freeze_some", "not contradicted"),
        ("cifar10", "small"): (4, "freeze_base", "held"),
    }
    assert [row["quadrant"] for row in rows] == [1, 2, 3, 4]
    (row,) = [row for row in rows if (row["target"], row["size"]) == ("cifar10", "small")]
    assert row["comparison"].startswith("cifar10_small_freeze_base against cifar10_small_")
    assert row["accuracy"] == pytest.approx(0.701)
    assert row["ci_low"] <= row["difference"] <= row["ci_high"] and row["n"] == 5


def later(name, strategy, mean, count=5, noises=(0.01, -0.01, 0.002, 0.005, -0.005)):
    return Runs(
        run(f"{name}_{strategy}", seed, {"test_accuracy": mean + noise, "collapsed": 0.0})
        for seed, noise in zip(range(count), noises, strict=False)
    )


def test_later_strategies_are_judged_against_the_advised_one():
    runs = cell("cifar10_small", 0.5, 0.6, 0.7) + later("cifar10_small", "mixup", 0.8)
    runs += later("cifar10_small", "l2_sp", 0.6) + later("cifar10_small", "surgical_2", 0.9, count=2)
    runs += later("letters_small", "mixup", 0.9)  # the slides' own were never run
    rows = claims.later_rows(runs)
    found = {row["strategy"]: (row["verdict"], row["n"]) for row in rows}
    assert found == {
        "lp_ft": ("did not hold", 5),
        "l2_sp": ("did not hold", 5),
        "mixup": ("held", 5),
        "surgical_2": ("not decided: n too small", 2),
    }
    assert {(row["quadrant"], row["target"], row["size"]) for row in rows} == {(4, "cifar10", "small")}
    assert rows[2]["difference"] == pytest.approx(0.8 - 0.7, abs=0.01)
    told = claims.later_sentence(runs).splitlines()
    assert told[0] == (
        "quadrant 4 (CIFAR-10, small): mixup beat the advice; LP-FT, L2-SP did worse; "
        "block 2 alone had too few draws to say"
    )
    assert told[1].startswith("none but LP-FT was run for STL-10, small; ")


def test_the_rule_is_rewritten_by_the_best_and_those_that_are_no_worse():
    runs = cell("cifar10_small", 0.5, 0.6, 0.7) + later("cifar10_small", "mixup", 0.8)
    runs += later("cifar10_small", "layerwise", 0.801, noises=(-0.01, 0.01, 0.0, 0.0, 0.0))
    runs += later("cifar10_small", "direct", 0.99, count=1)
    runs += cell("fashion_mnist_large", 0.9, 0.7, 0.6, count=2)
    large, small = claims.rule_rows(runs)
    assert (large["quadrant"], large["best"], large["gain"], large["n"]) == (1, "train_all", 0.0, 2)
    assert (small["advised"], small["best"], small["as_good"]) == ("freeze_base", "layerwise", ["mixup"])
    assert small["strategies"] == 5  # one draw is too few to count
    assert large["as_good"] == ["freeze_some", "freeze_base"]  # two draws show nothing
    assert small["gain_ci_low"] <= small["gain"] <= small["gain_ci_high"]


def test_every_strategy_has_a_row_in_the_order_of_the_slides():
    rows = claims.strategy_rows(cell("cifar10_small", 0.5, 0.6, 0.7))
    assert [row["strategy"] for row in rows] == ["train_all", "freeze_some", "freeze_base"]
    assert [row["advised"] for row in rows] == [False, False, True]
    assert {(row["quadrant"], row["n"], row["seconds"], row["collapsed"]) for row in rows} == {(4, 5, 3.0, "0 of 5")}
    assert rows[0]["ci_low"] <= rows[0]["mean"] <= rows[0]["ci_high"]


def test_the_estimated_similarity_stands_beside_the_measured_truth():
    runs = cell("cifar10_small", 0.5, 0.8, 0.6, count=1)
    runs += Runs([run("blocks_cifar10_few", 0, {"similarity": 0.3, "logme": -0.1})])
    (row,) = claims.similarity_rows(runs)
    assert (row["target"], row["judged"], row["estimated"], row["best"]) == ("cifar10", "similar", 0.3, "freeze_some")
    assert (row["quadrant_by_estimate"], row["advised_by_estimate"]) == (3, "freeze_some")
    assert row["frozen_share"] == pytest.approx(0.61 / 0.81)
    assert claims.similarity_rows(runs[:3]) == []


def test_rates_are_averaged_over_the_seeds():
    def metrics(value):
        source = {f"source_accuracy{end}": value / 2 for end in ("", "_before", "_recalibrated")}
        return {"test_accuracy": value, **source, "moved_conv_1": 2 * value}

    rows = claims.rate_rows(Runs(run("rate_1e-3", seed, metrics(0.4 + 0.1 * seed)) for seed in range(3)))
    (row,) = rows
    assert (row["rate"], row["n"]) == (1e-3, 3)
    for name, value in {"target": 0.5, "source": 0.25, "source_before": 0.25, "moved_conv_1": 1.0}.items():
        assert row[name] == pytest.approx(value)
    assert row["target_ci_low"] <= 0.5 <= row["target_ci_high"]


def test_classifiers_and_blocks_are_listed_with_their_cost_and_the_best():
    kinds = ("fully_connected", "global_average", "linear_svm")
    values = {"accuracy": 0.5, "parameters": 10.0, "seconds": 2.0}
    one = run("classifiers_cifar10_few", 0, {f"{kind}_{name}": v for kind in kinds for name, v in values.items()})
    rows = claims.classifier_rows(Runs([one]))
    assert [(row["classifier"], row["images"], row["parameters"]) for row in rows] == [(k, "50", 10) for k in kinds]
    assert math.isnan(rows[0]["ci_low"])
    names = [block.removesuffix("_concat") for block in BLOCKS]
    accuracy = {f"{name}_accuracy": 0.9 - abs(6 - i) / 10 for i, name in enumerate(names)}
    rows = claims.block_rows(Runs([one, run("blocks_cifar10_few", 0, accuracy)]))
    assert [row["block"] for row in rows] == names and [row["position"] for row in rows] == list(range(9))
    assert [row["block"] for row in rows if row["best"]] == ["fire7"]
