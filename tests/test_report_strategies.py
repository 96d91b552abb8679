"""Every arm is one cell of the plan, stand-ins are named, and a run depends on its seed alone."""

import dataclasses

import keras
import numpy as np
import pytest

from tlkeras import data
from tlkeras.models import records
from tlkeras.reports.squeezenet import run as squeezenet
from tlkeras.reports.strategies import features as strategies_features
from tlkeras.reports.strategies import quadrants as strategies_quadrants
from tlkeras.reports.strategies import rates as strategies_rates
from tlkeras.reports.strategies import run as report
from tlkeras.reports.strategies import targets as strategies_data
from tlkeras.transfer import strategies
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
    arms = {(arm.dataset, arm.per_class, arm.strategy) for arm in strategies_quadrants.ARMS.values()}
    small = {(name, 50) for name in ("cifar10", "stl10", "fashion_mnist", "letters")}
    large = {("cifar10", 2_000), ("fashion_mnist", 2_000)}
    assert arms == {(*cell, strategy) for cell in small | large for strategy in strategies.STRATEGIES}
    assert strategies_quadrants.STRATEGIES == strategies.STRATEGIES


def test_arms_of_a_cell_differ_in_the_strategy_alone():
    for dataset, size in strategies_quadrants.CELLS:
        names = [strategies_quadrants.arm_name(dataset, size, strategy) for strategy in strategies.STRATEGIES]
        plain = {dataclasses.replace(report.ARMS[name], strategy="") for name in names}
        assert len(plain) == 1


def test_rates_reach_from_1e_5_to_1e_1():
    rates = [arm.learning_rate for arm in strategies_rates.ARMS.values()]
    assert rates == sorted(rates) and (rates[0], rates[-1]) == (1e-5, 1e-1)
    assert len({dataclasses.replace(arm, learning_rate=0.0) for arm in strategies_rates.ARMS.values()}) == 1


def test_arms_with_thousands_of_images_have_fewer_seeds():
    counts = {arm: report.arm_seeds(arm, "paper") for arm in report.ARMS}
    assert {counts[arm] for arm in counts if "_large_" in arm or arm.endswith("_many")} == {2}
    assert {counts[arm] for arm in counts if "_small_" in arm or arm.endswith("_few") or "rate" in arm} == {5}
    assert {report.arm_seeds(arm, "smoke") for arm in report.ARMS} == {report.seeds("smoke")} == {1}


@pytest.mark.parametrize("arm", report.ARMS)
def test_settings_are_reduced_as_the_profile_says(arm):
    paper, quick, smoke = (report.settings(arm, profile) for profile in ("paper", "quick", "smoke"))
    assert paper == report.ARMS[arm]
    assert smoke.test_count < quick.test_count < paper.test_count
    assert type(paper) is type(quick) is type(smoke)


def test_letters_and_clothes_have_a_stand_in_that_is_named():
    for name in ("letters", "fashion_mnist"):
        found = strategies_data.target(name)
        assert (found.name, found.stand_in) == (name, True)
        assert found.source.startswith("mnist: embedded: 5,000 digits") and "(stand-in)" not in found.source
    with pytest.raises(ValueError, match="Expected a data set"):
        strategies_data.target("kittens")


def test_data_that_have_no_grey_stand_in_are_an_error(monkeypatch):
    def refuse(name):
        raise data.DataUnavailableError(f"Expected a source. Received: {name}")

    monkeypatch.setattr(data, "load", refuse)
    with pytest.raises(data.DataUnavailableError):
        strategies_data.target.__wrapped__("cifar10")


def test_a_draw_is_balanced_and_the_test_images_are_always_the_same():
    first, again, other = (strategies_data.cut("cifar10", 4, 50, seed) for seed in (0, 0, 1))
    assert np.bincount(first["train"][1]).tolist() == [4] * 10
    np.testing.assert_array_equal(first["train"][0], again["train"][0])
    assert not np.array_equal(first["train"][0], other["train"][0])
    np.testing.assert_array_equal(first["test"][0], other["test"][0])
    assert len(strategies_data.cut("cifar10", 10_000, 50, 0)["train"][0]) == 10 * 100  # no class has more


def test_grey_images_become_three_channels_of_32_pixels():
    grey = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28, 1)
    found = strategies_data.coloured(grey)
    assert found.shape == (2, 32, 32, 3)
    np.testing.assert_array_equal(found[:, 2:30, 2:30], np.repeat(grey, 3, axis=-1))
    assert found[:, :2].max() == found[:, :, 30:].max() == 0
    colour = np.ones((1, 96, 96, 3), np.uint8)
    np.testing.assert_array_equal(strategies_data.coloured(colour), colour)


def test_inputs_name_data_and_weights():
    found = report.inputs(report.ARMS["cifar10_small_train_all"])
    assert [item["name"] for item in found["weights"]] == ["tinyimagenet32"] and found["weights"][0]["stand_in"]
    found = report.inputs(report.ARMS["rate_1e-3"])
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
        found.append(report.run(report.settings(arm, "smoke"), seed=0))
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
    from tlkeras.transfer import evaluation, freeze

    arm = report.settings("cifar10_small_freeze_base", "smoke")
    images, labels = strategies_data.cut("cifar10", 2, 20, 0)["test"]
    model = strategies_quadrants.build(arm, images.shape[1:])
    for train in ("head", "all"):
        freeze(model, train)
        found = strategies_quadrants.evaluate_cached(model, images, labels)
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
    assert len(strategies_features.BLOCKS) == 9
    names = {f"{block.removesuffix('_concat')}_accuracy" for block in strategies_features.BLOCKS}
    assert set(blocks) == names | {"similarity", "logme"}
    assert 0 <= blocks["similarity"] <= 1
