"""The report's conclusions, decided from stored runs made so that the answer is known."""

import numpy as np
import pytest

from tlkeras.reports.tominet import claims as tominet_claims
from tlkeras.reports.tominet.claims import ACCURACY, RIGHT, Claim


def made(scores: dict[str, tuple[np.ndarray, np.ndarray]]) -> list[dict]:
    """Runs of arms, one a seed, with accuracies as they are and recalibrated."""
    return [
        {
            "arm": arm,
            "seed": seed,
            "profile": "paper",
            "metrics": {ACCURACY: float(a), RIGHT: float(b)},
            "data": [],
        }
        for arm, columns in scores.items()
        for seed, (a, b) in enumerate(zip(*columns, strict=True))
    ]


@pytest.fixture
def runs():
    """Baseline 0.5 and 0.7 recalibrated; good 0.8 in both; twin as the baseline, but for noise of either sign."""
    noise = np.linspace(-0.01, 0.01, 20)
    swing = noise * np.where(np.arange(20) % 2, 1, -1)
    return made({
        "baseline": (0.5 + 0 * noise, 0.7 + 0 * noise),
        "good": (0.8 + noise, 0.8 + noise),
        "twin": (0.5 + swing, 0.7 + swing),
    })  # fmt: skip


@pytest.mark.parametrize(
    ("claim", "held"),
    [
        (Claim("", "good", "baseline"), "held"),
        (Claim("", "baseline", "good"), "did not hold"),
        (Claim("", "baseline", "good", expected="second better"), "held"),
        (Claim("", "twin", "baseline"), "not shown"),
        (Claim("", "twin", "baseline", expected="second better"), "not contradicted (no difference shown)"),
        (Claim("", "good", "baseline", expected="no difference shown"), "did not hold"),
    ],
)
def test_findings_decide_each_claim(runs, claim, held):
    (row,) = tominet_claims.findings(runs, [claim])
    assert (row["held"], row["n"]) == (held, 20)


def test_too_few_draws_decide_nothing(runs):
    few = [run for run in runs if run["seed"] < 3]
    assert tominet_claims.findings(few, [Claim("", "good", "baseline")])[0]["held"] == "not decided (n too small)"


def test_p_values_are_adjusted_over_all_claims(runs):
    claim = Claim("", "good", "baseline")
    alone, among = (tominet_claims.findings(runs, [claim] * count)[0]["p_adjusted"] for count in (1, 8))
    assert among == pytest.approx(8 * alone)


def test_artefact_is_the_part_of_the_gain_that_recalibration_takes(runs):
    (row,) = tominet_claims.artefact(runs, ["good"], "baseline")
    assert row["gain"] == pytest.approx(0.3)
    assert row["recalibrated"] == pytest.approx(0.1)
    assert row["share_gone"] == pytest.approx(2 / 3)
    assert row["gain_low"] < row["gain"] < row["gain_high"]
    assert row["recalibrated_low"] < row["recalibrated"] < row["recalibrated_high"]


def test_no_share_of_a_gain_that_may_be_none(runs):
    assert tominet_claims.artefact(runs, ["twin"], "baseline")[0]["share_gone"] is None


@pytest.mark.parametrize("draws", [1, 2, 5])
def test_a_spread_is_not_decided_by_a_few_draws(runs, draws):
    few = [run for run in runs if run["seed"] < draws]
    (row,) = tominet_claims.spread(few, [("twin", "baseline")])
    assert (row["verdict"], row["p_adjusted"], row["n"]) == ("not decided (n too small)", 1.0, draws)


def test_where_no_draws_could_refute_a_claim_it_is_not_decided(runs):
    few = [run for run in runs if run["seed"] < 7]  # 7 pairs reach 0.016, not 0.05 / 9
    claims = [Claim("", "twin", "baseline", expected="second better")] * 9
    assert {row["held"] for row in tominet_claims.findings(few, claims)} == {"not decided (n too small)"}


def test_spread_finds_the_arm_that_depends_on_the_draw(runs):
    generator = np.random.default_rng(0)
    wide, narrow = generator.normal(0.7, 0.1, 30), generator.normal(0.7, 0.01, 30)
    both = made({"wide": (wide, wide), "narrow": (narrow, narrow)})
    first, second = tominet_claims.spread(both, [("narrow", "wide"), ("wide", "narrow")])
    assert first["std"] < first["std_against"] and first["p_adjusted"] < 0.001 and first["n"] == 30
    assert (first["verdict"], second["verdict"]) == ("more consistent", "less consistent")
    assert tominet_claims.spread(both, [("wide", "wide")])[0]["verdict"] == "no difference shown"


def test_arms_without_common_draws():
    one, other = made({"a": ([0.5], [0.5])}), made({"b": ([0.5], [0.5])})
    other[0]["seed"] = 7
    with pytest.raises(ValueError, match="share draws"):
        tominet_claims.artefact(one + other, ["a"], "b")
