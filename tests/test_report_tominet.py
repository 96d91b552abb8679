"""The settings are the report's, draws are the same for every arm, and a run is a function of settings and seed."""

import dataclasses

import keras
import numpy as np
import pytest
from helpers import randomised

from tlkeras.experiments.report import Result
from tlkeras.experiments.runs import Run, Runs
from tlkeras.models import tominet, weights
from tlkeras.reports.tominet import claims
from tlkeras.reports.tominet import run as report
from tlkeras.reports.tominet.claims import ACCURACY, RIGHT
from tlkeras.reports.tominet.settings import ANOTHER_SOURCE, ARMS, EQUAL, ONE_DRAW, REFERENCE, REPORT

METRICS = {
    *("train_accuracy", "validation_accuracy", "test_accuracy", "test_loss"),
    *("test_accuracy_recalibrated", "test_loss_recalibrated"),
}


@pytest.fixture(scope="module")
def smoke_runs():
    """The same run twice, with other use of the global generator before; and an augmented one from scratch."""
    found = []
    for arm, seed, before in (("letters", 0, 1), ("letters", 0, 2), ("scratch_best", 1, 1)):
        keras.utils.set_random_seed(before)
        found.append(report.run(REPORT.settings(arm, "smoke"), seed))
    return found


def test_reference_numbers_are_those_of_table_1():
    values = {arm: entry["value"] for (arm, metric), entry in REFERENCE.items() if metric == "test_accuracy"}
    assert values == {"scratch_50": 0.67, "scratch_150": 0.67, "fashion": 0.63, "letters": 0.77}
    assert len(values) == len(REFERENCE)
    assert set(values) <= set(ARMS)
    assert all("Table 1" in entry["source"] for entry in REFERENCE.values())


def test_the_faithful_arms_have_the_settings_of_ej3():
    for arm in ("fashion", "letters", "cyrillic"):
        settings = ARMS[arm]
        assert (settings.train_count, settings.validation_count, settings.test_count) == (100, 10_000, 10_000)
        assert (settings.head_epochs, settings.all_epochs) == (35, 15)
        assert settings.fine_rate == pytest.approx(settings.learning_rate / 10)
        assert not settings.balanced and not settings.augment and settings.schedule == "constant"
    assert ARMS["scratch_50"].scratch_epochs == 50
    assert ARMS["scratch_150"].scratch_epochs == 150


def test_settings_are_reduced_as_the_profile_says():
    for arm, paper in ARMS.items():
        quick, smoke = (REPORT.settings(arm, profile) for profile in ("quick", "smoke"))
        assert quick == dataclasses.replace(paper, validation_every=50)
        assert (smoke.head_epochs, smoke.all_epochs, smoke.scratch_epochs) == (2, 1, 2)
        assert (smoke.source, smoke.balanced, smoke.augment) == (paper.source, paper.balanced, paper.augment)
    assert [REPORT.seed_count("letters", profile) for profile in ("smoke", "quick", "paper")] == [2, 3, 30]


@pytest.mark.parametrize("arm", ["letters", "scratch_50"])
def test_inputs_are_the_digits_and_the_source(arm):
    settings = REPORT.settings(arm, "smoke")
    inputs = report.inputs(settings)
    (mnist,) = inputs["data"]
    assert (mnist["name"], mnist["stand_in"]) == ("mnist", True)
    assert [item["name"] for item in inputs["weights"]] == [f"tominet_{settings.source}"] * bool(settings.source)
    assert all(len(item["fingerprint"]) == 16 for item in inputs["data"] + inputs["weights"])


@pytest.mark.parametrize("settings", ARMS.values(), ids=ARMS)
def test_phases_are_one_from_scratch_and_two_after_a_source(settings):
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
        return sum(phase.epochs for phase in report.phases(ARMS[arm]))

    assert epochs("scratch_50") == epochs("fashion") == epochs("letters") == epochs("cyrillic") == 50
    assert epochs("scratch_best") == epochs("letters_best") == epochs("letters_longer")


def test_the_draw_depends_on_the_seed_and_not_on_the_arm():
    def draw(arm, seed):
        return report.parts(REPORT.settings(arm, "paper"), seed)["train"][0]

    for arm in ("fashion", "scratch_150", "letters_best"):
        np.testing.assert_array_equal(draw(arm, 3), draw("letters", 3))
    np.testing.assert_array_equal(draw("fashion_balanced", 3), draw("letters_best_balanced", 3))
    assert not np.array_equal(draw("letters", 3), draw("letters", 4))


def test_balanced_draws_have_ten_of_each_digit():
    counts = [
        [np.bincount(report.parts(ARMS[arm], seed)["train"][1], minlength=10) for seed in range(5)]
        for arm in ("letters", "letters_balanced")
    ]
    assert np.all(np.sum(counts, axis=2) == 100)
    assert np.all(np.array(counts[1]) == 10)
    assert not np.any(np.all(np.array(counts[0]) == 10, axis=1))


