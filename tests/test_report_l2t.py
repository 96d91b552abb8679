"""The settings are the report's, every method gets the same draw and target, and a run keeps what the figures need."""

import dataclasses

import numpy as np
import pytest
from helpers import made_run

from tlkeras.experiments.runs import Runs
from tlkeras.models import resnet32, weights
from tlkeras.reports.l2t import claims, images
from tlkeras.reports.l2t import run as report
from tlkeras.reports.l2t.settings import (
    ABLATIONS,
    ALONE,
    ARMS,
    MEANS,
    METHODS,
    OTHERS,
    P_VALUES,
    QUESTIONS,
    READINGS,
    REFERENCE,
    REPEATS,
    REPORT,
    SIZES,
    TABLES,
    TUNED,
    UNBALANCED,
)
from tlkeras.transfer.features import pooled_model


@pytest.fixture(autouse=True)
def no_official_weights(monkeypatch, tmp_path):
    """Whatever weights this machine has, take those that come with the package."""
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path))
    images.pretrained.cache_clear()
    yield
    images.pretrained.cache_clear()


def test_the_study_has_the_size_of_the_report():
    assert len(TABLES) * REPEATS == 1_800
    assert {settings.method for settings in UNBALANCED.values()} == {"scratch", "ww", "www"}
    assert len(ALONE) == 30 and {**TABLES, **UNBALANCED, **ALONE, **OTHERS, **ABLATIONS, **TUNED, **READINGS} == ARMS
    assert len(OTHERS) == 15 and len(ABLATIONS) == 19
    for settings in (TABLES | UNBALANCED).values():
        assert (settings.epochs, settings.batch_size, settings.learning_rate) == (200, 128, 0.1)
    assert set(REFERENCE) - {(arm, "test_accuracy") for arm in TABLES} == {(arm, "scarce_recall") for arm in UNBALANCED}


def test_the_reference_numbers_are_those_of_the_tables():
    assert REFERENCE["stl10_10_www", "test_accuracy"] == {"value": 0.2939, "source": "Table 1, n=30"}
    assert REFERENCE["cifar100_50_scratch", "test_accuracy"]["value"] == 0.2965
    assert ("cifar10_10_scratch", "test_accuracy") not in REFERENCE  # that row cannot be read
    assert REFERENCE["stl10_unbalanced_ww", "scarce_recall"]["value"] == 0.6512
    for name, sizes in SIZES.items():
        assert all(len(values) == len(sizes) == len(P_VALUES[name]) for values in MEANS[name].values())


