"""The settings are the report's, each further arm changes what its name says, and a run depends on its seed alone."""

import dataclasses

import keras
import numpy as np
import pytest

from tlkeras.models import alexnet, vgg16
from tlkeras.reports.ants_bees import photographs
from tlkeras.reports.ants_bees import probe as ants_bees_probe
from tlkeras.reports.ants_bees import run as report
from tlkeras.transfer import freezing

TRAINED = {
    *("validation_roc_auc", "validation_accuracy", "validation_loss", "best_epoch", "last_roc_auc"),
    *("training_accuracy", "gap_loss", "training_seconds", "collapsed"),
}
PROBED = {
    *("validation_roc_auc", "validation_accuracy", "strength", "temperature"),
    *(f"{when}_{name}" for when in ("validation", "uncalibrated") for name in ("loss", "brier_error")),
    *("validation_calibration_error", "uncalibrated_calibration_error"),
}
every_arm = pytest.mark.parametrize("arm", report.ARMS)


def changes(arm, other):
    """Return the settings in which two arms differ."""
    first, second = (dataclasses.asdict(report.ARMS[name]) for name in (arm, other))
    return {name for name in first if first[name] != second[name]}


def test_the_eight_models_have_the_settings_of_the_report():
    assert len(report.FAITHFUL) == 8
    for settings in report.FAITHFUL.values():
        assert (settings.epochs, settings.batch_size, settings.drop_every, settings.keep) == (25, 4, 7, "best")
        assert settings.mirrored and not (settings.views or settings.probe)
        assert (settings.train_count, settings.validation_count, settings.width) == (244, 153, 1)
    for network in report.NETWORKS:
        full = f"{network}_full"
        assert changes(f"{network}_frozen", full) == changes(f"{network}_last", full) == {"train"}
        assert changes(f"{network}_graded", full) == {"first_rate"}


def test_reference_numbers_are_those_of_the_report():
    values = {arm: entry["value"] for (arm, metric), entry in report.REFERENCE.items() if metric == "training_seconds"}
    assert list(values) == list(report.FAITHFUL)
    assert list(values.values()) == [120] * 4 + [10 * 60, 5 * 60 + 36, 6 * 60, 10 * 60 + 17]


def test_each_of_the_further_arms_changes_what_its_name_says():
    assert changes("alexnet_frozen_244", "alexnet_frozen") == {"side"}
    assert changes("alexnet_last_1", "alexnet_last") == {"train"}
    assert changes("alexnet_full_1e-4", "alexnet_full") == {"learning_rate"}
    assert changes("alexnet_graded_1e-3", "alexnet_graded") == {"first_rate"}
    assert changes("vgg16_full_short", "vgg16_full") == {"epochs", "drop_every"}
    assert changes("vgg16_probe_10", "vgg16_probe") == {"judged"}
    assert all(settings.keep == "last" for settings in report.IMPROVED.values())  # nothing is chosen by the 153 images


def test_the_counts_of_trained_parameters_hold():
    for network, build in (("alexnet", alexnet), ("vgg16", vgg16)):
        model = build(2, weights=None)
        for (name, train), count in report.TRAINABLE.items():
            if name == network:
                assert freezing.freeze(model, train) == count


def test_244_pixels_give_the_same_features_as_224():
    assert all(
        build(2, (244, 244, 3), weights=None).get_layer("flatten").output.shape[1] == count
        for build, count in ((alexnet, 9216), (vgg16, 25088))
    )


@every_arm
def test_settings_are_reduced_as_the_profile_says(arm):
    paper, quick, smoke = (report.settings(arm, profile) for profile in ("paper", "quick", "smoke"))
    assert paper == report.ARMS[arm]
    assert smoke.train_count < quick.train_count < paper.train_count
    assert (quick.train, quick.network, quick.learning_rate) == (paper.train, paper.network, paper.learning_rate)
    assert smoke.width < quick.width == 1


def test_half_of_the_training_images_are_mirrored_and_added():
    arm = report.settings("alexnet_full", "smoke")
    images, labels = photographs.training(arm, seed=0)
    assert images.shape == (24, 72, 72, 3) and np.bincount(labels[:16]).tolist() == [8, 8]
    originals = {image.tobytes() for image in images[:16]}
    assert len({image.tobytes() for image in images}) == 24
    assert all(np.ascontiguousarray(image[:, ::-1]).tobytes() in originals for image in images[16:])
    other, _ = photographs.training(arm, seed=1)
    np.testing.assert_array_equal(other[:16], images[:16])
    assert not np.array_equal(other[16:], images[16:])


def test_validation_images_are_the_middles_and_no_training_images():
    arm = report.settings("alexnet_probe", "smoke")
    images, labels = photographs.validation(arm)
    assert images.shape == (16, 64, 64, 3) and np.bincount(labels).tolist() == [8, 8]
    train, _ = photographs.training(arm, seed=0)
    assert train.shape == (160, 64, 64, 3)
    assert not {image.tobytes() for image in images} & {image.tobytes() for image in train}


