"""What report 003 concludes, put to the test on stored runs, and what its numbers can mean."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tlkeras.experiments import stats, tables
from tlkeras.experiments.claims import BETTER, NO_DIFFERENT, Claim, judge
from tlkeras.experiments.report import as_stored
from tlkeras.experiments.runs import Run, Runs
from tlkeras.reports.l2t.settings import (
    ABLATED,
    ABLATIONS,
    ARMS,
    CHANGES,
    HALF_WIDTHS,
    LABELS,
    MEANS,
    METHODS,
    P_VALUES,
    PEERS,
    READINGS,
    RECORDED,
    REFERENCE,
    REPEATS,
    REPORT,
    SIZES,
    SOURCE_ALONE,
    TABLES,
    UNBALANCED,
    arm_name,
)

ACCURACY, RECALL, RECALIBRATED = "test_accuracy", "scarce_recall", "test_accuracy_recalibrated"
LEARNED = ("ww", "www")
MEANINGS = ("standard deviation", "95 % interval", "standard error")


def table(runs: Runs, dataset: str) -> list[dict]:
    """Lay one of tables 1 to 3 beside ours, and what the source does alone below.

    Returns:
        Rows with per_class, method, reported (0..1, None where it cannot be read), reported_n (None there), mean,
        ci_low, ci_high, n (0 where nothing was run).
    """
    rows = []
    for count in SIZES[dataset]:
        for method in (*METHODS, *SOURCE_ALONE):
            arm = arm_name(dataset, count, method)
            values = _scores(runs, arm, ACCURACY)
            found = stats.summarize(values) if values else None
            row: dict = {"per_class": str(count), "method": method}
            row["reported"] = REFERENCE.get((arm, ACCURACY), {}).get("value")
            row["reported_n"] = REPEATS if row["reported"] is not None else None
            row |= {key: getattr(found, key, None) for key in ("mean", "ci_low", "ci_high")}
            rows.append(row | {"n": len(values)})
    return rows


def findings(runs: Runs) -> list[dict]:
    """Judge L2T-www against L2T-ww at each size, on the same draws, and by Mann-Whitney as the report does.

    The claim is "better" where the report printed a p below 0.05, else that there is no difference.

    Returns:
        Rows of `judge` for the sizes of which both methods have runs, with dataset, per_class, reported_difference and
        reported_p (as printed) before them, mann_whitney_p (Holm-adjusted over the rows, as p_adjusted is), and
        runs_needed: how many pairs would show the reported difference in four of five studies, as one of so many rows
        and by the spread of ours (None with fewer than 3, or where the report saw none).
    """
    cells = [
        (dataset, count, (arm_name(dataset, count, "www"), arm_name(dataset, count, "ww")), difference, p)
        for dataset, counts in SIZES.items()
        for count, difference, p in zip(counts, _differences(dataset), P_VALUES[dataset], strict=True)
    ]
    cells = [cell for cell in cells if runs.have(cell[2])]
    claims = [
        Claim(
            f"L2T-www against L2T-ww, {dataset}, {count} images of a class",
            ((*pair, ACCURACY),),
            NO_DIFFERENT if p is None else BETTER,
        )
        for dataset, count, pair, _, p in cells
    ]
    unpaired = tables.comparison_rows(runs, [pair for _, _, pair, *_ in cells], ACCURACY, paired=False)
    level = tables.LEVEL / max(1, len(cells))  # what Holm's correction asks of the smallest p
    return [
        {
            "dataset": dataset,
            "per_class": str(count),
            "reported_difference": difference,
            "reported_p": "p > 0.05" if p is None else f"{p:.3f}",
            **row,
            "mann_whitney_p": other["p_adjusted"],
            "runs_needed": None if p is None else _runs_needed(runs, pair, difference, level),
        }
        for (dataset, count, pair, difference, p), row, other in zip(cells, judge(runs, claims), unpaired, strict=True)
    ]


def _differences(dataset: str) -> list[float]:
    means = MEANS[dataset]
    return [round((www - ww) / 100, 4) for www, ww in zip(means["www"], means["ww"], strict=True)]


def _runs_needed(runs: Runs, pair: tuple[str, str], difference: float, level: float) -> int | None:
    draws = runs.shared_draws(*pair, ACCURACY)
    scores = [runs.scores(arm, ACCURACY) for arm in pair]
    spread = np.std([scores[0][seed] - scores[1][seed] for seed in draws], ddof=1) if len(draws) > 2 else 0.0
    return stats.runs_needed(float(spread), difference, paired=True, level=level) if spread > 0 else None


def learned(runs: Runs) -> list[dict]:
    """Say how far the meta-networks went from their random start, for each size and method that asks.

    Returns:
        Rows with dataset, per_class, method, iterations, where_moved (the largest change of a pair's weight, which is
        0..6), where_alike (the least correlation, over the runs, of the pairs' weights at the start and at the end),
        what_even (the least entropy of channel weights at the end, as a part of that of equal ones), which_low and
        which_high (the range of pixel weights at the end, 1 at the start; None where not asked), n.
    """
    rows = []
    for dataset, counts in SIZES.items():
        for count, method in itertools.product(counts, LEARNED):
            own = runs.of(arm_name(dataset, count, method))
            if own:
                rows.append({"dataset": dataset, "per_class": str(count), "method": method, **_learned(own)})
    return rows


def _learned(runs: Runs) -> dict:
    settings, answers = runs[0].settings, [run.details["answers"] for run in runs]
    where = [(np.array(said["where"][0]), np.array(said["where"][-1])) for said in answers]
    which = [said["which"][-1] for said in answers if "which" in said]
    return {
        "iterations": str(settings["epochs"] * _iterations(settings)),
        "where_moved": float(max(np.abs(end - start).max() for start, end in where)),
        "where_alike": float(min(np.corrcoef(start, end)[0, 1] for start, end in where)),
        "what_even": float(min(min(said["what"][-1]) for said in answers)),
        "which_low": float(np.min(which)) if which else None,
        "which_high": float(np.max(which)) if which else None,
        "n": len(runs),
    }


def against(runs: Runs, baseline: str) -> list[dict]:
    """Compare every method that adds something to `baseline` with it, on the same draws.

    Args:
        runs: stored runs.
        baseline: "scratch", with which all that transfer are compared, or "ufm", for those that learn what to imitate.

    Returns:
        Rows of `tables.comparison_rows`, p adjusted over all of them, for the sizes of which both arms have runs.
    """
    pairs = [
        (arm_name(dataset, count, method), arm_name(dataset, count, baseline))
        for dataset, counts in SIZES.items()
        for count in counts
        for method in METHODS[METHODS.index(baseline) + 1 :]
    ]
    return tables.comparison_rows(runs, [pair for pair in pairs if runs.have(pair)], ACCURACY)


def peers(runs: Runs) -> list[dict]:
    """Compare other methods that learn from the source's features with the report's UFM, on the same draws.

    Returns:
        Rows of `tables.comparison_rows`, p adjusted over all of them, for the peers that have runs.
    """
    pairs = [(arm_name(*cell, method), arm_name(*cell, "ufm")) for cell in RECORDED for method in PEERS]
    return tables.comparison_rows(runs, [pair for pair in pairs if runs.have(pair)], ACCURACY)


def ablations(runs: Runs) -> list[dict]:
    """Compare changes of a method, one at a time, with the method as it is in the report, on the same draws.

    UFM and L2T-ww at the rate of the tuned baseline are compared with that baseline, too, and with each other; SemCKD,
    which diverges at the report's rate, with UFM at a tenth of it. L2T-ww is also compared with its own random weights
    of the pairs kept fixed, with the ten monotone maps (their mean, and the one that is best on these test images,
    which flatters it), and with UFM of as many seconds. "Recalibrated" is the same training, scored once batch
    normalisation has the statistics of all training images.

    Returns:
        Rows of `tables.comparison_rows`, p adjusted over all of them, for what has runs.
    """
    runs = runs + _recalibrated(runs, "scratch") + _maps(runs)
    pairs = [("scratch_recalibrated", "scratch"), ("map_mean", "ww"), ("map_best", "ww")]
    pairs += itertools.combinations(("ww_sgd_1e-2", "ufm_1e-2", "scratch_1e-2"), 2)
    for name, (method, _) in CHANGES.items():
        if not name.startswith("map_"):
            pairs.append((name, {"ufm_1300": "ww", "semckd_1e-2": "ufm_1e-2"}.get(name, method)))
    arms = [(arm_name(*ABLATED, first), arm_name(*ABLATED, second)) for first, second in pairs]
    return tables.comparison_rows(runs, [pair for pair in arms if runs.have(pair)], ACCURACY)


def beside(runs: Runs) -> list[dict]:
    """Say which arms beside the report's own were run: other methods at each size, and changes of one setting.

    Returns:
        Rows with what, recorded and not_recorded (labels, separated by semicolons).
    """
    groups = {
        f"{LABELS[dataset]}, {count} of a class": [arm_name(dataset, count, name) for name in ("finetune", *PEERS)]
        for dataset, count in RECORDED
    }
    groups["one change at a time"] = [arm for arm in ABLATIONS if "_map_" not in arm]
    maps = [arm for arm in ABLATIONS if "_map_" in arm]
    count = sum(runs.have([arm]) for arm in maps)
    counted = {"what": "imitation of fixed pairs", "recorded": f"{count} of {len(maps)} monotone maps"}
    rows = [{"what": what, "recorded": _named(runs, arms)} for what, arms in groups.items()]
    lacking = [_named(runs, arms, False) for arms in groups.values()]
    lacking.append(f"{len(maps) - count} of {len(maps)} monotone maps")
    return [{**row, "not_recorded": text} for row, text in zip([*rows, counted], lacking, strict=True)]


def _named(runs: Runs, arms: Iterable[str], recorded: bool = True) -> str:
    """Return the labels of the arms that are recorded, or of those that are not, without their size."""
    return "; ".join(LABELS[arm].split(" of a class, ")[-1] for arm in arms if runs.have([arm]) is recorded)


def _recalibrated(runs: Runs, method: str) -> Runs:
    """Return the runs of a method as an arm of its own, with the recalibrated accuracy in the place of the other."""
    own = runs.of(arm_name(*ABLATED, method)).where(lambda run: RECALIBRATED in run.metrics)
    name = arm_name(*ABLATED, f"{method}_recalibrated")
    return Runs(dataclasses.replace(run, arm=name, metrics={ACCURACY: run.metrics[RECALIBRATED]}) for run in own)


def _maps(runs: Runs) -> Runs:
    """Return two arms, over the seeds that all monotone maps have: their mean, and the map that is best on average."""
    names = [arm for arm in ABLATIONS if "_map_" in arm]
    if not runs.have(names):
        return Runs()
    scores = [runs.scores(arm, ACCURACY) for arm in names]
    seeds = set.intersection(*(set(own) for own in scores))
    best = max(scores, key=lambda own: float(np.mean([own[seed] for seed in seeds])))
    found = []
    for run in runs.of(names[0]).where(lambda run: run.seed in seeds):
        mean = float(np.mean([own[run.seed] for own in scores]))
        for name, value in (("map_mean", mean), ("map_best", best[run.seed])):
            found.append(dataclasses.replace(run, arm=arm_name(*ABLATED, name), metrics={ACCURACY: value}))
    return Runs(found)


def without_shared(runs: Runs, shared: Mapping[str, Mapping[str, Sequence[int]]]) -> list[dict]:
    """Score the source's probe on all test images, and on those that the source was not trained on.

    Args:
        runs: stored runs.
        shared: by data set, "test": the numbers of the test images that the source has seen, see `runs.shared_images`.

    Returns:
        Rows with dataset, per_class, shared (test images left out), all, without (mean accuracies), n; for the sizes of
        which the probe has runs that say which answers were right.
    """
    rows = []
    for (dataset, counts), method in itertools.product(SIZES.items(), SOURCE_ALONE):
        for count in counts if dataset in shared else ():
            own = runs.of(arm_name(dataset, count, method)).where(lambda run: "right" in run.details)
            if own:
                rows.append({"dataset": dataset, "per_class": str(count), "method": method, **_without(own, shared)})
    return rows


def _without(own: Runs, shared: Mapping[str, Mapping[str, Sequence[int]]]) -> dict:
    left_out = list(shared[own[0].settings["dataset"]]["test"])
    scores = []
    for run in own:
        right = right_answers(run)
        kept = np.setdiff1d(np.arange(len(right)), left_out)
        scores.append((right.mean(), right[kept].mean()))
    every, rest = np.mean(scores, axis=0)
    return {"shared": str(len(left_out)), "all": float(every), "without": float(rest), "n": len(own)}


def right_answers(run: Run) -> np.ndarray:
    """Return which of the test images a run had right, bool, out of its details and of its accuracy their number."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(run.details["right"]), np.uint8)).astype(bool)
    accuracy = run.metrics[ACCURACY]
    return bits[: round(bits.sum() / accuracy)] if accuracy else bits


def source_alone(runs: Runs) -> list[dict]:
    """Judge whether the source network, without a target, is better than each method that the report compares.

    The methods have so few runs that no paired test can decide, so that all runs of both sides are compared, unpaired.
    Whether fine-tuning adds to the probe is judged on the same draws, as a family of its own.

    Returns:
        Rows of `judge`, for the sizes of which all that are compared have runs.
    """
    cells = [(dataset, count) for dataset, counts in SIZES.items() for count in counts]
    against_methods = [
        _beats(f"the source's {alone} is better than every method", *cell, alone, METHODS)
        for cell, alone in itertools.product(cells, SOURCE_ALONE)
    ]
    beyond = [_beats("fine-tuning is better than the probe", *cell, "finetune", ("probe",)) for cell in cells]
    found = [[claim for claim in claims if _have_runs(runs, claim)] for claims in (against_methods, beyond)]
    return judge(runs, found[0], paired=False) + judge(runs, found[1])


def tuned(runs: Runs) -> list[dict]:
    """Judge whether training from scratch, at a rate of 0.01 instead of 0.1, is better than learning to transfer.

    "Tuned cross-entropy first": L2T-ww and L2T-www keep the report's rate. All runs of both sides, unpaired.

    Returns:
        Rows of `judge`, for the sizes of which all that are compared have runs.
    """
    text = "training from scratch at a rate of 0.01 is better than L2T at the report's 0.1"
    claims = [_beats(text, *cell, "scratch_1e-2", LEARNED) for cell in RECORDED]
    return judge(runs, [claim for claim in claims if _have_runs(runs, claim)], paired=False)


def _beats(text: str, dataset: str, count: int, first: str, others: Sequence[str]) -> Claim:
    arm = arm_name(dataset, count, first)
    pairs = tuple((arm, arm_name(dataset, count, other), ACCURACY) for other in others)
    return Claim(f"{text}, {dataset}, {count} images of a class", pairs)


def _have_runs(runs: Runs, claim: Claim) -> bool:
    return runs.have(arm for first, second, _ in claim.comparisons for arm in (first, second))


def readings(runs: Runs) -> list[dict]:
    """Read the accuracy at the last epoch, at the best one by further images, and at the best one by test images.

    Which of them is the printed number? The test images choose in the last one, which flatters it.

    Returns:
        Rows with arm, reported, last, by_validation, by_test (means, 0..1), best_train (mean of the largest accuracy on
        the training images), n; for the arms of `READINGS` that have runs.
    """
    rows = []
    for arm in READINGS:
        own = runs.of(arm).where(lambda run: "validation_accuracy" in run.history)
        if own:
            reported = REFERENCE[arm.removesuffix("_read"), ACCURACY]["value"]
            means = np.mean([_read(run) for run in own], axis=0).tolist()
            names = ("last", "by_validation", "by_test", "best_train")
            rows.append({"arm": arm, "reported": reported, **dict(zip(names, means, strict=True)), "n": len(own)})
    return rows


def _read(run: Run) -> tuple[float, ...]:
    """Return the three readings of a run, and the largest accuracy on its training images."""
    validation, test = (
        np.array(run.history[name], float) for name in ("validation_accuracy", "test_accuracy")
    )  # nan where it was not scored
    best = test[int(np.nanargmax(validation))]
    return run.metrics[ACCURACY], float(best), float(np.nanmax(test)), max(run.history["accuracy"])


def plus_minus() -> list[dict]:
    """Ask which meaning of the plus-minus signs leads to the p values that are printed beside them.

    Welch's test stands in for Mann-Whitney's, which needs the single scores.

    Returns:
        Rows with dataset, per_class, printed_p, and the p under each of `MEANINGS`; n = 30.
    """
    rows = []
    for dataset, widths in HALF_WIDTHS.items():
        means, counts = MEANS[dataset], SIZES[dataset]
        for place, pair in enumerate(zip(widths["www"], widths["ww"], strict=True)):
            printed = P_VALUES[dataset][place]
            both = (means["www"][place], means["ww"][place])
            row = {"dataset": dataset, "per_class": str(counts[place])}
            row["printed_p"] = "p > 0.05" if printed is None else f"{printed:.3f}"
            rows.append(row | {name: stats.p_if(both, pair, REPEATS, name) for name in MEANINGS})
    return rows


def unbalanced(runs: Runs) -> list[dict]:
    """Lay table 4 beside ours: the recall of the class of which there are ten images."""
    return tables.result_rows(REPORT, runs, arms=list(UNBALANCED), metrics=[RECALL])


def hours(runs: Runs) -> float | None:
    """Return the hours that all runs of tables 1 to 4 take, by the seconds that stored runs took for an image.

    Args:
        runs: of one profile; each method's seconds are the median of its runs, whatever their data and size.

    Returns:
        Hours on what the runs ran on, one run after the other; None where a method has no run.
    """
    total = 0.0
    for method in METHODS:
        tabled = [name for name, arm in (TABLES | UNBALANCED).items() if arm.method == method]
        own = runs.of(tabled).where(lambda run: "iteration_seconds" in run.metrics)  # not many at once on a GPU
        if not own:
            return None
        batches = [_images(run.settings) / _iterations(run.settings) for run in own]
        seconds = [run.metrics["iteration_seconds"] / count for run, count in zip(own, batches, strict=True)]
        arms = [as_stored(ARMS[name]) for name in tabled]
        total += np.median(seconds) * sum(_images(arm) * arm["epochs"] for arm in arms) * REPEATS
    return float(total) / 3600


def _iterations(settings: Mapping) -> int:
    return math.ceil(_images(settings) / settings["batch_size"])  # of an epoch


def _images(settings: Mapping) -> int:
    classes = 100 if settings["dataset"] == "cifar100" else 10
    missing = settings["per_class"] - settings["scarce"] if settings["scarce"] else 0
    return settings["per_class"] * classes - missing


def _scores(runs: Runs, arm: str, metric: str) -> list[float]:
    return list(runs.scores(arm, metric).values()) if runs.have([arm]) else []
