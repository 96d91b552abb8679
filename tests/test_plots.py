"""Tests of tlkeras.experiments.figures: what is drawn where, and what is left behind (nothing)."""

import io

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib import text as matplotlib_text
from scipy import stats as scipy_stats

from tlkeras.experiments import figures, stats

matplotlib.use("Agg")
ARMS = ["scratch", "letters", "fashion"]
REFERENCE = {("scratch", "test_accuracy"): {"value": 0.67, "source": "Table 1"}}


def history(seed=0, head=4, fine_tune=2):
    epochs = head + fine_tune
    curves = np.random.default_rng(seed).uniform(0.2, 0.9, (4, epochs)).tolist()
    phases = ["head"] * head + ["fine_tune"] * fine_tune
    return dict(zip(("accuracy", "loss", "val_accuracy", "val_loss", "phase"), [*curves, phases], strict=True))


def make_runs(n=8):
    runs = []
    for index, arm in enumerate(ARMS):
        accuracy = np.random.default_rng(index).uniform(0.5, 0.8, n) + index / 20
        for seed, value in enumerate(accuracy):
            metrics = {"test_accuracy": value, "test_accuracy_recalibrated": value + 0.1 * (1 - value)}
            runs.append({"arm": arm, "seed": seed, "profile": "paper", "metrics": metrics, "history": history(seed)})
    return runs


FIGURES = {
    "history": lambda: figures.learning_curves(history()),
    "curves": lambda: figures.learning_curves(make_runs(), title="Learning"),
    "arms": lambda: figures.accuracy_by_arm(make_runs(), ARMS, "test_accuracy", reference=REFERENCE),
    "draws": lambda: figures.draw_effect(make_runs(), ARMS, "test_accuracy"),
    "pairs": lambda: figures.metric_pairs(make_runs(), ARMS, "test_accuracy", "test_accuracy_recalibrated"),
}


def line(panel, label):
    return next(line for line in panel.get_lines() if line.get_label() == label)


def shown_texts(figure):
    return [text for text in figure.findobj(matplotlib_text.Text) if text.get_visible() and text.get_text().strip()]


def boundaries(panel):
    return [line.get_xdata()[0] for line in panel.get_lines() if line.get_linestyle() == ":"]


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_global_changes(name):
    before = dict(matplotlib.rcParams)
    FIGURES[name]()
    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", FIGURES)
def test_text_is_large_and_inside_whatever_the_caller_set(name):
    with matplotlib.rc_context({"font.size": 6, "axes.labelsize": 5, "xtick.labelsize": 4}):
        figure = FIGURES[name]()
        figure.draw_without_rendering()
    assert figure.get_figwidth() == 8
    assert min(text.get_fontsize() for text in shown_texts(figure)) >= 11
    assert not any(panel.spines[side].get_visible() for panel in figure.axes for side in ("top", "right"))
    drawn = figure.get_tightbbox()
    assert np.all(drawn.min >= 0) and np.all(drawn.max <= figure.get_size_inches())


@pytest.mark.parametrize("name", FIGURES)
def test_same_runs_give_the_same_picture(name):
    pictures = []
    for _ in range(2):
        picture = io.BytesIO()
        FIGURES[name]().savefig(picture, format="png", dpi=30)
        pictures.append(picture.getvalue())
    assert pictures[0] == pictures[1]


def test_one_history_is_drawn_as_it_is():
    curves = history()
    accuracy, loss = figures.learning_curves(curves).axes
    assert (accuracy.get_ylabel(), accuracy.get_xlabel()) == ("accuracy (fraction of images)", "epoch")
    assert loss.get_ylabel() == "loss (cross-entropy)"
    for panel, key in ((accuracy, "accuracy"), (loss, "loss")):
        np.testing.assert_allclose(line(panel, "training").get_ydata(), curves[key])
        np.testing.assert_allclose(line(panel, "validation").get_ydata(), curves[f"val_{key}"])
        np.testing.assert_array_equal(line(panel, "training").get_xdata(), np.arange(1, 7))
    assert len(accuracy.collections) == 0


def test_many_runs_are_their_median_and_a_band():
    runs = [run for run in make_runs() if run["arm"] == "letters"]
    accuracy, loss = figures.learning_curves(runs).axes
    values = np.array([run["history"]["val_loss"] for run in runs])
    np.testing.assert_allclose(line(loss, "validation").get_ydata(), np.median(values, axis=0))
    band = loss.collections[1].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(np.percentile(values, 10, axis=0).min())
    assert band[:, 1].max() == pytest.approx(np.percentile(values, 90, axis=0).max())
    texts = [text.get_text() for text in accuracy.figure.legends[0].get_texts()]
    assert texts == ["training", "validation", "median, 10 to 90 % of 8 runs"]


def test_epochs_without_validation_are_left_out():
    curves = history() | {"val_accuracy": [None, 0.5, None, None, 0.6, float("nan")], "val_loss": [None] * 6}
    accuracy, loss = figures.learning_curves(curves).axes
    assert line(accuracy, "validation").get_xdata().tolist() == [2, 5]
    assert line(accuracy, "validation").get_ydata().tolist() == [0.5, 0.6]
    assert "validation" not in loss.get_legend_handles_labels()[1]


def test_runs_that_stopped_early_count_as_far_as_they_go():
    long, short = history(0, 4, 2), history(1, 3, 0)
    accuracy = figures.learning_curves([{"history": long}, {"history": short}]).axes[0]
    drawn = line(accuracy, "training").get_ydata()
    np.testing.assert_allclose(drawn[:3], (np.array(long["accuracy"][:3]) + short["accuracy"]) / 2)
    np.testing.assert_allclose(drawn[3:], long["accuracy"][3:])
    assert boundaries(accuracy) == [4.5]


