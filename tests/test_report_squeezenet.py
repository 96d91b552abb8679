"""The settings are the report's, each further arm changes what its name says, and a run depends on its seed alone."""

import dataclasses
import types

import keras
import numpy as np
import pytest

from tlkeras.models import records, weights
from tlkeras.models.squeezenet import STAND_IN
from tlkeras.reports.squeezenet import run as report

METRICS = {"test_accuracy", "test_loss", "validation_accuracy", "best_epoch", "collapsed"}
every_arm = pytest.mark.parametrize("arm", report.ARMS)


@pytest.fixture
def no_imagenet(monkeypatch):
    """Without a network and without the published weights; forget what other tests found."""

    def refuse(name):
        raise records.WeightsUnavailableError(f"Expected a source. Received: {name}")

    report.pretrained.cache_clear()
    monkeypatch.setattr(records, "fetch", refuse)
    yield
    report.pretrained.cache_clear()


def changes(arm, other):
    """Return the settings in which two arms differ."""
    first, second = (dataclasses.asdict(report.ARMS[name]) for name in (arm, other))
    return {name for name in first if first[name] != second[name]}


def test_reference_numbers_are_those_of_the_report():
    values = {key: entry["value"] for key, entry in report.REFERENCE.items()}
    assert values == {
        **{("head", "test_accuracy"): 0.384, ("head", "test_loss"): 1.733},
        **{("fire8_up", "test_accuracy"): 0.494, ("fire8_up", "test_loss"): 1.485},
        **{("all", "test_accuracy"): 0.677, ("all", "test_loss"): 1.085},
    }


def test_the_faithful_arms_have_the_settings_of_the_report():
    assert [report.TRAINABLE[report.ARMS[arm].train] for arm in report.FAITHFUL] == [5_130, 391_306, 727_626]
    for settings in report.FAITHFUL.values():
        assert (settings.train_count, settings.validation_count, settings.test_count) == (40_000, 10_000, 10_000)
        assert (settings.batch_size, settings.resolution, settings.weights) == (32, 32, "imagenet")
        assert not (settings.augment or settings.head_relu or settings.head_epochs or settings.pool_first)


def test_each_of_the_further_arms_changes_one_thing():
    assert changes("scratch_1e-3", "all") == {"weights"}
    assert all(changes(f"{arm}_no_dropout", arm) == {"dropout"} for arm in report.FAITHFUL)
    assert changes("all_4_epochs", "all") == {"epochs"}
    assert changes("head_relu", "head") == {"head_relu"}
    for arm in ("head", "fire8_up", "all"):
        assert changes(f"{arm}_caffe_1e-3", arm) == {"preprocessing"}
    for arm in ("fire8_up", "all"):
        assert changes(f"{arm}_caffe_3e-4", f"{arm}_caffe_1e-3") == {"learning_rate"}


def test_the_improved_heads_train_no_more_parameters_than_the_reports():
    for arm in ("head_96", "head_160", "head_224"):
        (phase,) = report.phases(report.ARMS[arm])
        assert phase.expect == 5_130


@every_arm
def test_settings_are_reduced_as_the_profile_says(arm):
    paper, quick, smoke = (report.settings(arm, profile) for profile in ("paper", "quick", "smoke"))
    assert paper == report.ARMS[arm]
    assert smoke.train_count < quick.train_count < paper.train_count
    assert smoke.resolution == quick.resolution == 32
    assert (quick.train, quick.preprocessing, quick.weights) == (paper.train, paper.preprocessing, paper.weights)


def test_no_image_is_in_two_parts(monkeypatch):
    numbered = np.arange(70, dtype=np.uint8)
    made = types.SimpleNamespace(
        x_train=numbered[:60], y_train=numbered[:60], x_test=numbered[60:], y_test=numbered[60:]
    )
    monkeypatch.setattr(report, "images", lambda: made)
    for settings in (
        report.settings("head", "paper"),
        report.Settings(train_count=5, validation_count=4, test_count=3),
    ):
        cut = report.parts(settings)
        parts = [set(images.tolist()) for images, _ in cut.values()]
        assert sum(map(len, parts)) == len(set.union(*parts))
        assert all((images == labels).all() for images, labels in cut.values())
    assert [len(part) for part in parts] == [5, 4, 3]


def test_the_stand_in_is_used_and_named_where_imagenet_is_not_to_be_had(no_imagenet):
    (item,) = report.inputs(report.ARMS["head"])["weights"]
    assert (item["name"], item["stand_in"]) == ("tinyimagenet32", True)
    assert report.inputs(report.ARMS["scratch_1e-3"])["weights"] == []
    file = weights.read(weights.PRETRAINED / f"{STAND_IN}.npz")
    built = weights.tensor_names(report.build(report.ARMS["head"]))
    for name, variable in built.items():
        if not name.startswith("conv10/"):
            np.testing.assert_array_equal(np.asarray(variable), file[name].astype(np.float32))


def test_the_stand_in_is_small_and_has_a_record():
    record = weights.record(STAND_IN)
    assert (weights.PRETRAINED / record["file"]).stat().st_size < 1.6e6
    assert (record["parameters"], record["preprocessing"]) == (722_496, "caffe")
    assert record["data"]["stand_in"] is False


@pytest.fixture(scope="module")
def smoke_runs():
    """The same run twice, with other use of the global generator before; and one of two phases, augmented."""
    found = []
    for arm, before in (("fire8_up", 1), ("fire8_up", 2), ("all_96", 1)):
        keras.utils.set_random_seed(before)
        settings = dataclasses.replace(report.settings(arm, "smoke"), head_epochs=report.ARMS[arm].head_epochs and 1)
        found.append(report.run(settings, seed=0))
    return found


def test_the_same_seed_twice_gives_the_same(smoke_runs):
    first, again, _ = smoke_runs
    assert (first.metrics, first.history) == (again.metrics, again.history)


def test_a_run_returns_every_metric_and_curve(smoke_runs):
    assert [run.history["phase"] for run in smoke_runs] == [["main"], ["main"], ["head", "main"]]
    for run in smoke_runs:
        assert set(run.metrics) == METRICS
        assert 0 <= run.metrics["test_accuracy"] <= 1
        assert run.metrics["best_epoch"] == len(run.history["phase"])
    assert smoke_runs[0].details["trainable"] == {"main": 391_306}
    assert smoke_runs[2].details["cached"] == {"head": True, "main": False}
