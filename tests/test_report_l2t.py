"""The settings are the report's, every method gets the same draw and target, and a run keeps what the figures need."""

import dataclasses

import numpy as np
import pytest

from tlkeras.models import resnet32, weights
from tlkeras.reports.l2t import images
from tlkeras.reports.l2t import reported as l2t_tables
from tlkeras.reports.l2t import run as report


@pytest.fixture(autouse=True)
def no_official_weights(monkeypatch, tmp_path):
    """Whatever weights this machine has, take those that come with the package."""
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path))
    images.pretrained.cache_clear()
    yield
    images.pretrained.cache_clear()


def test_the_study_has_the_size_of_the_report():
    assert len(report.TABLES) * l2t_tables.REPEATS == 1_800
    assert {settings.method for settings in report.UNBALANCED.values()} == {"scratch", "ww", "www"}
    for settings in report.ARMS.values():
        assert (settings.epochs, settings.batch_size, settings.learning_rate) == (200, 128, 0.1)
    assert set(report.REFERENCE) - {(arm, "test_accuracy") for arm in report.TABLES} == {
        (arm, "scarce_recall") for arm in report.UNBALANCED
    }


def test_the_reference_numbers_are_those_of_the_tables():
    assert report.REFERENCE["stl10_10_www", "test_accuracy"] == {"value": 0.2939, "source": "Table 1, n=30"}
    assert report.REFERENCE["cifar100_50_scratch", "test_accuracy"]["value"] == 0.2965
    assert ("cifar10_10_scratch", "test_accuracy") not in report.REFERENCE  # that row cannot be read
    assert report.REFERENCE["stl10_unbalanced_ww", "scarce_recall"]["value"] == 0.6512
    for name, sizes in l2t_tables.SIZES.items():
        assert all(
            len(values) == len(sizes) == len(l2t_tables.P_VALUES[name]) for values in l2t_tables.MEANS[name].values()
        )


def test_all_methods_get_the_same_images_and_the_same_target_to_start_from():
    labels = np.repeat(np.arange(10), 30)
    draws = [images.draw(labels, 5, 10, 0, seed) for seed in (0, 0, 1)]
    assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])
    assert np.bincount(labels[draws[0]]).tolist() == [5] * 10
    starts = [
        report.training(
            dataclasses.replace(report.settings("stl10_5_ufm", "smoke"), method=method), 3
        ).target.get_weights()
        for method in ("scratch", "ufm")
    ]
    assert all(np.array_equal(one, other) for one, other in zip(*starts, strict=True))


def test_one_class_is_scarce_and_it_is_another_one_with_each_seed():
    labels = np.repeat(np.arange(10), 30)
    for seed in (0, 7, 12):
        counts = np.bincount(labels[images.draw(labels, 20, 10, 4, seed)]).tolist()
        assert counts[seed % 10] == 4 and sum(counts) == 184


def test_larger_images_are_shrunk_with_antialiasing():
    stripes = np.tile(np.array([0, 255], np.uint8)[None, :, None], (96, 48, 3))[None]
    found = images.shrunk(stripes)
    assert found.shape == (1, 32, 32, 3) and abs(found.astype(float).mean() - 127.5) < 3 and np.ptp(found) < 120
    assert images.shrunk(found) is found


@pytest.mark.parametrize("arm", ["stl10_5_scratch", "stl10_unbalanced_www"])
def test_a_run_keeps_what_tables_and_figures_need(arm):
    settings = report.settings(arm, "smoke")
    result = report.run(settings, seed=1)
    wanted = {"test_accuracy", "test_loss", "train_accuracy", "iteration_seconds"}
    assert set(result.metrics) == wanted | ({"scarce_recall"} if "unbalanced" in arm else set())
    assert all(np.isfinite(list(result.metrics.values())))
    assert (
        len(result.details["path"]) == settings.epochs + 1 and len(result.history["cross_entropy"]) == settings.epochs
    )
    asked = set(report.QUESTIONS[settings.method].split())
    assert set(result.details["answers"]) == asked
    assert [len(look) for look in result.details["answers"].get("where", [])] == [15] * (3 if asked else 0)


def test_without_the_official_weights_the_source_is_the_one_that_comes_with_the_package():
    known = images.pretrained()
    assert known["name"] == resnet32.SHIPPED and known["stand_in"]
    assert known["fingerprint"] == weights.record("resnet32_tinyimagenet")["sha256"][:16]
    own = resnet32.resnet32(weights="tinyimagenet").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(images.source().get_weights(), own, strict=True))