def test_no_digit_is_in_two_parts():
    cuts = [
        report.parts(REPORT.settings(arm, "paper"), seed) for arm in ("letters", "letters_balanced") for seed in (0, 1)
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
        models.append(weights.tensor_names(report.build(ARMS["letters"])))
    for name in models[0]:
        if name.startswith("dense/"):
            assert models[0][name].shape[-1] == 10
        else:
            np.testing.assert_array_equal(models[0][name], file[name])
    assert not np.array_equal(models[0]["dense/kernel"], models[1]["dense/kernel"])


def test_digits_are_not_loaded_with_the_weights_of_another_source():
    keras.utils.set_random_seed(0)
    scratch = weights.tensor_names(report.build(ARMS["scratch_50"]))
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


ENDS = ("", *(f"_source_{seed}" for seed in range(1, 5)))


def made(scores: dict[str, tuple[np.ndarray, np.ndarray]]) -> Runs:
    """Runs of arms, one a seed, with accuracies as they are and recalibrated."""
    return Runs(
        Run("tominet", arm, seed, "paper", {}, {ACCURACY: float(plain), RIGHT: float(right)}, [], [])
        for arm, columns in scores.items()
        for seed, (plain, right) in enumerate(zip(*columns, strict=True))
    )


@pytest.fixture
def runs():
    """Baseline 0.5 and 0.7 recalibrated; good 0.8 in both; twin as the baseline, but for noise of either sign."""
    noise = np.linspace(-0.01, 0.01, 20)
    swing = noise * np.where(np.arange(20) % 2, 1, -1)
    return made(
        {
            "baseline": (0.5 + 0 * noise, 0.7 + 0 * noise),
            "good": (0.8 + noise, 0.8 + noise),
            "twin": (0.5 + swing, 0.7 + swing),
        }
    )


def test_artefact_is_the_part_of_the_gain_that_recalibration_takes(runs):
    (row,) = claims.artefact(runs, ["good"], "baseline")
    assert row["gain"] == pytest.approx(0.3)
    assert row["recalibrated"] == pytest.approx(0.1)
    assert row["share_gone"] == pytest.approx(2 / 3)
    assert row["gain_low"] < row["gain"] < row["gain_high"]
    assert row["recalibrated_low"] < row["recalibrated"] < row["recalibrated_high"]


def test_no_share_of_a_gain_that_may_be_none(runs):
    assert claims.artefact(runs, ["twin"], "baseline")[0]["share_gone"] is None


@pytest.mark.parametrize("draws", [1, 2, 5])
def test_a_spread_is_not_decided_by_a_few_draws(runs, draws):
    few = runs.where(lambda run: run.seed < draws)
    (row,) = claims.spread(few, [("twin", "baseline")])
    assert (row["verdict"], row["p_adjusted"], row["n"]) == ("not decided: n too small", 1.0, draws)


def test_spread_finds_the_arm_that_depends_on_the_draw(runs):
    generator = np.random.default_rng(0)
    wide, narrow = generator.normal(0.7, 0.1, 30), generator.normal(0.7, 0.01, 30)
    both = made({"wide": (wide, wide), "narrow": (narrow, narrow)})
    first, second = claims.spread(both, [("narrow", "wide"), ("wide", "narrow")])
    assert first["std"] < first["std_against"] and first["p_adjusted"] < 0.001 and first["n"] == 30
    assert (first["verdict"], second["verdict"]) == ("more consistent", "less consistent")
    assert claims.spread(both, [("wide", "wide")])[0]["verdict"] == "no difference shown"


def test_arms_without_common_draws():
    one, (other,) = made({"a": ([0.5], [0.5])}), made({"b": ([0.5], [0.5])})
    with pytest.raises(ValueError, match="share draws"):
        claims.artefact(one + Runs([dataclasses.replace(other, seed=7)]), ["a"], "b")


def test_a_source_network_of_fewer_images_is_trained_once_and_its_seed_and_number_mark_it(monkeypatch):
    asked = []

    def train(settings):
        asked.append(settings)
        return randomised(tominet(10), settings.seed), {}

    monkeypatch.setattr(report.pretraining, "train", train)
    report.source_weights.cache_clear()
    plain = REPORT.settings("fashion_as_letters", "smoke")
    assert plain.source_count == 0  # no real clothes in tests
    arm = dataclasses.replace(plain, source_count=80)
    first, again = (report.run(arm, seed=1) for _ in range(2))
    assert (first.metrics, first.details["draw"]) == (again.metrics, again.details["draw"])
    assert [(one.dataset, one.train_count, one.validation_count, one.seed) for one in asked] == [
        ("fashion_mnist", 80, 20, 0)
    ]
    report.source_weights.cache_clear()
    others = [dataclasses.replace(arm, source_count=81), dataclasses.replace(arm, source_seed=1), plain]
    marks = [report.inputs(each)["weights"][0]["fingerprint"] for each in (arm, *others)]
    assert len(set(marks)) == len(marks)
    assert report.inputs(arm)["weights"][0]["name"] == "tominet_fashion_mnist, 80 images, seed 0"


def test_equal_arms_have_as_many_images_as_letters_have():
    for arm in EQUAL.values():
        assert arm.source_count == weights.record("tominet_letters")["counts"]["train"]
        assert report.source_settings(arm).validation_count == weights.record("tominet_letters")["counts"]["validation"]
    for name, arm in ANOTHER_SOURCE.items():
        assert (arm.source_count, REPORT.seed_count(name, "paper")) == (EQUAL["fashion_as_letters"].source_count, 10)
        assert dataclasses.replace(arm, source_count=0, source_seed=0, validation_every=1) in ARMS.values()


def test_an_arm_of_one_draw_has_the_same_digits_for_each_seed():
    for name, arm in ONE_DRAW.items():
        assert dataclasses.replace(arm, draw=None) == dataclasses.replace(ARMS[name[:-9]], validation_every=50)
        assert REPORT.seed_count(name, "paper") == 10
    smoke = REPORT.settings("letters_one_draw", "smoke")
    first, second = (report.parts(smoke, seed)["train"] for seed in (1, 2))
    np.testing.assert_array_equal(first[0], second[0])
    plain = report.parts(REPORT.settings("letters", "smoke"), 0)["train"]
    np.testing.assert_array_equal(first[0], plain[0])


def test_the_spread_is_split_into_source_draw_and_start():
    random = np.random.default_rng(0)
    sources, draws = 0.03 * random.standard_normal(5), 0.02 * random.standard_normal(400)
    start = 0.01
    scores = {
        name: 0.8 + source + draws + start * random.standard_normal(400)
        for name, source in zip(["letters", *(f"letters_source_{seed}" for seed in range(1, 5))], sources, strict=True)
    }
    scores["letters_one_draw"] = 0.8 + start * random.standard_normal(400)
    runs = made({name: (values, values) for name, values in scores.items()})
    row = claims.parts_of_spread(runs, "letters")
    variances = np.array([sources.var(ddof=1), draws.var(ddof=1), start**2])
    np.testing.assert_allclose([row["source"], row["draw"], row["start"]], variances / variances.sum(), atol=0.02)
    assert row["total"] == pytest.approx(np.sqrt(variances.sum()), rel=0.05)
    assert row["p_source"] < 1e-6 and (row["sources"], row["draws"], row["starts"]) == (5, 400, 400)
    assert all(row[f"{part}_low"] <= row[part] <= row[f"{part}_high"] for part in claims.PARTS)
    assert claims.parts_of_spread(runs, "fashion_as_letters") is None
    begun = runs.where(lambda run: run.seed == 0 or run.arm in ("letters", "letters_one_draw"))
    assert claims.parts_of_spread(begun, "letters") is None  # the sources have one draw in common


def test_intervals_of_the_parts_of_the_spread_cover_the_truth():
    random = np.random.default_rng(0)
    deviations = np.array([0.01, 0.02, 0.02])
    truth = deviations**2 / (deviations**2).sum()
    covered = []
    for _ in range(200):
        sources, draws = deviations[0] * random.standard_normal(5), deviations[1] * random.standard_normal(10)
        starts = deviations[2] * random.standard_normal((6, 10))
        scores = {f"letters{end}": sources[i] + draws + starts[i] for i, end in enumerate(ENDS)}
        scores["letters_one_draw"] = starts[5]
        row = claims.parts_of_spread(made({name: (values, values) for name, values in scores.items()}), "letters")
        pairs = zip(claims.PARTS, truth, strict=True)
        covered.append([row[f"{part}_low"] <= share <= row[f"{part}_high"] for part, share in pairs])
    assert (np.mean(covered, axis=0) > 0.92).all()


def test_source_networks_are_judged_and_not_their_draws():
    draws = np.linspace(-0.05, 0.05, 10)
    networks = {f"letters{end}": 0.8 + gain + draws for end, gain in zip(ENDS, (0.03, 0, 0.01, 0, 0.01), strict=True)}
    networks |= {f"fashion_as_letters{end}": 0.79 + draws for end in ENDS}
    runs = made({name: (values, values) for name, values in networks.items()})
    row = claims.equal_findings(runs)[0]
    assert (row["n"], row["difference"]) == (5, pytest.approx(0.02)) and row["ci_low"] < 0.02 < row["ci_high"]
    alone = runs.where(lambda run: "source" not in run.arm)
    assert claims.equal_findings(alone)[0]["verdict"] == "not decided: n too small"  # whatever its ten draws say
