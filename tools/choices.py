"""What was chosen by a look at test images, chosen again by images that score nothing: both numbers side by side."""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from tlkeras.experiments.runs import Runs


@dataclasses.dataclass(frozen=True)
class Choice:
    """A choice among arms that was made by looking at what scores them.

    Attributes:
        report: name of the report.
        what: was chosen, in a few words.
        arms: the candidates, of which each has runs.
        rule: the metric by which the arm is chosen again: of training or validation images alone.
        metric: the metric of test images by which it was chosen, and which is shown.
    """

    report: str
    what: str
    arms: tuple[str, ...]
    rule: str
    metric: str = "test_accuracy"

    def __post_init__(self) -> None:
        if len(self.arms) < 2 or self.rule == self.metric:
            raise ValueError(f"Expected two arms or more, and a rule that is no score. Received: {self}")


def chosen_again(choices: Iterable[Choice], runs: Mapping[str, Runs]) -> list[dict]:
    """Choose by the rule, and by what scores: means over the runs of each arm, the largest one wins.

    A rule by each draw's own images is the fairest: `by_draw` is the mean score of the arms that the rule picks draw by
    draw, among the draws that all candidates have.

    Args:
        choices: of any reports.
        runs: the runs of each report, by its name.

    Returns:
        Rows with report, what, candidates (how many), by_test (arm), test_score, by_rule (arm), rule_score, lost
        (the first score minus the second), by_draw, n (draws that all candidates have); choices of which fewer than
        two candidates have runs are left out.
    """
    rows = []
    for choice in choices:
        own = runs.get(choice.report, Runs())
        arms = [arm for arm in choice.arms if own.have([arm])]
        if len(arms) > 1:
            rows.append({"report": choice.report, "what": choice.what, **_row(own, choice, arms)})
    return rows


def _row(runs: Runs, choice: Choice, arms: list[str]) -> dict:
    scores, rules = ({arm: runs.scores(arm, name) for arm in arms} for name in (choice.metric, choice.rule))
    by_test, by_rule = (_largest({arm: _mean(found[arm]) for arm in arms}) for found in (scores, rules))
    shared = sorted(set.intersection(*(set(found) for found in scores.values())))
    picked = [scores[_largest({arm: rules[arm][seed] for arm in arms})][seed] for seed in shared]
    return {
        "candidates": len(arms),
        "by_test": by_test,
        "test_score": _mean(scores[by_test]),
        "by_rule": by_rule,
        "rule_score": _mean(scores[by_rule]),
        "lost": _mean(scores[by_test]) - _mean(scores[by_rule]),
        "by_draw": float(np.mean(picked)) if picked else None,
        "n": len(shared),
    }


def _largest(by_arm: Mapping[str, float]) -> str:
    return max(by_arm, key=lambda arm: by_arm[arm])


def _mean(scores: Mapping[int, float]) -> float:
    return float(np.mean(list(scores.values())))
