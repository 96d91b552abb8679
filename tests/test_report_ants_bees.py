"""The settings are the report's, each further arm changes what its name says, and a run depends on its seed alone."""

import dataclasses

import keras
import numpy as np
import pytest
from helpers import made_run

from tlkeras.experiments.runs import Runs
from tlkeras.models import alexnet, vgg16
from tlkeras.reports.ants_bees import claims, photographs
from tlkeras.reports.ants_bees import run as report
from tlkeras.reports.ants_bees.settings import ARMS, FAITHFUL, IMPROVED, NETWORKS, REFERENCE, REPORT, TRAINABLE
from tlkeras.transfer import evaluation, freezing
from tlkeras.transfer.evaluation import UndefinedMetricWarning

TRAINED = {
    *("validation_roc_auc", "validation_accuracy", "validation_loss", "best_epoch", "last_roc_auc"),
    *("training_accuracy", "gap_loss", "training_seconds", "collapsed"),
}
PROBED = {
    *("validation_roc_auc", "validation_accuracy", "strength", "temperature"),
    *(f"{when}_{name}" for when in ("validation", "uncalibrated") for name in ("loss", "brier_error")),
    *("validation_calibration_error", "uncalibrated_calibration_error"),
}


def changes(arm, other):
    """Return the settings in which two arms differ."""
    first, second = (dataclasses.asdict(ARMS[name]) for name in (arm, other))
    return {name for name in first if first[name] != second[name]}


def test_the_eight_models_have_the_settings_of_the_report():
    assert len(FAITHFUL) == 8
    for settings in FAITHFUL.values():
        assert (settings.epochs, settings.batch_size, settings.drop_every, settings.keep) == (25, 4, 7, "best")
        assert settings.mirrored and not (settings.views or settings.probe)
        assert (settings.train_count, settings.validation_count, settings.width) == (244, 153, 1)
    for network in NETWORKS:
        full = f"{network}_full"
        assert changes(f"{network}_frozen", full) == changes(f"{network}_last", full) == {"train"}
        assert changes(f"{network}_graded", full) == {"first_rate"}


def test_reference_numbers_are_those_of_the_report():
    values = {arm: entry["value"] for (arm, metric), entry in REFERENCE.items() if metric == "training_seconds"}
    assert list(values) == list(FAITHFUL)
    assert list(values.values()) == [120] * 4 + [10 * 60, 5 * 60 + 36, 6 * 60, 10 * 60 + 17]


def test_each_of_the_further_arms_changes_what_its_name_says():
    assert changes("alexnet_frozen_244", "alexnet_frozen") == {"side"}
    assert changes("alexnet_last_1", "alexnet_last") == {"train"}
    assert changes("alexnet_full_1e-4", "alexnet_full") == {"learning_rate"}
    assert changes("alexnet_graded_1e-3", "alexnet_graded") == {"first_rate"}
    assert changes("vgg16_full_short", "vgg16_full") == {"epochs", "drop_every"}
    assert changes("vgg16_probe_10", "vgg16_probe") == {"judged"}
    assert all(settings.keep == "last" for settings in IMPROVED.values())  # nothing is chosen by the 153 images


def test_the_counts_of_trained_parameters_hold():
    for network, build in (("alexnet", alexnet), ("vgg16", vgg16)):
        model = build(2, weights=None)
        for (name, train), count in TRAINABLE.items():
            if name == network:
                assert freezing.freeze(model, train) == count


def test_244_pixels_give_the_same_features_as_224():
    assert all(
        build(2, (244, 244, 3), weights=None).get_layer("flatten").output.shape[1] == count
        for build, count in ((alexnet, 9216), (vgg16, 25088))
    )


def test_settings_are_reduced_as_the_profile_says():
    for arm, paper in ARMS.items():
        quick, smoke = (REPORT.settings(arm, profile) for profile in ("quick", "smoke"))
        assert smoke.train_count < quick.train_count < paper.train_count
        assert (quick.train, quick.network, quick.learning_rate) == (paper.train, paper.network, paper.learning_rate)
        assert smoke.width < quick.width == 1