def test_all_methods_get_the_same_images_and_the_same_target_to_start_from():
    labels = np.repeat(np.arange(10), 30)
    draws = [images.draw(labels, 5, 10, 0, seed) for seed in (0, 0, 1)]
    assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])
    assert np.bincount(labels[draws[0]]).tolist() == [5] * 10
    starts = [
        report.training(
            dataclasses.replace(REPORT.settings("stl10_5_ufm", "smoke"), method=method), 3
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


@pytest.mark.parametrize("arm", ["stl10_5_scratch", "stl10_unbalanced_www", "stl10_10_vid", "stl10_10_map_124"])
def test_a_run_keeps_what_tables_and_figures_need(arm):
    settings = REPORT.settings(arm, "smoke")
    result = report.run(settings, seed=1)
    wanted = {"test_accuracy", "test_accuracy_recalibrated", "test_loss", "train_accuracy", "iteration_seconds"}
    assert set(result.metrics) == wanted | ({"scarce_recall"} if "unbalanced" in arm else set())
    assert all(np.isfinite(list(result.metrics.values())))
    assert (
        len(result.details["path"]) == settings.epochs + 1 and len(result.history["cross_entropy"]) == settings.epochs
    )
    assert "test_accuracy" not in result.history  # it is scored after the last epoch alone
    asked = set(QUESTIONS.get(settings.method, "").split())
    assert set(result.details["answers"]) == asked
    assert [len(look) for look in result.details["answers"].get("where", [])] == [15] * (3 if asked else 0)


@pytest.mark.parametrize("method", ["probe", "finetune"])
def test_the_source_alone_gets_the_same_draw_and_says_which_answers_were_right(method):
    arms = [REPORT.settings(f"stl10_5_{name}", "smoke") for name in (method, "scratch")]
    alone, scratch = (report.run(arm, seed=1) for arm in arms)
    assert set(alone.metrics) == {"test_accuracy", "test_loss", "train_accuracy"}
    assert alone.details["draw"] == scratch.details["draw"]
    right = claims.right_answers(made_run(REPORT, f"stl10_5_{method}", 1, alone.metrics, details=alone.details))
    assert len(right) == arms[0].test_count and right.mean() == pytest.approx(alone.metrics["test_accuracy"])
    assert len(alone.history.get("loss", [])) == (arms[0].epochs if method == "finetune" else 0)


def test_fine_tuning_starts_from_the_probe():
    x, _ = images.small("stl10")["train"]
    base = pooled_model(images.source(), ["s3b5"])
    features = base(x[:80]).numpy()
    probe = report.fitted(features, np.arange(80) % 3, 0.03)
    logits = report.with_classifier(probe)(x[:80]).numpy()
    assert np.allclose(logits, probe.decision_function(features), atol=1e-4)


def test_without_the_official_weights_the_source_is_the_one_that_comes_with_the_package():
    known = images.pretrained()
    assert known["name"] == "tinyimagenet" and known["stand_in"]
    assert known["fingerprint"] == weights.record("resnet32_tinyimagenet")["sha256"][:16]
    own = resnet32(200, weights="tinyimagenet32").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(images.source().get_weights(), own, strict=True))


def test_an_arm_that_is_scored_on_the_way_trains_as_the_other_does():
    plain, read = (report.run(REPORT.settings(f"stl10_10_scratch{end}", "smoke"), seed=1) for end in ("", "_read"))
    assert read.history["cross_entropy"] == plain.history["cross_entropy"]
    assert read.history["test_accuracy"] == [None, pytest.approx(read.metrics["test_accuracy"], abs=1e-6)]
    assert read.history["validation_accuracy"][0] is None and 0 <= read.history["validation_accuracy"][1] <= 1


def test_images_that_validate_are_not_those_of_the_draw():
    arm = REPORT.settings("stl10_10_scratch_read", "smoke")
    drawn = images.draw(images.small("stl10")["train"][1], arm.per_class, 10, 0, 3)
    x, y = report.further(arm, 3, drawn)
    assert len(x) == len(y)
    assert not {image.tobytes() for image in x} & {
        image.tobytes() for image in images.small("stl10")["train"][0][drawn]
    }


def test_three_readings_of_a_run():
    history = {"validation_accuracy": [None, 0.5, None, 0.4], "test_accuracy": [None, 0.25, None, 0.3]}
    run = dataclasses.replace(
        made("stl10_10_scratch_read", [0.2])[0], history=history | {"accuracy": [0.1, 0.9, 0.7, 0.8]}
    )
    (row,) = claims.readings(Runs([run]))
    assert row == {
        **{"arm": "stl10_10_scratch_read", "reported": 0.2407, "last": 0.2, "by_validation": 0.25, "by_test": 0.3},
        **{"best_train": 0.9, "n": 1},
    }
    assert claims.readings(made("stl10_10_scratch", [0.2])) == []


def made(arm, values, metric="test_accuracy"):
    return Runs(
        made_run(REPORT, arm, seed, {metric: value}, details={"draw": str(seed)}) for seed, value in enumerate(values)
    )


def noise(seed, count=8):
    return np.random.default_rng(seed).normal(0, 0.01, count)


def test_a_clear_difference_holds_and_says_how_many_runs_the_reported_one_needs():
    runs = made("stl10_10_www", 0.30 + noise(0)) + made("stl10_10_ww", 0.25 + noise(1))
    (row,) = claims.findings(runs)
    assert (row["dataset"], row["per_class"], row["verdict"], row["n"]) == ("stl10", "10", "held", 8)
    assert row["reported_difference"] == pytest.approx(0.0375) and row["reported_p"] == "0.000"
    assert row["difference"] == pytest.approx(0.05, abs=0.01) and max(row["p_adjusted"], row["mann_whitney_p"]) < 0.05
    assert 6 <= row["runs_needed"] < 10


def test_so_many_runs_are_needed_that_the_corrected_p_can_decide():
    runs = Runs()
    for arm in ("stl10_5", "stl10_10", "cifar10_10"):
        runs += made(f"{arm}_www", 0.30 + noise(0, 5)) + made(f"{arm}_ww", 0.30 + noise(1, 5) / 100)
    needed = {row["runs_needed"] for row in claims.findings(runs)} - {None}
    assert min(needed) >= 7, "three rows: Holm's correction makes 3 / 2**5 of the smallest p of six pairs"


def test_how_far_the_meta_networks_went():
    answers = {
        "where": [[0.0, 1.0, 3.0], [0.5, 1.0, 3.0]],
        "what": [[1.0, 1.0], [0.9, 0.8]],
        "which": [[[1.0]], [[0.7]]],
    }
    run = made_run(REPORT, "stl10_10_www", 0, {"test_accuracy": 0.3}, details={"answers": answers})
    (row,) = claims.learned(Runs([run]))
    assert (row["iterations"], row["where_moved"], row["what_even"], row["which_low"]) == ("200", 0.5, 0.8, 0.7)
    assert 0.9 < row["where_alike"] < 1 and row["n"] == 1


def test_no_difference_where_one_was_claimed_is_not_shown_and_few_runs_decide_nothing():
    runs = made("cifar10_30_www", noise(0)) + made("cifar10_30_ww", noise(1))
    assert claims.findings(runs)[0]["verdict"] == "not contradicted"
    runs = made("cifar10_30_www", noise(0, 3)) + made("cifar10_30_ww", noise(1, 3))
    assert claims.findings(runs)[0]["verdict"] == "not decided: n too small"
    runs = made("cifar10_30_www", noise(0)) + made("cifar10_30_ww", 0.1 + noise(1))
    assert claims.findings(runs)[0]["verdict"] == "did not hold"


def test_the_table_has_a_row_for_every_cell_and_says_what_was_not_run():
    rows = claims.table(made("cifar10_10_ufm", [0.2, 0.3]), "cifar10")
    assert len(rows) == 5 * 6
    row = next(row for row in rows if (row["per_class"], row["method"]) == ("10", "ufm"))
    assert (row["reported"], row["reported_n"], row["mean"], row["n"]) == (0.2069, 30, 0.25, 2)
    lost = next(row for row in rows if (row["per_class"], row["method"]) == ("10", "scratch"))
    assert (lost["reported"], lost["reported_n"], lost["mean"], lost["n"]) == (None, None, None, 0)


def test_the_signs_can_only_mean_intervals():
    rows = claims.plus_minus()
    assert len(rows) == 9
    agree = {
        name: sum((row["printed_p"] == "p > 0.05") == (row[name] > 0.05) for row in rows) for name in claims.MEANINGS
    }
    assert agree["95 % interval"] == 9 and agree["standard deviation"] < 9 and agree["standard error"] < 9


def test_methods_against_those_with_less_and_the_scarce_class():
    runs = made("stl10_5_scratch", noise(0)) + made("stl10_5_ufm", 0.1 + noise(1))
    (row,) = claims.against(runs, "scratch")
    assert row["verdict"] == "first better"
    runs += made("stl10_5_ww", 0.2 + noise(2))
    assert [(row["first"], row["second"]) for row in claims.against(runs, "ufm")] == [("stl10_5_ww", "stl10_5_ufm")]
    runs = made("stl10_unbalanced_ww", [0.5, 0.7], "scarce_recall")
    rows = {row["arm"]: row for row in claims.unbalanced(runs)}
    assert rows["stl10_unbalanced_ww"]["mean"] == pytest.approx(0.6)
    assert rows["stl10_unbalanced_ww"]["reported"] == 0.6512 and rows["stl10_unbalanced_www"]["n"] == 0


def test_the_source_alone_must_be_better_than_every_method():
    runs = Runs()
    for place, method in enumerate(("scratch", "ufm", "ww", "www")):
        runs += made(f"stl10_5_{method}", 0.2 + noise(place, 5))
    probe = made("stl10_5_probe", 0.5 + noise(5, 30))
    (row,) = claims.source_alone(runs + probe)
    assert (row["verdict"], row["n"]) == ("held", 5) and row["difference"] == pytest.approx(0.3, abs=0.02)
    (row,) = claims.source_alone(runs + made("stl10_5_probe", 0.2 + noise(5, 30)))
    assert row["verdict"] == "not contradicted"
    rows = claims.source_alone(probe + made("stl10_5_finetune", 0.5 + noise(5, 30) - 0.01))
    assert [(row["verdict"], row["n"]) for row in rows] == [("did not hold", 30)], "the same draws, one point less each"


def timed(arm, batch_seconds):
    return made_run(REPORT, arm, 0, {"iteration_seconds": batch_seconds})


def test_hours_are_counted_by_the_image():
    runs = Runs(timed(f"stl10_5_{method}", 1.0) for method in METHODS)  # batches of 50
    found = claims.hours(runs)
    assert found > 1
    same = Runs(timed(f"cifar10_10_{method}", 2.0) for method in METHODS)  # batches of 100
    assert claims.hours(same) == pytest.approx(found)
    slower = Runs([*runs[:-1], timed("stl10_5_www", 2.0)])
    assert found < claims.hours(slower) < 2 * found
    assert claims.hours(runs[1:]) is None


def test_the_scarce_class_has_fewer_images():
    whole, scarce = (dataclasses.asdict(ARMS[arm]) for arm in ("stl10_100_ww", "stl10_unbalanced_ww"))
    assert (claims._images(whole), claims._images(scarce)) == (1000, 910)


def test_ablations_and_peers_match_the_layers_that_they_name():
    pairs = {
        name: report.pairs(REPORT.arms[f"stl10_10_{name}"]) for name in ("scratch_1e-2", "ww", "map_124", "sp", "at")
    }
    assert pairs["scratch_1e-2"] == [] and len(pairs["ww"]) == 15
    assert pairs["map_124"] == [("s1b5", "relu2"), ("s2b5", "relu4"), ("s3b5", "relu8")]
    assert pairs["sp"] == [("s3b5", "relu8")]
    shapes = {
        name: layer.output.shape[1:3]
        for model in (images.source(), report.training(REPORT.arms["stl10_10_scratch"], 0).target)
        for layer in model.layers
        for name in (layer.name,)
    }
    assert all(shapes[source] == shapes[target] for source, target in pairs["at"])


def test_new_fields_leave_recorded_runs_what_they_are():
    stored = {"dataset": "stl10", "per_class": 10, "method": "ww"}
    settings = dataclasses.asdict(REPORT.arms["stl10_10_ww"])
    completed = REPORT.completed("stl10_10_ww", stored)
    assert completed == {**settings, "targets": list(settings["targets"])}
    for arm in ABLATIONS.values():
        assert arm not in TABLES.values()


def test_peers_and_ablations_are_compared_once_they_have_runs():
    runs = made("stl10_10_ufm", noise(0)) + made("stl10_10_ww", noise(1)) + made("stl10_10_sp", 0.1 + noise(2))
    assert [(row["first"], row["verdict"]) for row in claims.peers(runs)] == [("stl10_10_sp", "first better")]
    assert claims.ablations(runs) == []
    said = {row["what"]: row for row in claims.beside(runs)}
    assert said["STL-10, 10 of a class"]["recorded"] == "similarity-preserving"
    assert said["CIFAR-10, 10 of a class"]["not_recorded"].startswith("the source, fine-tuned; attention transfer; ")
    assert said["imitation of fixed pairs"]["not_recorded"] == "10 of 10 monotone maps"
    maps = [made(arm, place / 100 + noise(place)) for place, arm in enumerate(a for a in ABLATIONS if "_map_" in a)]
    runs = sum(maps, runs + made("stl10_10_ww_fixed", noise(3)))
    rows = {row["first"].removeprefix("stl10_10_"): row for row in claims.ablations(runs)}
    assert set(rows) == {"map_mean", "map_best", "ww_fixed"}
    assert rows["map_mean"]["difference"] == pytest.approx(0.045, abs=0.01)
    assert rows["map_best"]["difference"] == pytest.approx(0.09, abs=0.01)


def test_a_tuned_baseline_must_be_better_than_what_learns_to_transfer():
    methods = {name: made(f"stl10_10_{name}", 0.2 + noise(place)) for place, name in enumerate(("ww", "www"))}
    tuned = made("stl10_10_scratch_1e-2", 0.3 + noise(5, 6))
    assert claims.tuned(sum(methods.values(), Runs())) == []
    (row,) = claims.tuned(sum(methods.values(), tuned))
    assert row["verdict"] == "held"
    worse = methods | {"www": made("stl10_10_www", 0.4 + noise(3))}
    (row,) = claims.tuned(sum(worse.values(), tuned))
    assert row["verdict"] == "did not hold" and "stl10_10_www" in row["comparison"]
    (row,) = claims.ablations(tuned + made("stl10_10_ufm_1e-2", 0.5 + noise(6, 6)))
    assert row["second"] == "stl10_10_scratch_1e-2"


def test_recalibrated_scores_are_an_arm_of_their_own():
    runs = Runs(
        made_run(REPORT, "stl10_10_scratch", seed, {"test_accuracy": 0.2, "test_accuracy_recalibrated": value})
        for seed, value in enumerate(0.3 + noise(0))
    )
    (row,) = claims.ablations(runs)
    assert (row["first"], row["n"]) == ("stl10_10_scratch_recalibrated", 8) and row["difference"] > 0.08


def test_the_probe_is_scored_without_the_images_that_the_source_has_seen():
    right = np.array([1, 0, 1, 1, 0, 1, 1, 1, 0, 1], bool)
    details = {"right": np.packbits(right).tobytes().hex()}
    runs = Runs([made_run(REPORT, "stl10_5_probe", 0, {"test_accuracy": right.mean()}, details=details)])
    (row,) = claims.without_shared(runs, {"stl10": {"train": [1], "test": [0, 4]}})
    assert (row["all"], row["without"], row["shared"]) == (pytest.approx(0.7), pytest.approx(6 / 8), "2")
    assert claims.without_shared(runs, {"cifar10": {"train": [], "test": []}}) == []
