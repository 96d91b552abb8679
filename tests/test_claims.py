"""Claims: what the judge says of runs made so that the verdict is known."""

import pytest

from tlkeras.experiments.claims import (
    HELD,
    NO_BETTER,
    NO_DIFFERENT,
    NOT_CONTRADICTED,
    NOT_DECIDED,
    NOT_HELD,
    VERDICTS,
    Claim,
    judge,
)
from tlkeras.experiments.runs import Run, Runs


def made(**arms):
    """Return runs of the given scores, `arm=[...]`, of which `loss` is the negative."""
    return Runs(
        Run("toy", arm, seed, "paper", {}, {"score": score, "loss": -score}, [], [])
        for arm, scores in arms.items()
        for seed, score in enumerate(scores)
    )


LOW = [0.1, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16]
HIGH = [0.5, 0.53, 0.51, 0.55, 0.52, 0.54, 0.56]
MIXED = [0.2, 0.01, 0.22, 0.03, 0.24, 0.05, 0.1]
ALL = made(low=LOW, high=HIGH, mixed=MIXED, few_low=LOW[:3], few_high=HIGH[:3], wide=[0.9, 0.1, 0.9, 0.8, 0.2])


def verdict(*comparisons, expected="better", **options):
    (row,) = judge(ALL, [Claim("a claim", comparisons, expected)], **options)
    return row["verdict"]


@pytest.mark.parametrize(
    ("first", "second", "metric", "verdicts"),
    [
        ("high", "low", "score", (HELD, NOT_HELD, NOT_HELD)),
        ("low", "high", "score", (NOT_HELD, HELD, NOT_HELD)),
        ("high", "low", "loss", (HELD, NOT_HELD, NOT_HELD)),  # less of a loss is better
        ("low", "mixed", "score", (NOT_CONTRADICTED,) * 3),
        ("few_high", "few_low", "score", (NOT_DECIDED,) * 3),
        ("high", "missing", "score", (NOT_DECIDED,) * 3),
    ],
)
@pytest.mark.parametrize("paired", [True, False])
def test_verdicts_by_test(first, second, metric, verdicts, paired):
    for expected, wanted in zip(("better", NO_BETTER, NO_DIFFERENT), verdicts, strict=True):
        assert verdict((first, second, metric), expected=expected, paired=paired) == wanted
        assert wanted in VERDICTS


def test_a_row_has_the_numbers_of_the_comparison_that_decides():
    claims = [Claim("high is best", (("high", "low", "score"), ("high", "mixed", "score")))]
    (row,) = judge(ALL, claims)
    assert list(row) == [
        *(
            "claim",
            "verdict",
            "comparison",
            "difference",
            "ci_low",
            "ci_high",
            "effect",
            "effect_name",
            "p_adjusted",
            "n",
        )
    ]
    assert (row["claim"], row["verdict"], row["n"], row["effect"]) == ("high is best", HELD, 7, 1.0)
    assert row["p_adjusted"] == 2 / 2**7 and 0.3 < row["ci_low"] < row["difference"] < row["ci_high"] < 0.6
    assert row["effect_name"] == "rank-biserial correlation"


def test_a_claim_of_several_comparisons_asks_for_all_of_them():
    sure, unsure, opposite = ("high", "low", "score"), ("low", "mixed", "score"), ("low", "high", "score")
    assert verdict(sure, sure) == HELD
    (row,) = judge(ALL, [Claim("both", (sure, unsure))])
    assert (row["verdict"], row["comparison"]) == (NOT_CONTRADICTED, "low against mixed, score")
    (row,) = judge(ALL, [Claim("all three", (sure, unsure, opposite))])
    assert (row["verdict"], row["comparison"]) == (NOT_HELD, "low against high, score")
    assert verdict(sure, ("high", "missing", "score")) == NOT_DECIDED


def test_the_strongest_of_several_against_a_claim_is_corrected_for_their_number():
    close = [0.1, 0.12, 0.14, 0.16, 0.18, 0.2]
    runs = made(first=close, second=[value + 0.01 for value in close], third=close[::-1])
    opposite, even = ("first", "second", "score"), ("first", "third", "score")
    (row,) = judge(runs, [Claim("one", (opposite,))])
    assert (row["verdict"], row["p_adjusted"]) == (NOT_HELD, pytest.approx(2 / 2**6))
    (row,) = judge(runs, [Claim("two", (opposite, even))])
    assert (row["verdict"], row["p_adjusted"]) == (NOT_DECIDED, pytest.approx(2 * 2 / 2**6))


def test_p_values_are_adjusted_over_the_claims_that_were_run():
    one = Claim("one", (("high", "low", "score"),))
    missing = Claim("missing", (("missing", "low", "score"),))
    rows = judge(ALL, [one, missing, one, one])
    assert [row["p_adjusted"] for row in rows] == [6 / 2**7, None, 6 / 2**7, 6 / 2**7]
    assert rows[1] == {**dict.fromkeys(rows[0]), "claim": "missing", "verdict": NOT_DECIDED, "comparison": "", "n": 0}
    many = judge(ALL, [one] * 4)
    assert {row["verdict"] for row in many} == {NOT_DECIDED}, "four claims are too many for seven pairs"
    assert judge(ALL, []) == []


def test_a_t_test_decides_where_no_test_of_ranks_can():
    options = {"by_t": True}
    assert verdict(("few_high", "few_low", "score"), **options) == HELD
    assert verdict(("few_low", "few_high", "score"), **options) == NOT_HELD
    assert verdict(("few_high", "few_low", "loss"), **options) == HELD
    assert verdict(("wide", "high", "score"), **options) == NOT_CONTRADICTED
    assert verdict(("few_high", "few_low", "score"), fewest=5, **options) == NOT_DECIDED
    one = made(one=[0.1], other=[0.2])
    (row,) = judge(one, [Claim("of one run", (("other", "one", "score"),))], by_t=True)
    assert row["verdict"] == NOT_DECIDED, "one run does not scatter"


def test_other_arms_stand_in_for_arms_without_runs_on_both_sides():
    claim = Claim("full against frozen", (("high", "full", "score"),))
    instead = {"full": "few_low", "high": "few_high"}
    (row,) = judge(ALL, [claim], instead=instead)
    assert (row["comparison"], row["n"]) == ("few_high against few_low, score", 3)
    (row,) = judge(ALL, [Claim("there", (("high", "low", "score"),))], instead=instead)
    assert row["n"] == 7


@pytest.mark.parametrize(("comparisons", "expected"), [((), "better"), ((("a", "b", "score"),), "worse")])
def test_claims_that_say_nothing_are_refused(comparisons, expected):
    with pytest.raises(ValueError, match=rf"Received: comparisons=.*expected='{expected}'$"):
        Claim("nothing", comparisons, expected)
