"""The settings are the report's, draws are the same for every arm, and a run is a function of settings and seed."""

import dataclasses

import keras
import numpy as np
import pytest

from tlkeras.experiments.runs import Result
from tlkeras.models import weights
from tlkeras.reports.tominet import run as report

METRICS = {
    *("train_accuracy", "validation_accuracy", "test_accuracy", "test_loss"),
    *("test_accuracy_recalibrated", "test_loss_recalibrated"),
}
every_arm = pytest.mark.parametrize("arm", report.ARMS)


@pytest.fixture(scope="module")
def smoke_runs():
    """The same run twice, with other use of the global generator before; and an augmented one from scratch."""
    found = []
    for arm, seed, before in (("letters", 0, 1), ("letters", 0, 2), ("scratch_best", 1, 1)):
        keras.utils.set_random_seed(before)
        found.append(report.run(report.settings(arm, "smoke"), seed))
    return found


def test_reference_numbers_are_those_of_table_1():
    values = {arm: entry["value"] for (arm, metric), entry in report.REFERENCE.items() if metric == "test_accuracy"}
    assert values == {"scratch_50": 0.67, "scratch_150": 0.67, "fashion": 0.63, "letters": 0.77}
    assert len(values) == len(report.REFERENCE)
    assert set(values) <= set(report.ARMS)
    assert all("Table 1" in entry["source"] for entry in report.REFERENCE.values())


def test_the_faithful_arms_have_the_settings_of_ej3():
    for arm in ("fashion", "letters", "cyrillic"):
        settings = report.ARMS[arm]
        assert (settings.train_count, settings.validation_count, settings.test_count) == (100, 10_000, 10_000)
        assert (settings.head_epochs, settings.all_epochs) == (35, 15)
        assert settings.fine_rate == pytest.approx(settings.learning_rate / 10)
        assert not settings.balanced and not settings.augment and settings.schedule == "constant"
    assert report.ARMS["scratch_50"].scratch_epochs == 50
    assert report.ARMS["scratch_150"].scratch_epochs == 150


@every_arm
def test_settings_are_reduced_as_the_profile_says(arm):
    paper, quick, smoke = (report.settings(arm, profile) for profile in ("paper", "quick", "smoke"))
    assert paper == report.ARMS[arm]
    assert quick == dataclasses.replace(paper, validation_every=50)
    assert (smoke.head_epochs, smoke.all_epochs, smoke.scratch_epochs) == (2, 1, 2)
    assert (smoke.source, smoke.balanced, smoke.augment) == (paper.source, paper.balanced, paper.augment)
    assert report.seeds("smoke") < report.seeds("quick") < report.seeds("paper") == 30


@every_arm
def test_inputs_have_fingerprints(arm):
    settings = report.settings(arm, "smoke")
    inputs = report.inputs(settings)
    (mnist,) = inputs["data"]
    assert (mnist["name"], mnist["stand_in"]) == ("mnist", True)
    assert [item["name"] for item in inputs["weights"]] == [f"tominet_{settings.source}"] * bool(settings.source)
    assert all(len(item["fingerprint"]) == 16 for item in inputs["data"] + inputs["weights"])


@every_arm
def test_phases_are_one_from_scratch_and_two_after_a_source(arm):
    settings = report.settings(arm, "paper")
    phases = report.phases(settings)
    if settings.source is None:
        assert [(p.name, p.train, p.epochs) for p in phases] == [("scratch", "all", settings.scratch_epochs)]
    else:
        assert [(p.name, p.train) for p in phases] == [("head", "head"), ("all", "all")]
        assert [p.epochs for p in phases] == [settings.head_epochs, settings.all_epochs]
        assert [p.learning_rate for p in phases] == [settings.learning_rate, settings.fine_rate]
    assert {p.schedule for p in phases} == {settings.schedule}


