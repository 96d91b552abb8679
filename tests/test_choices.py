"""A choice made by test images stands beside the one that validation images make, also draw by draw."""

import pytest
from helpers import made_run

from tlkeras.experiments.runs import Runs
from tlkeras.reports import REPORTS
from tools.choices import Choice, chosen_again

REPORT = REPORTS["tominet"]
CHOICE = Choice("tominet", "how long", ("letters", "letters_longer", "letters_best"), "validation_accuracy")


def runs(values):
    """Return runs of arm -> [(validation, test), ...] by seed."""
    return Runs(
        made_run(REPORT, arm, seed, {"validation_accuracy": validation, "test_accuracy": test})
        for arm, pairs in values.items()
        for seed, (validation, test) in enumerate(pairs)
    )


def test_both_choices_and_what_the_fair_one_loses():
    found = runs({"letters": [(0.9, 0.7), (0.5, 0.7)], "letters_longer": [(0.6, 0.8), (0.6, 0.9)]})
    (row,) = chosen_again([CHOICE], {"tominet": found})
    assert (row["by_test"], row["by_rule"], row["candidates"], row["n"]) == ("letters_longer", "letters", 2, 2)
    assert (row["test_score"], row["rule_score"]) == (pytest.approx(0.85), pytest.approx(0.7))
    assert row["lost"] == pytest.approx(0.15)
    assert row["by_draw"] == pytest.approx((0.7 + 0.9) / 2)


def test_without_a_shared_draw_there_is_no_choice_by_draw_and_one_candidate_is_none():
    found = runs({"letters": [(0.9, 0.7)], "letters_best": [(0.5, 0.6)]})
    apart = Runs([found[0], made_run(REPORT, "letters_best", 5, {"validation_accuracy": 1.0, "test_accuracy": 0.5})])
    (row,) = chosen_again([CHOICE], {"tominet": apart})
    assert (row["by_draw"], row["n"], row["by_rule"]) == (None, 0, "letters_best")
    assert chosen_again([CHOICE], {"tominet": found[:1]}) == chosen_again([CHOICE], {}) == []


def test_a_rule_that_is_the_score_or_a_single_arm_is_refused():
    for arms, rule in ((("letters",), "validation_accuracy"), (("letters", "fashion"), "test_accuracy")):
        with pytest.raises(ValueError, match="two arms or more, and a rule that is no score"):
            Choice("tominet", "x", arms, rule)
