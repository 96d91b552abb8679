"""Tests of tlkeras.experiments.figures: what is drawn where, and what is left behind (nothing)."""

import matplotlib
import numpy as np
import pytest
from helpers import tiny
from matplotlib import pyplot as plt
from matplotlib import text as matplotlib_text
from scipy.stats import spearmanr

from tlkeras.experiments import figures, stats
from tlkeras.experiments.runs import Run, Runs

ARMS = ["scratch", "letters", "fashion"]
REFERENCE = {("scratch", "test_accuracy"): {"value": 0.67, "source": "Table 1"}}
COUNTS = {"conv1": 10, "fire2": 2_000, "conv10": 300_000}
BINS = [{"predicted": 0.1, "observed": 0.2, "n": 30}, {"predicted": 0.9, "observed": 0.8, "n": 10}]


def history(seed=0, head=4, fine_tune=2):
    epochs = head + fine_tune
    curves = np.random.default_rng(seed).uniform(0.2, 0.9, (4, epochs)).tolist()
    phases = ["head"] * head + ["fine_tune"] * fine_tune
    return dict(zip(("accuracy", "loss", "val_accuracy", "val_loss", "phase"), [*curves, phases], strict=True))


def run(arm, seed, metrics=None, curves=None):
    return Run("tominet", arm, seed, "paper", {}, metrics or {}, [], [], history=curves or {})


def make_runs(n=8):
    runs = []
    for index, arm in enumerate(ARMS):
        accuracy = np.random.default_rng(index).uniform(0.5, 0.8, n) + index / 20
        for seed, value in enumerate(accuracy.tolist()):
            metrics = {"test_accuracy": value, "test_accuracy_recalibrated": value + 0.1 * (1 - value)}
            runs.append(run(arm, seed, metrics, history(seed)))
    return Runs(runs)


RUNS = make_runs()
FIGURES = {
    "curves": lambda: figures.learning_curves(RUNS, title="Learning"),
    "by arm": lambda: figures.curves_by_arm(RUNS, ARMS, ("loss", "val_loss"), title="Learning"),
    "arms": lambda: figures.accuracy_by_arm(RUNS, ARMS, "test_accuracy", reference=REFERENCE),
    "draws": lambda: figures.draw_effect(RUNS, ARMS, "test_accuracy"),
    "pairs": lambda: figures.metric_pairs(RUNS, ARMS, "test_accuracy", "test_accuracy_recalibrated"),
    "blocks": lambda: figures.frozen_blocks(COUNTS, {"head": {"conv10"}, "all": set(COUNTS)}),
    "reliability": lambda: figures.reliability_diagram({"before": BINS, "after": BINS[:1]}),
}


def line(panel, label):
    return next(line for line in panel.get_lines() if line.get_label() == label)


def shown_texts(figure):
    return [text for text in figure.findobj(matplotlib_text.Text) if text.get_visible() and text.get_text().strip()]


def legend_texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def boundaries(panel):
    return [line.get_xdata()[0] for line in panel.get_lines() if line.get_linestyle() == ":"]


@pytest.mark.parametrize("name", FIGURES)
def test_text_is_large_and_inside_whatever_the_caller_set_and_nothing_global_changes(name):
    with matplotlib.rc_context({"font.size": 6, "axes.labelsize": 5, "xtick.labelsize": 4}):
        before = dict(matplotlib.rcParams)
        figure = FIGURES[name]()
        assert plt.get_fignums() == []
        assert dict(matplotlib.rcParams) == before
        figure.draw_without_rendering()
    assert figure.get_figwidth() == 8
    assert min(text.get_fontsize() for text in shown_texts(figure)) >= 11
    assert not any(panel.spines[side].get_visible() for panel in figure.axes for side in ("top", "right"))
    drawn = figure.get_tightbbox()
    assert np.all(drawn.min >= 0) and np.all(drawn.max <= figure.get_size_inches())