def test_arms_that_are_compared_train_for_as_long():
    def epochs(arm):
        return sum(phase.epochs for phase in report.phases(report.ARMS[arm]))

    assert epochs("scratch_50") == epochs("fashion") == epochs("letters") == epochs("cyrillic") == 50
    assert epochs("scratch_best") == epochs("letters_best") == epochs("letters_longer")


def test_the_draw_depends_on_the_seed_and_not_on_the_arm():
    def draw(arm, seed):
        return report.parts(report.settings(arm, "paper"), seed)["train"][0]

    for arm in ("fashion", "scratch_150", "letters_best"):
        np.testing.assert_array_equal(draw(arm, 3), draw("letters", 3))
    np.testing.assert_array_equal(draw("fashion_balanced", 3), draw("letters_best_balanced", 3))
    assert not np.array_equal(draw("letters", 3), draw("letters", 4))


def test_balanced_draws_have_ten_of_each_digit():
    counts = [
        [np.bincount(report.parts(report.ARMS[arm], seed)["train"][1], minlength=10) for seed in range(5)]
        for arm in ("letters", "letters_balanced")
    ]
    assert np.all(np.sum(counts, axis=2) == 100)
    assert np.all(np.array(counts[1]) == 10)
    assert not np.any(np.all(np.array(counts[0]) == 10, axis=1))


def test_no_digit_is_in_two_parts():
    cuts = [
        report.parts(report.settings(arm, "paper"), seed) for arm in ("letters", "letters_balanced") for seed in (0, 1)
    ]
    for cut in cuts:
        assert {name: len(labels) for name, (_, labels) in cut.items()} == {
            "train": 100,
            "validation": 1000,
            "test": 1000,
        }
        parts = [{image.tobytes() for image in cut[name][0]} for name in ("train", "validation", "test")]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 2100  # the embedded digits are all different
        for name in ("validation", "test"):
            np.testing.assert_array_equal(cut[name][0], cuts[0][name][0])


def test_the_base_comes_from_the_source_and_the_head_is_new():
    file = weights.read(weights.PRETRAINED / "tominet_letters.npz")
    models = []
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        models.append(weights.tensor_names(report.build(report.ARMS["letters"])))
    for name in models[0]:
        if name.startswith("dense/"):
            assert models[0][name].shape[-1] == 10
        else:
            np.testing.assert_array_equal(models[0][name], file[name])
    assert not np.array_equal(models[0]["dense/kernel"], models[1]["dense/kernel"])


def test_digits_are_not_loaded_with_the_weights_of_another_source():
    keras.utils.set_random_seed(0)
    scratch = weights.tensor_names(report.build(report.ARMS["scratch_50"]))
    for source in ("letters", "fashion_mnist"):
        file = weights.read(weights.PRETRAINED / f"tominet_{source}.npz")
        assert not np.array_equal(scratch["conv_1/kernel"], file["conv_1/kernel"])


def test_the_same_seed_twice_gives_the_same(smoke_runs):
    first, again, _ = smoke_runs
    assert isinstance(first, Result)
    assert first.metrics == again.metrics
    assert first.history == again.history
    assert first.details["draw"] == again.details["draw"] != smoke_runs[2].details["draw"]


def test_a_run_returns_every_metric_and_curve(smoke_runs):
    assert [run.history["phase"] for run in smoke_runs] == [["head", "head", "all"]] * 2 + [["scratch"] * 2]
    for run in smoke_runs:
        assert set(run.metrics) == METRICS
        assert all(0 <= value <= 1 for name, value in run.metrics.items() if "accuracy" in name)
        assert all(len(curve) == len(run.history["phase"]) for curve in run.history.values())
        assert run.metrics["train_accuracy"] == pytest.approx(run.history["accuracy"][-1], abs=1e-4)
        assert run.metrics["validation_accuracy"] == pytest.approx(run.history["val_accuracy"][-1], abs=1e-4)
        assert run.metrics["test_loss"] != run.metrics["test_loss_recalibrated"]