def test_half_of_the_training_images_are_mirrored_and_added():
    arm = REPORT.settings("alexnet_full", "smoke")
    images, labels = photographs.training(arm, seed=0)
    assert images.shape == (24, 72, 72, 3) and np.bincount(labels[:16]).tolist() == [8, 8]
    originals = {image.tobytes() for image in images[:16]}
    assert len({image.tobytes() for image in images}) == 24
    assert all(np.ascontiguousarray(image[:, ::-1]).tobytes() in originals for image in images[16:])
    other, _ = photographs.training(arm, seed=1)
    np.testing.assert_array_equal(other[:16], images[:16])
    assert not np.array_equal(other[16:], images[16:])


def test_validation_images_are_the_middles_and_no_training_images():
    arm = REPORT.settings("alexnet_probe", "smoke")
    images, labels = photographs.validation(arm)
    assert images.shape == (16, 64, 64, 3) and np.bincount(labels).tolist() == [8, 8]
    train, _ = photographs.training(arm, seed=0)
    assert train.shape == (160, 64, 64, 3)
    assert not {image.tobytes() for image in images} & {image.tobytes() for image in train}


def test_the_stand_in_is_named():
    arm = REPORT.settings("both_probe_10", "smoke")
    (item,) = report.inputs(arm)["data"]
    assert item["stand_in"] and "(stand-in)" in item["source"]
    names = [(item["name"], item["stand_in"]) for item in report.inputs(arm)["weights"]]
    assert names == [("alexnet, random", True), ("vgg16, random", True)]


def test_the_phase_is_the_reports():
    model = report.build("alexnet", REPORT.settings("alexnet_graded", "smoke"))
    phase = report.phase(REPORT.settings("alexnet_graded", "smoke"), model)
    assert (phase.schedule, phase.drop_every, phase.augment) == ("step", 7, True)
    assert list(phase.multipliers.values()) == pytest.approx([0.01 ** (1 - n / 5) for n in range(6)])
    assert report.phase(ARMS["alexnet_frozen"], model).expect == 18_434
    assert report.phase(ARMS["alexnet_frozen"], model).multipliers is None