def test_labels_keep_clear_of_each_other_and_inside():
    figure, (panel,) = figures.subplots(1, 1, height=3)
    x, y = np.array([1.0, 1.01, 1.02, 9.0]), np.array([0.5, 0.5, 0.5, 0.9])
    figures.points(panel, x, y)
    panel.margins(0.1)
    figures.label_points(panel, x, y, ["first", "second", "", "very long label"])
    figure.draw_without_rendering()
    assert [text.get_text() for text in panel.texts] == ["first", "second", "very long label"]
    boxes = [text.get_window_extent() for text in panel.texts]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    markers = panel.transData.transform(np.column_stack([x, y]))
    assert not any(box.contains(*marker) for box in boxes for marker in markers)
    assert all(panel.bbox.x0 <= box.x0 and box.x1 <= panel.bbox.x1 for box in boxes)


@pytest.mark.parametrize(
    ("labels", "columns"),
    [(["a", "b", "a"], 2), ([f"a text that is long {i}" for i in range(6)], 3), (["x" * 90, "y"], 1)],
)
def test_a_legend_has_as_few_rows_as_fit_and_each_label_once(labels, columns):
    figure, (panel,) = figures.subplots(1, 1, height=3)
    for label in labels:
        panel.plot([0], [0], label=label)
    figures.legend_below(figure, panel)
    assert legend_texts(figure) == list(dict.fromkeys(labels))
    assert figure.legends[0]._ncols == columns


def test_axes_name_the_metric_and_its_unit():
    names = ("val_loss", "test_accuracy_recalibrated", "training_seconds", "val_roc_auc")
    assert [figures.axis_label(name) for name in names] == [
        "validation loss (cross-entropy)",
        "test accuracy recalibrated (fraction of images)",
        "training seconds (s)",
        "validation ROC AUC",
    ]


def test_one_history_is_drawn_as_it_is():
    curves = history()
    for given in (curves, {"history": curves}, Runs([run("a", 0, curves=curves)])):
        accuracy, loss = figures.learning_curves(given).axes
        assert (accuracy.get_ylabel(), accuracy.get_xlabel()) == ("accuracy (fraction of images)", "epoch")
        assert loss.get_ylabel() == "loss (cross-entropy)"
        for panel, key in ((accuracy, "accuracy"), (loss, "loss")):
            np.testing.assert_allclose(line(panel, "training").get_ydata(), curves[key])
            np.testing.assert_allclose(line(panel, "validation").get_ydata(), curves[f"val_{key}"])
            np.testing.assert_array_equal(line(panel, "training").get_xdata(), np.arange(1, 7))
        assert len(accuracy.collections) == 0


def test_many_runs_are_their_median_and_a_band():
    runs = RUNS.of("letters")
    accuracy, loss = figures.learning_curves(runs).axes
    values = np.array([run.history["val_loss"] for run in runs])
    np.testing.assert_allclose(line(loss, "validation").get_ydata(), np.median(values, axis=0))
    band = loss.collections[1].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(np.percentile(values, 10, axis=0).min())
    assert band[:, 1].max() == pytest.approx(np.percentile(values, 90, axis=0).max())
    assert legend_texts(accuracy.figure) == ["training", "validation", "median, 10 to 90 % of 8 runs"]


def test_epochs_without_validation_are_left_out():
    curves = history() | {"val_accuracy": [None, 0.5, None, None, 0.6, float("nan")], "val_loss": [None] * 6}
    accuracy, loss = figures.learning_curves(curves).axes
    assert line(accuracy, "validation").get_xdata().tolist() == [2, 5]
    assert line(accuracy, "validation").get_ydata().tolist() == [0.5, 0.6]
    assert "validation" not in loss.get_legend_handles_labels()[1]


def test_runs_that_stopped_early_count_as_far_as_they_go():
    long, short = history(0, 4, 2), history(1, 3, 0)
    accuracy = figures.learning_curves(Runs([run("a", 0, curves=long), run("a", 1, curves=short)])).axes[0]
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


