"""What report 001 advises, put to the test on stored runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.experiments import stats, tables
from tlkeras.experiments.claims import HELD, NOT_CONTRADICTED, NOT_DECIDED, NOT_HELD, Claim, judge
from tlkeras.experiments.runs import Runs
from tlkeras.reports.strategies.settings import (
    BLOCKS,
    CELLS,
    FEATURE_ARMS,
    LABELS,
    LATER,
    RATE_ARMS,
    SIMILAR,
    SMALL,
    STRATEGIES,
    FrozenFeatures,
    arm_name,
)

if TYPE_CHECKING:
    from tlkeras.transfer.strategies import Advice

ACCURACY = "test_accuracy"
LATER_VERDICTS = {  # of a strategy that is laid beside the advised one
    HELD: "beat the advice",
    NOT_CONTRADICTED: "showed no difference",
    NOT_HELD: "did worse",
    NOT_DECIDED: "had too few draws to say",
}
FEWEST = 5  # draws


def findings(runs: Runs) -> list[dict]:
    """Judge for each target and size whether the advised strategy is better than the other two, on the same draws.

    By Student's t test, because few seeds cannot make the p of a test of ranks small; see `claims.judge`.

    Returns:
        Rows of `judge` with quadrant, target, size, advised and accuracy before them, by quadrant; only cells of which
        all three strategies have runs.
    """
    cells = _complete(runs)
    claims = [
        Claim(
            f"{advice.strategy} is best: {dataset}, {size}",
            tuple((advised, other, ACCURACY) for other in _arms(dataset, size).values() if other != advised),
        )
        for dataset, size, advice, advised in cells
    ]
    rows = [
        {
            "quadrant": advice.quadrant,
            "target": dataset,
            "size": size,
            "advised": advice.strategy,
            "accuracy": _mean(runs, advised),
            **row,
        }
        for (dataset, size, advice, advised), row in zip(
            cells, judge(runs, claims, by_t=True, fewest=FEWEST), strict=True
        )
    ]
    return sorted(rows, key=lambda row: row["quadrant"])


def _arms(dataset: str, size: str) -> dict[str, str]:
    """Return the arm of each strategy."""
    return {strategy: arm_name(dataset, size, strategy) for strategy in STRATEGIES}


def _recommend(per_class: int, similarity: float) -> Advice:
    from tlkeras.transfer.strategies import recommend  # late: tables need no Keras

    return recommend(per_class, similarity)


def _complete(runs: Runs) -> list[tuple[str, str, Advice, str]]:
    """Return (target, size, advice, advised arm) of the cells with runs of all three strategies."""
    found = []
    for (dataset, size), (per_class, *_) in CELLS.items():
        arms, advice = _arms(dataset, size), _recommend(per_class, float(SIMILAR[dataset]))
        if runs.have(arms.values()):
            found.append((dataset, size, advice, arms[advice.strategy]))
    return found


def strategy_rows(runs: Runs) -> list[dict]:
    """Return the mean accuracy of every strategy, target and size, with its interval.

    Returns:
        Rows with quadrant, target, size, strategy, advised (bool), mean, ci_low, ci_high, n, seconds (median), and
        collapsed.
    """
    rows = []
    for dataset, size, advice, advised in _complete(runs):
        for strategy, arm in _arms(dataset, size).items():
            own = runs.of(arm)
            rows.append(
                {
                    "quadrant": advice.quadrant,
                    "target": dataset,
                    "size": size,
                    "strategy": strategy,
                    "advised": arm == advised,
                    **_summary(runs.scores(arm, ACCURACY).values()),
                    "seconds": float(np.median([sum(run.details["seconds"].values()) for run in own])),
                    "collapsed": f"{sum(run.metrics['collapsed'] for run in own):.0f} of {len(own)}",
                }
            )
    return rows


def later_rows(runs: Runs) -> list[dict]:
    """Judge for each target and size whether a strategy of later papers is better than the advised one.

    The slides' "train_all" has the classifier trained first in these arms, so it is "lp_ft"; "direct", everything at
    once, is the other side of it: a "direct" that is worse speaks for the probe.

    Returns:
        Rows of `judge` with quadrant, target, size, strategy, accuracy before them; of strategies with runs, on the
        draws that both have.
    """
    found = [
        (dataset, size, advice, strategy, arm, advised)
        for dataset, size, advice, advised in _complete(runs)
        for strategy, arm in _later_arms(dataset, size).items()
        if runs.have([arm]) and arm != advised
    ]
    claims = [
        Claim(f"{strategy} beats the advice: {dataset}, {size}", ((arm, advised, ACCURACY),))
        for dataset, size, _, strategy, arm, advised in found
    ]
    judged = judge(runs, claims, by_t=True, fewest=FEWEST)
    return [
        {
            "quadrant": advice.quadrant,
            "target": dataset,
            "size": size,
            "strategy": strategy,
            "accuracy": _mean(runs, arm),
            **row,
        }
        for (dataset, size, advice, strategy, arm, _), row in zip(found, judged, strict=True)
    ]


def _later_arms(dataset: str, size: str) -> dict[str, str]:
    names = {"lp_ft": "train_all"} | {name: name for name in LATER}
    return {strategy: arm_name(dataset, size, name) for strategy, name in names.items()}


def later_sentence(runs: Runs) -> str:
    """Say which later strategies beat the advice in which quadrant, which do not, and what has no runs."""
    rows = later_rows(runs)
    told = [
        f"quadrant {quadrant} ({LABELS[target]}, {size}): {_told(own)}"
        for (quadrant, target, size), own in _by_cell(rows).items()
    ]
    run = {(row["target"], row["size"]) for row in rows if row["strategy"] in LATER}
    lacking = [f"{LABELS[target]}, {size}" for target, size in CELLS if (target, size) not in run]
    return "\n".join([*told, f"none but LP-FT was run for {'; '.join(lacking)}"] if lacking else told)


def _by_cell(rows: Iterable[dict]) -> dict[tuple, list[dict]]:
    found: dict[tuple, list[dict]] = {}
    for row in sorted(rows, key=lambda row: row["quadrant"]):
        found.setdefault((row["quadrant"], row["target"], row["size"]), []).append(row)
    return found


def _told(rows: Iterable[dict]) -> str:
    """Return the strategies of one cell behind what became of them."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(LATER_VERDICTS[row["verdict"]], []).append(LABELS[row["strategy"]])
    return "; ".join(f"{', '.join(groups[told])} {told}" for told in LATER_VERDICTS.values() if told in groups)