def test_phases_are_marked_between_their_epochs_and_named():
    panel = figures.learning_curves(history(head=35, fine_tune=15)).axes[0]
    assert boundaries(panel) == [35.5]
    assert [(text.get_text(), text.get_position()[0]) for text in panel.texts] == [("head", 18), ("fine tune", 43)]


@pytest.mark.parametrize(("head", "options"), [(6, {}), (4, {"phase_boundaries": False})])
def test_no_phases_no_marks(head, options):
    panel = figures.learning_curves(history(head=head, fine_tune=6 - head), **options).axes[0]
    assert boundaries(panel) == [] and len(panel.texts) == 0


@pytest.mark.parametrize("nothing", [[], {}, [{"history": {}}]])
def test_curves_of_nothing_are_refused(nothing):
    with pytest.raises(ValueError, match=r"at least one epoch\. Received: "):
        figures.learning_curves(nothing)


def test_each_arm_has_its_runs_its_mean_and_the_reported_number():
    runs = make_runs()
    figure = figures.accuracy_by_arm(
        runs, ARMS, "test_accuracy", reference=REFERENCE, labels={"scratch": "without transfer"}
    )
    (panel,) = figure.axes
    scores = [[run["metrics"]["test_accuracy"] for run in runs if run["arm"] == arm] for arm in ARMS]
    dots = [line for line in panel.get_lines() if line.get_label() == "one run"]
    for row, (drawn, values) in enumerate(zip(dots, scores, strict=True)):
        np.testing.assert_allclose(drawn.get_xdata(), values)
        assert np.all(np.abs(drawn.get_ydata() - row) < 0.5)
    summary = stats.summarize(scores[0])
    assert list(line(panel, "mean, 95 % interval").get_xdata()) == [summary.ci_low, summary.ci_high]
    reported = [line for line in panel.get_lines() if line.get_label() == "report (n=1)"]
    assert [(mark.get_xdata()[0], mark.get_ydata()[0]) for mark in reported] == [(0.67, 0)]
    assert panel.get_yticklabels()[0].get_text() == "without transfer\n(n=8)"
    assert panel.get_xlabel() == "test accuracy (fraction of images)"
    assert panel.yaxis_inverted()


def test_without_a_reference_nothing_is_reported():
    figure = figures.accuracy_by_arm(make_runs(1), ARMS, "test_accuracy")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one run", "mean, 95 % interval"]


def test_draws_are_sorted_by_the_first_arm_and_correlated():
    runs = make_runs()
    draws, correlations = figures.draw_effect(runs, ARMS, "test_accuracy").axes
    scores = {arm: [run["metrics"]["test_accuracy"] for run in runs if run["arm"] == arm] for arm in ARMS}
    order = np.argsort(scores["scratch"])
    for arm in ARMS:
        np.testing.assert_allclose(line(draws, arm).get_ydata(), np.array(scores[arm])[order])
    expected = [
        scipy_stats.spearmanr(scores[first], scores[second]).statistic
        for first, second in (ARMS[:2], ARMS[::2], ARMS[1:])
    ]
    assert [text.get_text() for text in correlations.texts] == [f"{value:.2f}" for value in expected]
    assert "n=8" in correlations.get_title()


def test_one_arm_has_no_correlations_and_equal_scores_no_number():
    runs = make_runs()
    assert len(figures.draw_effect(runs, ["letters"], "test_accuracy").axes) == 1
    for run in runs:
        if run["arm"] == "letters":
            run["metrics"]["test_accuracy"] = 0.5
    assert figures.draw_effect(runs, ARMS[:2], "test_accuracy").axes[1].texts[0].get_text() == "nan"


def test_draws_that_not_all_arms_have_are_left_out():
    runs = [run for run in make_runs() if run["arm"] != "letters" or run["seed"] < 3]
    draws = figures.draw_effect(runs, ARMS, "test_accuracy").axes[0]
    assert len(line(draws, "scratch").get_ydata()) == 3
    runs = [run for run in runs if run["arm"] != "letters" or run["seed"] < 1]
    with pytest.raises(ValueError, match=r"scratch, letters, fashion have\. Received: \[0\]$"):
        figures.draw_effect(runs, ARMS, "test_accuracy")


def test_pairs_go_from_before_to_after_with_the_mean_last():
    runs = make_runs()
    figure = figures.metric_pairs(
        runs, ARMS[:2], "test_accuracy", "test_accuracy_recalibrated", labels={"letters": "from letters"}
    )
    scratch, letters = figure.axes
    metrics = [run["metrics"] for run in runs if run["arm"] == "letters"]
    pairs = np.array([[m["test_accuracy"], m["test_accuracy_recalibrated"]] for m in metrics])
    np.testing.assert_allclose([line.get_ydata() for line in letters.get_lines()[:-1]], pairs)
    np.testing.assert_allclose(letters.get_lines()[-1].get_ydata(), pairs.mean(axis=0))
    assert "from letters" in letters.get_title() and "(n=8)" in letters.get_title()
    assert scratch.get_ylim() == letters.get_ylim()
    assert figure.get_supxlabel() == "before: test accuracy, after: test accuracy recalibrated"


@pytest.mark.parametrize("draw", [figures.accuracy_by_arm, figures.draw_effect])
def test_unknown_metrics_are_refused(draw):
    with pytest.raises(ValueError, match=r"Received: metric='accuracy'$"):
        draw(make_runs(), ARMS, "accuracy")
    assert plt.get_fignums() == []
