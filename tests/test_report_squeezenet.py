"""The settings are the report's, each further arm changes what its name says, and a run depends on its seed alone."""

import dataclasses
import types

import keras
import numpy as np
import pytest
from helpers import made_run

from tlkeras.experiments.runs import Runs
from tlkeras.models import records, weights
from tlkeras.reports.squeezenet import claims
from tlkeras.reports.squeezenet import run as report
from tlkeras.reports.squeezenet.settings import ARMS, FAITHFUL, REFERENCE, REPORT, TRAINABLE, Settings

METRICS = {"test_accuracy", "test_loss", "validation_accuracy", "best_epoch", "collapsed"}


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
    first, second = (dataclasses.asdict(ARMS[name]) for name in (arm, other))
    return {name for name in first if first[name] != second[name]}


def test_reference_numbers_are_those_of_the_report():
    values = {key: entry["value"] for key, entry in REFERENCE.items()}
    assert values == {
        **{("head", "test_accuracy"): 0.384, ("head", "test_loss"): 1.733},
        **{("fire8_up", "test_accuracy"): 0.494, ("fire8_up", "test_loss"): 1.485},
        **{("all", "test_accuracy"): 0.677, ("all", "test_loss"): 1.085},
    }


def test_the_faithful_arms_have_the_settings_of_the_report():
    assert [TRAINABLE[ARMS[arm].train] for arm in FAITHFUL] == [5_130, 391_306, 727_626]
    for settings in FAITHFUL.values():
        assert (settings.train_count, settings.validation_count, settings.test_count) == (40_000, 10_000, 10_000)
        assert (settings.batch_size, settings.resolution, settings.weights) == (32, 32, "imagenet")
        assert not (settings.augment or settings.head_relu or settings.head_epochs or settings.pool_first)


def test_each_of_the_further_arms_changes_one_thing():
    assert changes("scratch_1e-3", "all") == {"weights"}
    assert all(changes(f"{arm}_no_dropout", arm) == {"dropout"} for arm in FAITHFUL)
    assert changes("all_4_epochs", "all") == {"epochs"}
    assert changes("head_relu", "head") == {"head_relu"}
    for arm in ("head", "fire8_up", "all"):
        assert changes(f"{arm}_caffe_1e-3", arm) == {"preprocessing"}
    for arm in ("fire8_up", "all"):
        assert changes(f"{arm}_caffe_3e-4", f"{arm}_caffe_1e-3") == {"learning_rate"}


def test_the_improved_heads_train_no_more_parameters_than_the_reports():
    for arm in ("head_96", "head_160", "head_224"):
        (phase,) = report.phases(ARMS[arm])
        assert phase.expect == 5_130


def test_settings_are_reduced_as_the_profile_says():
    for arm, paper in ARMS.items():
        quick, smoke = (REPORT.settings(arm, profile) for profile in ("quick", "smoke"))
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
        REPORT.settings("head", "paper"),
        Settings(train_count=5, validation_count=4, test_count=3),
    ):
        cut = report.parts(settings)
        parts = [set(images.tolist()) for images, _ in cut.values()]
        assert sum(map(len, parts)) == len(set.union(*parts))
        assert all((images == labels).all() for images, labels in cut.values())
    assert [len(part) for part in parts] == [5, 4, 3]


def test_the_stand_in_is_used_and_named_where_imagenet_is_not_to_be_had(no_imagenet):
    (item,) = report.inputs(ARMS["head"])["weights"]
    assert (item["name"], item["stand_in"]) == ("tinyimagenet32", True)
    assert report.inputs(ARMS["scratch_1e-3"])["weights"] == []
    file = weights.read(weights.PRETRAINED / "squeezenet_tinyimagenet32.npz")
    built = weights.tensor_names(report.build(ARMS["head"]))
    for name, variable in built.items():
        if not name.startswith("conv10/"):
            np.testing.assert_array_equal(np.asarray(variable), file[name].astype(np.float32))


def test_the_stand_in_is_small_and_has_a_record():
    record = weights.record("squeezenet_tinyimagenet32")
    assert (weights.PRETRAINED / record["file"]).stat().st_size < 1.6e6
    assert (record["parameters"], record["preprocessing"]) == (722_496, "caffe")
    assert record["data"]["stand_in"] is False


@pytest.fixture(scope="module")
def smoke_runs():
    """The same run twice, with other use of the global generator before; and one of two phases, augmented."""
    found = []
    for arm, before in (("fire8_up", 1), ("fire8_up", 2), ("all_96", 1)):
        keras.utils.set_random_seed(before)
        settings = dataclasses.replace(REPORT.settings(arm, "smoke"), head_epochs=ARMS[arm].head_epochs and 1)
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