@pytest.mark.parametrize("nothing", [Runs(), {}, Runs([run("a", 0)])])
def test_curves_of_nothing_are_refused(nothing):
    with pytest.raises(ValueError, match=r"at least one epoch\. Received: "):
        figures.learning_curves(nothing)


def test_lines_of_arms_are_medians_and_what_diverges_does_not_flatten_the_rest():
    runs = Runs(
        [
            run("full", 0, curves={"loss": [90.0, 0.7], "val_roc_auc": [0.5, None]}),
            run("full", 1, curves={"loss": [80.0, 0.5], "val_roc_auc": [0.7, None]}),
            run("frozen", 0, curves={"loss": [0.6, 0.4, 0.3], "val_roc_auc": [0.9, 0.95, 0.96]}),
        ]
    )
    arms, keys = ["full", "frozen"], ("loss", "val_roc_auc")
    losses, areas = figures.curves_by_arm(runs, arms, keys, labels={"full": "everything"}).axes
    assert [line.get_label() for line in losses.lines] == ["everything", "frozen"]
    np.testing.assert_allclose(losses.lines[0].get_ydata(), [85.0, 0.6])
    np.testing.assert_allclose(areas.lines[0].get_ydata(), [0.6, np.nan])
    assert losses.get_ylim() == (0, figures.MOST_OF_A_LOSS)
    assert (losses.get_ylabel(), areas.get_ylabel()) == ("loss (cross-entropy)", "validation ROC AUC")
    for arm, key in (("last", "loss"), ("full", "val_loss")):
        with pytest.raises(ValueError, match=f"'{arm}' with the curve '{key}'"):
            figures.curves_by_arm(runs, [arm], (key,))


def test_each_arm_has_its_runs_its_mean_and_the_reported_number():
    labels = {"scratch": "without transfer"}
    figure = figures.accuracy_by_arm(RUNS, ARMS, "test_accuracy", reference=REFERENCE, labels=labels)
    (panel,) = figure.axes
    scores = [[run.metrics["test_accuracy"] for run in RUNS.of(arm)] for arm in ARMS]
    dots = [line for line in panel.get_lines() if line.get_label() == "one run"]
    for row, (drawn, values) in enumerate(zip(dots, scores, strict=True)):
        np.testing.assert_allclose(drawn.get_xdata(), values)
        assert np.all(np.abs(drawn.get_ydata() - row) < 0.5)
        np.testing.assert_allclose(drawn.get_ydata() - row, dots[0].get_ydata())  # scattered alike in every picture
    summary = stats.summarize(scores[0])
    assert list(line(panel, "mean, 95 % interval").get_xdata()) == [summary.ci_low, summary.ci_high]
    reported = [line for line in panel.get_lines() if line.get_label() == "report (n=1)"]
    assert [(mark.get_xdata()[0], mark.get_ydata()[0]) for mark in reported] == [(0.67, 0)]
    assert panel.get_yticklabels()[0].get_text() == "without transfer\n(n=8)"
    assert panel.get_xlabel() == "test accuracy (fraction of images)"
    assert panel.yaxis_inverted()
    assert legend_texts(figures.accuracy_by_arm(RUNS, ARMS, "test_accuracy")) == ["one run", "mean, 95 % interval"]


def test_draws_are_sorted_by_the_first_arm_and_correlated():
    draws, correlations = figures.draw_effect(RUNS, ARMS, "test_accuracy").axes
    scores = {arm: list(RUNS.scores(arm, "test_accuracy").values()) for arm in ARMS}
    order = np.argsort(scores["scratch"])
    for arm in ARMS:
        np.testing.assert_allclose(line(draws, arm).get_ydata(), np.array(scores[arm])[order])
    pairs = (ARMS[:2], ARMS[::2], ARMS[1:])
    expected = [spearmanr(scores[first], scores[second]).statistic for first, second in pairs]
    assert [text.get_text() for text in correlations.texts] == [f"{value:.2f}" for value in expected]
    assert "n=8" in correlations.get_title()
    assert len(figures.draw_effect(RUNS, ["letters"], "test_accuracy").axes) == 1


