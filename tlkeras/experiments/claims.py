"""Claims of a report, put to the test on runs: one kind of claim, one judge, one vocabulary of verdicts."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tlkeras.experiments import stats, tables
from tlkeras.experiments.runs import Runs
from tlkeras.experiments.tables import LEVEL, NOT_DECIDED

HELD = "held"  # a test says so
NOT_HELD = "did not hold"  # a test says the opposite
NOT_CONTRADICTED = "not contradicted"  # no difference was shown, by runs enough to show one; that proves no equality
VERDICTS = (HELD, NOT_HELD, NOT_CONTRADICTED, NOT_DECIDED)

BETTER, NO_BETTER, NO_DIFFERENT = "better", "no better", "no different"
FAVOURED = {BETTER: 1, NO_BETTER: -1, NO_DIFFERENT: 0}  # who is better by what is expected: the first, the second
NUMBERS = ("difference", "ci_low", "ci_high", "effect", "effect_name")


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence of a report, and the comparisons that decide it.

    Attributes:
        text: the sentence.
        comparisons: `(first arm, second arm, metric)` each; the claim holds if all of them come out as expected.
        expected: that the first arm is "better", "no better" or "no different".
    """

    text: str
    comparisons: tuple[tuple[str, str, str], ...]
    expected: str = BETTER

    def __post_init__(self) -> None:
        if self.expected not in FAVOURED or not self.comparisons:
            received = f"comparisons={self.comparisons}, expected={self.expected!r}"
            raise ValueError(f"Expected comparisons, and one of {tuple(FAVOURED)} of them. Received: {received}")


@dataclasses.dataclass(frozen=True)
class _Evidence:
    """One comparison of a claim; `favours` is 1 where the first arm is better, -1 where the second is, else 0."""

    text: str
    result: stats.Comparison
    favours: int
    p: float  # by this comparison alone, before any correction
    smallest_p: float  # that so many scores could ever give

    @property
    def shown(self) -> bool:
        return self.p < LEVEL


def judge(
    runs: Runs,
    claims: Sequence[Claim],
    *,
    paired: bool = True,
    by_t: bool = False,
    fewest: int = 0,
    instead: Mapping[str, str] | None = None,
) -> list[dict]:
    """Judge claims by tests, p values Holm-adjusted over all of them, in one family.

    A claim of several comparisons asks for all of them, so that its p is the largest of theirs (Berger 1982). It did
    not hold if one of them is decided the other way; that one was chosen out of all, so that its p is multiplied by
    their number (Bonferroni).

    Args:
        runs: of one profile.
        claims: what is judged.
        paired: over the draws that both arms have; False where equal seeds mean nothing in common.
        by_t: decide by Student's t test, where so few runs can be had that no test of ranks reaches the level; with
            fewer than three it decides nothing.
        fewest: with fewer runs nothing is decided.
        instead: arms that stand in for arms without runs, on both sides of a comparison; the row names them.

    Returns:
        A row for each claim: claim, verdict (one of `VERDICTS`), comparison (the one that decides), difference (of
        the means, first minus second), ci_low, ci_high, effect, effect_name, p_adjusted, n. A claim of arms that were
        not run has n 0 and None for its numbers.

    Raises:
        ValueError: a metric that none of an arm's runs has.
    """
    evidence = [_evidence(runs, claim, paired, by_t, instead or {}) for claim in claims]
    pairs = [_p_values(claim, own) for claim, own in zip(claims, evidence, strict=True) if own]
    adjusted = iter(zip(*(stats.adjust(column) for column in zip(*pairs, strict=True)), strict=True))
    rows = []
    for claim, own in zip(claims, evidence, strict=True):
        if not own:
            rows.append(_not_run(claim))
            continue
        one, (p, smallest_p) = _decisive(claim, own), next(adjusted)
        enough = smallest_p < LEVEL and one.result.n >= fewest
        rows.append(_row(claim, _verdict(claim, one, p < LEVEL) if enough else NOT_DECIDED, one, float(p)))
    return rows


def _evidence(runs: Runs, claim: Claim, paired: bool, by_t: bool, instead: Mapping[str, str]) -> list[_Evidence]:
    """Return the evidence of each comparison, none at all where an arm was not run."""
    found = []
    for first, second, metric in claim.comparisons:
        if not runs.have((first, second)):
            first, second = instead.get(first, first), instead.get(second, second)
        if not runs.have((first, second)):
            return []
        result = tables.compare_arms(runs, first, second, metric, paired=paired)
        higher = np.sign(result.difference) if by_t else np.sign(result.effect - result.even)
        favours = -higher if tables.lower_is_better(metric) else higher
        p, smallest_p = _by_t(result) if by_t else (result.p, result.smallest_p)
        text = f"{first} against {second}, {metric.replace('_', ' ')}"
        found.append(_Evidence(text, result, int(favours), p, smallest_p))
    return found


def _by_t(result: stats.Comparison) -> tuple[float, float]:
    """Return p of the t test and the smallest that it could give: 1 with too few scores to say anything."""
    return (result.t_p, 0.0) if np.isfinite(result.t_p) else (1.0, 1.0)


def _decisive(claim: Claim, evidence: Sequence[_Evidence]) -> _Evidence:
    """Return the strongest evidence against a claim that is shown, else the weakest in favour of it."""
    if against := _against(claim, evidence):
        return min(against, key=lambda one: one.p)
    return max(evidence, key=lambda one: (one.favours != FAVOURED[claim.expected], one.p))


def _against(claim: Claim, evidence: Sequence[_Evidence]) -> list[_Evidence]:
    return [one for one in evidence if one.shown and one.favours != FAVOURED[claim.expected]]


def _p_values(claim: Claim, evidence: Sequence[_Evidence]) -> tuple[float, float]:
    """Return the p of a claim, and the smallest that its numbers of runs could ever give."""
    one = _decisive(claim, evidence)
    if _against(claim, evidence):
        return min(1.0, len(evidence) * one.p), min(1.0, len(evidence) * one.smallest_p)
    return one.p, max(own.smallest_p for own in evidence)


def _verdict(claim: Claim, one: _Evidence, decided: bool) -> str:
    if not decided:
        return NOT_CONTRADICTED
    return HELD if one.favours == FAVOURED[claim.expected] else NOT_HELD


def _row(claim: Claim, verdict: str, one: _Evidence, p: float) -> dict:
    numbers = {key: getattr(one.result, key) for key in NUMBERS}
    return {
        "claim": claim.text,
        "verdict": verdict,
        "comparison": one.text,
        **numbers,
        "p_adjusted": p,
        "n": one.result.n,
    }


def _not_run(claim: Claim) -> dict:
    numbers = dict.fromkeys(NUMBERS)
    return {"claim": claim.text, "verdict": NOT_DECIDED, "comparison": "", **numbers, "p_adjusted": None, "n": 0}
