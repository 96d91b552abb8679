"""How much too good a score is when the same images chose the epoch and score it."""

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

RESAMPLES = 500
Score = Callable[[np.ndarray, np.ndarray], float]  # (labels (n,), log-odds (n,)) -> number


def accuracy(labels: np.ndarray, log_odds: np.ndarray) -> float:
    """Return the share of images on the right side of 0."""
    return float(np.mean((log_odds > 0) == labels))


def roc_auc(labels: np.ndarray, log_odds: np.ndarray) -> float:
    """Return the area under the ROC curve, from ranks: ten times as fast as scikit-learn's, for the bootstrap."""
    positive = labels == 1
    count, ranks = positive.sum(), rankdata(log_odds)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(labels) - count)))


SCORES: dict[str, Score] = {"accuracy": accuracy, "roc_auc": roc_auc}


def optimism(log_odds: np.ndarray, labels: np.ndarray, score: str = "roc_auc", *, seed: int = 0) -> dict[str, float]:
    """Estimate by how much choosing the epoch of the best accuracy flatters the score of that epoch.

    Bootstrap: images are drawn again with replacement, class by class; the epoch that is best on the draw is scored on
    the draw and on all images, and the mean difference is the optimism. Nested: the epoch is chosen on one random half
    and scored on the other, which no choice has flattered, but half of the images choose worse.

    Args:
        log_odds: of class 1, `(epochs, n)`, of the same images after each epoch.
        labels: `(n,)` integers, both 0 and 1, at least two of each.
        score: "roc_auc" or "accuracy".
        seed: of the draws.

    Returns:
        "reported" (chosen and scored on all images), "optimism", "corrected" (their difference), "nested", and "last"
        (the last epoch, where nothing was chosen).

    Raises:
        ValueError: an unknown score, other shapes, values that are not finite, or fewer than two images of a class.

    Reference: Efron and Tibshirani 1993, An introduction to the bootstrap, section 17.6.
    """
    log_odds, labels = _checked(log_odds, labels, score)
    measure, generator = SCORES[score], np.random.default_rng(seed)
    differences, nested = [], []
    for _ in range(RESAMPLES):
        drawn = _drawn(labels, generator)
        best = _best_epoch(log_odds[:, drawn], labels[drawn])
        differences.append(measure(labels[drawn], log_odds[best, drawn]) - measure(labels, log_odds[best]))
        half, other = _halves(labels, generator)
        best = _best_epoch(log_odds[:, half], labels[half])
        nested.append(measure(labels[other], log_odds[best, other]))
    reported = measure(labels, log_odds[_best_epoch(log_odds, labels)])
    flattered = float(np.mean(differences))
    return {
        "reported": reported,
        "optimism": flattered,
        "corrected": reported - flattered,
        "nested": float(np.mean(nested)),
        "last": measure(labels, log_odds[-1]),
    }


def _best_epoch(log_odds: np.ndarray, labels: np.ndarray) -> int:
    """Return the first epoch of the best accuracy, as the checkpoint keeps it."""
    return int(np.argmax(np.mean((log_odds > 0) == labels, axis=1)))


def _drawn(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    members = [np.flatnonzero(labels == label) for label in (0, 1)]
    return np.concatenate([generator.choice(own, len(own)) for own in members])


def _halves(labels: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    orders = [generator.permutation(np.flatnonzero(labels == label)) for label in (0, 1)]
    halves = [np.array_split(order, 2) for order in orders]
    return np.concatenate([first for first, _ in halves]), np.concatenate([second for _, second in halves])


def _checked(log_odds: np.ndarray, labels: np.ndarray, score: str) -> tuple[np.ndarray, np.ndarray]:
    log_odds, labels = np.asarray(log_odds, np.float64), np.asarray(labels)
    if score not in SCORES:
        raise ValueError(f"Expected a score out of {list(SCORES)}. Received: score={score!r}")
    if log_odds.ndim != 2 or not len(log_odds) or log_odds.shape[1:] != labels.shape or not np.isfinite(log_odds).all():
        raise ValueError(f"Expected finite log-odds (epochs, n). Received: {log_odds.shape} for {labels.shape} labels")
    if not np.isin(labels, (0, 1)).all() or min(np.sum(labels == 0), np.sum(labels == 1)) < 2:
        found = np.unique(labels, return_counts=True)
        raise ValueError(f"Expected two labels or more of both 0 and 1. Received: {dict(zip(*found, strict=True))}")
    return log_odds, labels