def rule_rows(runs: Runs) -> list[dict]:
    """Rewrite the rule of the slides as what the data say: which strategy is the best of all that were run, and where.

    A strategy counts if it has `FEWEST` draws, or as many as the advised one has.

    Returns:
        Rows by quadrant, with quadrant, large and similar (bool), target, advised, best (strategy of the largest mean),
        accuracy (of the best), gain (over the advised one, on the draws of both), gain_ci_low, gain_ci_high, as_good
        (the strategies whose difference to the best has an interval that covers 0), strategies (how many were
        compared), n (draws of the best and the advised one).
    """
    rows = []
    for dataset, size, advice, advised in _complete(runs):
        arms = {name: arm_name(dataset, size, name) for name in (*STRATEGIES, *LATER)}
        enough = min(FEWEST, len(runs.of(advised)))
        arms = {name: arm for name, arm in arms.items() if len(runs.of(arm)) >= enough}
        best = max(arms, key=lambda name: _mean(runs, arms[name]))
        behind = {name: _behind(runs, arms[best], arm) for name, arm in arms.items() if name != best}
        gain = _behind(runs, arms[best], advised)
        rows.append(
            {
                "quadrant": advice.quadrant,
                "large": advice.large,
                "similar": advice.similar,
                "target": dataset,
                "advised": advice.strategy,
                "best": best,
                "accuracy": _mean(runs, arms[best]),
                "gain": gain.difference if gain else 0.0,
                "gain_ci_low": gain.ci_low if gain else 0.0,
                "gain_ci_high": gain.ci_high if gain else 0.0,
                "as_good": [name for name, found in behind.items() if found and not found.ci_low > 0],
                "strategies": len(arms),
                "n": gain.n if gain else len(runs.of(advised)),
            }
        )
    return sorted(rows, key=lambda row: row["quadrant"])


def _behind(runs: Runs, best: str, other: str) -> stats.Comparison | None:
    """Compare two arms on the draws that both have; None for an arm and itself."""
    return None if best == other else tables.compare_arms(runs, best, other, ACCURACY)