def test_the_stand_in_is_named():
    arm = report.settings("both_probe_10", "smoke")
    (item,) = report.inputs(arm)["data"]
    assert item["stand_in"] and "(stand-in)" in item["source"]
    names = [(item["name"], item["stand_in"]) for item in report.inputs(arm)["weights"]]
    assert names == [("alexnet, random", True), ("vgg16, random", True)]


def test_the_phase_is_the_reports():
    model = report.build("alexnet", report.settings("alexnet_graded", "smoke"))
    phase = report.phase(report.settings("alexnet_graded", "smoke"), model)
    assert (phase.schedule, phase.drop_every, phase.augment) == ("step", 7, True)
    assert list(phase.multipliers.values()) == pytest.approx([0.01 ** (1 - n / 5) for n in range(6)])
    assert report.phase(report.ARMS["alexnet_frozen"], model).expect == 18_434
    assert report.phase(report.ARMS["alexnet_frozen"], model).multipliers is None


def test_pooled_features_are_the_means_and_the_largest_values():
    arm = report.settings("vgg16_probe_320", "smoke")
    images, _ = photographs.validation(arm)
    plain = dataclasses.replace(arm, probe=True)
    ((flat,),) = ants_bees_probe.cached_features(images, plain, 1)
    maps = flat.reshape(len(images), -1, 32)
    (means,), (largest,) = ants_bees_probe.cached_features(images, arm, 1)
    np.testing.assert_allclose(means, maps.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(largest, maps.max(axis=1), rtol=1e-6)


@pytest.fixture(scope="module")
def smoke_runs():
    """The same run twice, with other use of the global generator before; features cached; and both networks probed."""
    found = []
    for arm, before in (("alexnet_graded", 1), ("alexnet_graded", 2), ("vgg16_views", 1), ("both_probe_10", 1)):
        keras.utils.set_random_seed(before)
        found.append(report.run(report.settings(arm, "smoke"), seed=0))
    return found


def test_the_same_seed_twice_gives_the_same(smoke_runs):
    first, again, *_ = smoke_runs
    seconds = {"training_seconds"}
    assert {k: v for k, v in first.metrics.items() if k not in seconds} == {
        k: v for k, v in again.metrics.items() if k not in seconds
    }
    assert (first.history, first.details) == (again.history, again.details)


def test_a_run_returns_every_metric_and_curve(smoke_runs):
    graded, _, views, probe = smoke_runs
    for run in (graded, views):
        assert set(run.metrics) == TRAINED
        assert len(run.history["val_roc_auc"]) == 2
        assert np.shape(run.details["log_odds"]) == (2, 16) and len(run.details["labels"]) == 16
        assert 0 <= run.metrics["validation_roc_auc"] <= 1
    best = int(graded.metrics["best_epoch"]) - 1
    assert graded.metrics["validation_accuracy"] == max(graded.history["val_accuracy"]) or best == 0
    assert [run.details["cached"] for run in (graded, views)] == [{"main": False}, {"main": True}]
    assert views.metrics["best_epoch"] == 2
    assert set(probe.metrics) == PROBED
    assert np.shape(probe.details["log_odds"]) == (1, 16)


def test_the_log_odds_give_the_metrics_again(smoke_runs):
    from tlkeras.experiments import stats

    run = smoke_runs[0]
    odds, labels = np.array(run.details["log_odds"]), np.array(run.details["labels"])
    best = int(run.metrics["best_epoch"]) - 1
    assert stats.accuracy(labels, odds[best]) == pytest.approx(run.metrics["validation_accuracy"], abs=1e-6)
    assert stats.roc_auc_of(labels, odds[best]) == pytest.approx(run.metrics["validation_roc_auc"], abs=0.02)


def test_one_class_to_validate_leaves_the_area_out(monkeypatch):
    from tlkeras.transfer.evaluation import UndefinedMetricWarning

    validation = photographs.validation

    def one_class(arm, count=1):
        images, labels = validation(arm, count)
        return images, np.zeros_like(labels)

    monkeypatch.setattr(photographs, "validation", one_class)
    arm = dataclasses.replace(report.settings("alexnet_frozen", "smoke"), epochs=1)
    with pytest.warns(UndefinedMetricWarning, match="val_roc_auc"):
        result = report.run(arm, seed=0)
    assert set(result.metrics) == TRAINED - {"validation_roc_auc", "last_roc_auc"}
    assert result.history["val_roc_auc"] == [None]
    probed = report.run(report.settings("alexnet_probe", "smoke"), seed=0)
    assert set(probed.metrics) == PROBED - {"validation_roc_auc"}