def run(arm, seed, accuracy, *, collapsed=0.0, phases=("main",), cached=None, seconds=3.0, **changes):
    return made_run(
        REPORT,
        arm,
        seed,
        {"test_accuracy": accuracy, "collapsed": collapsed},
        changes=changes,
        history={"phase": list(phases)},
        details={"cached": cached or {"main": True}, "seconds": {"main": seconds}},
    )


def study(head, some, whole, count=5):
    found = {"head": head, "fire8_up": some, "all": whole}
    return Runs(run(arm, seed, value + seed / 1000) for arm, value in found.items() for seed in range(count))


def test_more_trained_parameters_are_better_or_not_as_the_runs_say():
    assert [row["verdict"] for row in claims.findings(study(0.4, 0.5, 0.7))] == ["held", "held"]
    assert [row["verdict"] for row in claims.findings(study(0.4, 0.3, 0.3))] == ["did not hold", "not contradicted"]
    assert [row["verdict"] for row in claims.findings(study(0.4, 0.5, 0.7, count=3))] == [
        "not decided: n too small"
    ] * 2


def test_collapsed_runs_are_counted_for_each_rate():
    runs = [run("all", 0, 0.7), run("all_caffe_1e-3", 0, 0.1, collapsed=1.0), run("all_caffe_1e-3", 1, 0.5)]
    runs.append(run("scratch_1e-3", 0, 0.1, collapsed=1.0))
    rows = claims.collapses(Runs(runs))
    assert [(row["arm"], row["learning_rate"], row["preprocessing"], row["collapsed"]) for row in rows] == [
        ("all", "0.001", "unit", "0 of 1"),
        ("all_caffe_1e-3", "0.001", "caffe", "1 of 2"),
        ("scratch_1e-3", "0.001", "unit", "1 of 1"),
    ]
    assert rows[1]["test_accuracy"] == pytest.approx(0.3)


def test_costs_grow_with_what_is_trained_and_with_the_epochs_that_were():
    small = {"train_count": 100}
    head = run("head", 0, 0.4, phases=["main"] * 4, **small)
    again = run("head", 1, 0.4, phases=["main"] * 8, **small)
    whole = run("all", 0, 0.7, phases=["main"] * 4, cached={"main": False}, **small)
    assert report.flops(head) < report.flops(again) < 1.1 * report.flops(head)
    assert report.flops(whole) > 10 * report.flops(head)
    two = run("all_96", 0, 0.8, phases=["head", "main"], cached={"head": True, "main": False}, **small)
    one = run("all_96", 0, 0.8, phases=["main"], cached={"main": False}, **small)
    assert report.flops(two) > report.flops(one)
    rows = report.costs(Runs([head, again, whole]), ["head", "all", "all_96"])
    assert [(row["arm"], row["trained"], row["n"], row["seconds"]) for row in rows] == [
        ("head", 5_130, 2, 3.0),
        ("all", 727_626, 1, 3.0),
    ]


def test_the_first_run_pays_for_features_that_are_cached_and_the_fastest_stands_for_the_others():
    seconds = {("head", 0): 90.0, ("head", 1): 10.0, ("all", 0): 90.0, ("all", 1): 70.0}
    runs = [run(arm, seed, 0.5, cached={"main": arm == "head"}, seconds=s) for (arm, seed), s in seconds.items()]
    rows = report.costs(Runs(runs[::-1]), ["head", "all"])
    assert [(row["arm"], row["seconds"]) for row in rows] == [("head", 90.0), ("all", 70.0)]


def test_patience_ends_where_nothing_got_better_and_keeps_the_best_until_then():
    curves = {0: [0.1, 0.3, 0.2, 0.2, 0.9], 1: [0.1, 0.2, 0.3, 0.4, 0.5]}
    runs = Runs(made_run(REPORT, "all", seed, {}, history={"val_accuracy": curve}) for seed, curve in curves.items())
    rows = claims.patience_rows(runs)
    assert [(row["patience"], row["epochs"], row["all_ended"]) for row in rows] == [
        (1, (3 + 5) / 2, False),
        (2, (4 + 5) / 2, False),
        (3, 5.0, False),
    ]
    assert [row["validation_accuracy"] for row in rows] == pytest.approx([0.4, 0.4, 0.7])
    assert {(row["reported"], row["n"]) for row in rows} == {(0.677, 2)}
    (row, *_) = claims.patience_rows(runs[:1])
    assert row["all_ended"] is True