def similarity_rows(runs: Runs) -> list[dict]:
    """Lay the similarity estimated from data (LogME) beside our judgement, and beside what was measured.

    `frozen_share` is the truth that a similarity should foretell: the accuracy on frozen features as a share of the
    best of the three strategies, on the small draws.

    Returns:
        Rows with target, judged (similar or dissimilar), estimated (0..1), logme, quadrant_by_estimate,
        advised_by_estimate, best (strategy), frozen_share.
    """
    means = {(row["target"], row["strategy"]): row["mean"] for row in strategy_rows(runs) if row["size"] == "small"}
    rows = []
    for dataset, similar in SIMILAR.items():
        arm = f"blocks_{dataset}_few"
        own = {name: mean for (target, name), mean in means.items() if target == dataset}
        if own and runs.have([arm]):
            estimated, logme = (_mean(runs, arm, metric) for metric in ("similarity", "logme"))
            advice = _recommend(SMALL, estimated)
            rows.append(
                {
                    "target": dataset,
                    "judged": "similar" if similar else "dissimilar",
                    "estimated": estimated,
                    "logme": logme,
                    "quadrant_by_estimate": advice.quadrant,
                    "advised_by_estimate": advice.strategy,
                    "best": max(own, key=lambda name: own[name]),
                    "frozen_share": own["freeze_base"] / max(own.values()),
                }
            )
    return rows


def rate_rows(runs: Runs) -> list[dict]:
    """Return what each rate reaches on the target, keeps of the source, and how far it moves each layer.

    Returns:
        Rows with rate, target, target_ci_low, target_ci_high, source, source_ci_low, source_ci_high,
        source_recalibrated, source_before, n, and `moved_LAYER`: means over the seeds, by rate.
    """
    rows = []
    for arm, settings in RATE_ARMS.items():
        if own := runs.of(arm):
            row: dict = {"rate": settings.learning_rate}
            for name, metric in (("target", ACCURACY), ("source", "source_accuracy")):
                found = _summary(runs.scores(arm, metric).values())
                row |= {name: found["mean"], f"{name}_ci_low": found["ci_low"], f"{name}_ci_high": found["ci_high"]}
            for name in ("source_accuracy_recalibrated", "source_accuracy_before"):
                row[name.replace("accuracy_", "")] = _mean(runs, arm, name)
            moved = [name for name in own[0].metrics if name.startswith("moved_")]
            rows.append(row | {"n": len(own)} | {name: _mean(runs, arm, name) for name in moved})
    return rows


def classifier_rows(runs: Runs) -> list[dict]:
    """Return accuracy, parameters and fitting time of each classifier on the same frozen features.

    Returns:
        Rows with target, images (of a class), classifier, mean (accuracy), ci_low, ci_high, n, parameters, seconds.
    """
    return [
        {
            "target": settings.dataset,
            "images": str(settings.per_class),
            "classifier": kind,
            **_summary(runs.scores(arm, f"{kind}_accuracy").values()),
            "parameters": int(_mean(runs, arm, f"{kind}_parameters")),
            "seconds": _mean(runs, arm, f"{kind}_seconds"),
        }
        for arm, settings in _feature_arms(runs, "classifiers")
        for kind in ("fully_connected", "global_average", "linear_svm")
    ]


def block_rows(runs: Runs) -> list[dict]:
    """Return the accuracy of a linear SVM on the averaged features of each block.

    Returns:
        Rows with target, images (of a class), block, position (from 0 up), mean, ci_low, ci_high, n, best (bool).
    """
    names = [block.removesuffix("_concat") for block in BLOCKS]
    rows = []
    for arm, settings in _feature_arms(runs, "blocks"):
        found = [_summary(runs.scores(arm, f"{name}_accuracy").values()) for name in names]
        best = max(summary["mean"] for summary in found)
        rows += [
            {
                "target": settings.dataset,
                "images": str(settings.per_class),
                "block": name,
                "position": position,
                **summary,
                "best": summary["mean"] == best,
            }
            for position, (name, summary) in enumerate(zip(names, found, strict=True))
        ]
    return rows


def _feature_arms(runs: Runs, task: str) -> list[tuple[str, FrozenFeatures]]:
    """Return the arms of a task that have runs, with the settings of these runs."""
    arms = [arm for arm, settings in FEATURE_ARMS.items() if settings.task == task and runs.have([arm])]
    return [(arm, FrozenFeatures(**runs.of(arm)[0].settings)) for arm in arms]


def _mean(runs: Runs, arm: str, metric: str = ACCURACY) -> float:
    return float(np.mean(list(runs.scores(arm, metric).values())))


def _summary(values: Iterable[float]) -> dict:
    found = stats.summarize(list(values))
    return {key: getattr(found, key) for key in ("mean", "ci_low", "ci_high", "n")}