def test_pooled_features_are_the_means_and_the_largest_values():
    arm = REPORT.settings("vgg16_probe_320", "smoke")
    images, _ = photographs.validation(arm)
    plain = dataclasses.replace(arm, probe=True)
    ((flat,),) = report.cached_features(images, plain, 1)
    maps = flat.reshape(len(images), -1, 32)
    (means,), (largest,) = report.cached_features(images, arm, 1)
    np.testing.assert_allclose(means, maps.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(largest, maps.max(axis=1), rtol=1e-6)


@pytest.fixture(scope="module")
def smoke_runs():
    """The same run twice, with other use of the global generator before; features cached; and both networks probed."""
    found = []
    for arm, before in (("alexnet_graded", 1), ("alexnet_graded", 2), ("vgg16_views", 1), ("both_probe_10", 1)):
        keras.utils.set_random_seed(before)
        found.append(report.run(REPORT.settings(arm, "smoke"), seed=0))
    return found


def test_the_same_seed_twice_gives_the_same(smoke_runs):
    first, again, *_ = smoke_runs
    seconds = {"training_seconds"}
    assert {k: v for k, v in first.metrics.items() if k not in seconds} == {
        k: v for k, v in again.metrics.items() if k not in seconds
    }
    assert (first.history, first.details) == (again.history, again.details)


def test_a_run_returns_every_metric_and_curve(smoke_runs):
    graded, _, views, probed = smoke_runs
    for run in (graded, views):
        assert set(run.metrics) == TRAINED
        assert len(run.history["val_roc_auc"]) == 2
        assert np.shape(run.details["log_odds"]) == (2, 16) and len(run.details["labels"]) == 16
        assert 0 <= run.metrics["validation_roc_auc"] <= 1
    best = int(graded.metrics["best_epoch"]) - 1
    assert graded.metrics["validation_accuracy"] == max(graded.history["val_accuracy"]) or best == 0
    assert [run.details["cached"] for run in (graded, views)] == [{"main": False}, {"main": True}]
    assert views.metrics["best_epoch"] == 2
    assert set(probed.metrics) == PROBED
    assert np.shape(probed.details["log_odds"]) == (1, 16)


def test_the_log_odds_give_the_metrics_again(smoke_runs):
    run = smoke_runs[0]
    odds, labels = np.array(run.details["log_odds"]), np.array(run.details["labels"])
    best = int(run.metrics["best_epoch"]) - 1
    assert np.mean((odds[best] > 0) == labels) == pytest.approx(run.metrics["validation_accuracy"], abs=1e-6)
    assert evaluation.roc_auc(labels, odds[best]) == pytest.approx(run.metrics["validation_roc_auc"], abs=0.02)


def test_one_class_to_validate_leaves_the_area_out(monkeypatch):
    validation = photographs.validation

    def one_class(arm, count=1):
        images, labels = validation(arm, count)
        return images, np.zeros_like(labels)

    monkeypatch.setattr(photographs, "validation", one_class)
    arm = dataclasses.replace(REPORT.settings("alexnet_frozen", "smoke"), epochs=1)
    with pytest.warns(UndefinedMetricWarning, match="val_roc_auc"):
        result = report.run(arm, seed=0)
    assert set(result.metrics) == TRAINED - {"validation_roc_auc", "last_roc_auc"}
    assert result.history["val_roc_auc"] == [None]
    probed = report.run(REPORT.settings("alexnet_probe", "smoke"), seed=0)
    assert set(probed.metrics) == PROBED - {"validation_roc_auc"}


LABELS = [0, 1] * 10


def run(arm, seed, auc, *, gap=0.1, seconds=100.0, epochs=3):
    odds = np.random.default_rng(seed).normal(2 * np.array(LABELS) - 1, 1, (epochs, len(LABELS)))
    metrics = {"validation_roc_auc": auc, "gap_loss": gap, "training_seconds": seconds, "best_epoch": 1}
    details = {"log_odds": odds.round(3).tolist(), "labels": LABELS}
    return made_run(REPORT, arm, seed, metrics, changes={"epochs": epochs}, details=details)


UNDECIDED = "not decided: n too small"
WAYS = {
    "full": (0.90, 0.5, 900.0),
    "frozen": (0.96, 0.1, 300.0),
    "last": (0.93, 0.4, 330.0),
    "graded": (0.95, 0.2, 890),
}


def study(count=5, changes=None, arms=FAITHFUL):
    values = {f"{network}_{way}": numbers for network in NETWORKS for way, numbers in WAYS.items()}
    values |= changes or {}
    return Runs(
        run(arm, seed, auc + seed / 1000, gap=gap + seed / 1000, seconds=seconds + seed)
        for arm, (auc, gap, seconds) in values.items()
        for seed in range(count)
        if arm in arms
    )


def verdicts(runs):
    return [row["verdict"] for row in claims.findings(runs)]


def test_five_conclusions_hold_where_the_runs_say_so():
    rows = claims.findings(study())
    assert [row["claim"] for row in rows] == [claim.text for claim in claims.CLAIMS] and len(rows) == 5
    assert [row["verdict"] for row in rows] == ["held"] * 5
    assert all(row["p_adjusted"] < 0.05 and row["n"] == 5 for row in rows)


def test_one_comparison_the_other_way_and_a_conclusion_did_not_hold():
    rows = claims.findings(study(changes={"alexnet_last": (0.99, 0.05, 330.0)}))
    assert [row["verdict"] for row in rows] == ["did not hold", *["held"] * 4]
    assert rows[0]["comparison"].startswith("alexnet_frozen against alexnet_last")


def test_no_difference_is_not_shown():
    assert verdicts(study(changes={"alexnet_graded": WAYS["full"]}))[1] == "not contradicted"


def test_few_runs_do_not_decide_and_missing_ones_are_said():
    assert verdicts(study(count=3)) == [UNDECIDED] * 5
    assert verdicts(study(arms=("alexnet_full", "alexnet_frozen", "alexnet_graded"))) == [
        UNDECIDED,
        "held",
        *[UNDECIDED] * 3,
    ]
    assert verdicts(Runs()) == [UNDECIDED] * 5


def test_short_trainings_stand_in_where_an_arm_was_not_run_and_are_named():
    arms = [arm for arm in FAITHFUL if arm != "vgg16_full"]
    short = Runs(
        run(f"vgg16_{way}_short", seed, auc + seed / 1000, gap=gap, seconds=seconds + seed)
        for way, (auc, gap, seconds) in WAYS.items()
        for seed in range(5)
    )
    rows = claims.findings(study(arms=arms) + short)
    assert [row["verdict"] for row in rows] == ["held"] * 5
    assert rows[2]["comparison"].startswith("vgg16_frozen_short against vgg16_full_short")
    assert verdicts(study(arms=arms)) == ["held", "held", *[UNDECIDED] * 3]
    assert claims.times(short)[4]["n"] == 5


def test_times_are_put_beside_the_reports():
    runs = study() + Runs([run("vgg16_full_short", 0, 0.9)])  # not taken: the whole training is there
    rows = {(row["network"], row["way"]): row for row in claims.times(runs)}
    assert len(rows) == 8
    frozen = rows["vgg16", "frozen"]
    assert (frozen["reported"], frozen["reported_relative"], frozen["n"]) == (336, 0.56, 5)
    assert frozen["relative"] == pytest.approx(302 / 902)
    assert claims.times(Runs())[0]["relative"] is None
    busy = Runs([dataclasses.replace(run("vgg16_frozen", 9, 0.9), threads=1)])  # full training has no run like it
    rows = {(row["network"], row["way"]): row for row in claims.times(runs + busy)}
    assert rows["vgg16", "frozen"]["n"] == 5 and rows["vgg16", "frozen"]["relative"] == pytest.approx(302 / 902)


def test_optimism_is_a_mean_over_the_runs_that_chose():
    runs = study(count=2, arms=("alexnet_full",)) + Runs([run("alexnet_views", 0, 0.9)])
    (row,) = claims.optimism(runs, "accuracy")
    assert (row["arm"], row["n"]) == ("alexnet_full", 2)
    assert row["corrected"] == pytest.approx(row["reported"] - row["optimism"])
    broken = run("alexnet_last", 0, 0.5)
    broken.details["log_odds"][0][0] = float("nan")
    assert claims.optimism(Runs([broken])) == []


def test_the_hardest_images_are_those_that_most_runs_miss():
    runs = study(count=3, arms=("alexnet_full",))
    for own in runs:
        own.details["log_odds"][0] = [1.0 if label else -1.0 for label in LABELS]
    runs[0].details["log_odds"][0][4] = 3.0
    for own in runs[:2]:
        own.details["log_odds"][0][7] = -2.0
    rows = claims.hardest(runs, 2)
    assert [(row["image"], row["label"], round(row["missed"], 2)) for row in rows] == [(7, 1, 0.67), (4, 0, 0.33)]
    assert rows[0]["log_odds"] == -2.0


def test_arms_are_scored_without_the_images_that_their_network_has_seen():
    runs = study(count=2, arms=("alexnet_full",))
    for own in runs:
        own.details["log_odds"][0] = [1.0 if label else -1.0 for label in LABELS]
        own.details["log_odds"][0][4] = 3.0  # no bee, and surest of all to be one
    (row,) = claims.without_seen(runs, [4])
    assert row["all"] < row["without"] == 1.0
    assert (row["arm"], row["seen"], row["n"]) == ("alexnet_full", "1", 2)
    assert claims.without_seen(runs, [])[0]["without"] == row["all"]