def test_equal_scores_have_no_correlation():
    runs = RUNS.of("scratch") + Runs(run("letters", seed, {"test_accuracy": 0.5}) for seed in range(8))
    assert figures.draw_effect(runs, ARMS[:2], "test_accuracy").axes[1].texts[0].get_text() == "nan"


def test_draws_that_not_all_arms_have_are_left_out():
    runs = RUNS.where(lambda run: run.arm != "letters" or run.seed < 3)
    draws = figures.draw_effect(runs, ARMS, "test_accuracy").axes[0]
    assert len(line(draws, "scratch").get_ydata()) == 3
    runs = RUNS.where(lambda run: run.arm != "letters" or run.seed < 1)
    with pytest.raises(ValueError, match=r"scratch, letters, fashion have\. Received: \[0\]$"):
        figures.draw_effect(runs, ARMS, "test_accuracy")


def test_pairs_go_from_before_to_after_with_the_mean_last():
    labels = {"letters": "from letters"}
    figure = figures.metric_pairs(RUNS, ARMS[:2], "test_accuracy", "test_accuracy_recalibrated", labels=labels)
    scratch, letters = figure.axes
    pairs = np.array([list(run.metrics.values()) for run in RUNS.of("letters")])
    np.testing.assert_allclose([line.get_ydata() for line in letters.get_lines()[:-1]], pairs)
    np.testing.assert_allclose(letters.get_lines()[-1].get_ydata(), pairs.mean(axis=0))
    assert "from letters" in letters.get_title() and "(n=8)" in letters.get_title()
    assert scratch.get_ylim() == letters.get_ylim()
    assert figure.get_supxlabel() == "before: test accuracy, after: test accuracy recalibrated"


@pytest.mark.parametrize("draw", [figures.accuracy_by_arm, figures.draw_effect])
def test_unknown_metrics_are_refused(draw):
    with pytest.raises(ValueError, match=r"Received: metric='accuracy'$"):
        draw(RUNS, ARMS, "accuracy")
    assert plt.get_fignums() == []


def test_layers_are_gathered_into_blocks_with_all_their_parameters():
    assert figures.parameters_by_block(tiny()) == {"conv": 40 + 111, "batch": 16 + 12, "dense": 39}


def test_a_row_says_how_much_it_trains_and_fills_these_boxes():
    figure = figures.frozen_blocks(COUNTS, {"head": {"conv10"}, "some": {"conv1", "fire2"}})
    titles = [panel.get_title(loc="left") for panel in figure.axes]
    assert titles == [
        "head: 300,000 of 302,010 parameters trained (99.3%)",
        "some: 2,010 of 302,010 parameters trained (0.7%)",
    ]
    hatched = [[bool(box.get_hatch()) for box in panel.patches] for panel in figure.axes]
    assert hatched == [[True, True, False], [False, False, True]]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["conv1", "0.0k", "fire2", "2.0k", "conv10", "300k"]
    assert sorted(legend_texts(figure)) == ["frozen", "trained"]


@pytest.mark.parametrize(("rows", "message"), [({"a": {"fire3"}}, "fire3"), ({}, "no rows")])
def test_unknown_blocks_and_no_rows_are_refused(rows, message):
    with pytest.raises(ValueError, match=f"Received: .*{message}"):
        figures.frozen_blocks(COUNTS, rows)


def test_reliability_is_drawn_against_the_diagonal():
    (panel,) = figures.reliability_diagram({"before": BINS, "after": BINS[:1]}, positive="bees").axes
    diagonal, first, second = panel.lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]
    assert list(first.get_xdata()) == [0.1, 0.9] and list(second.get_ydata()) == [0.2]
    assert panel.collections[0].get_sizes().tolist() == [320, 120]
    assert "before (n=40)" in panel.get_legend_handles_labels()[1]
    assert panel.get_xlabel() == "predicted probability of bees"
    for nothing in ({}, {"before": []}):
        with pytest.raises(ValueError, match="Expected one series or more"):
            figures.reliability_diagram(nothing)
