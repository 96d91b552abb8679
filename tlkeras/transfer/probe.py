"""A linear probe: logistic regression on frozen features, with calibrated probabilities of two classes."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

STRENGTHS = (1.0, 10.0, 100.0, 1000.0)  # C of scikit-learn, for rows of length 1
FOLDS = 5
JITTER = 1e-6  # of a squared length of 1: views that are alike leave the Gram matrix singular
COOLEST, HOTTEST = 0.05, 20.0  # temperatures; without errors the best would be 0


@dataclass(frozen=True, eq=False)
class Probe:
    """The result of `fit_probe`: `weights` `(features,)`, `bias`, the `strength` (C) and the `temperature`."""

    weights: np.ndarray
    bias: float
    strength: float
    temperature: float

    def log_odds(self, views: Sequence[np.ndarray]) -> np.ndarray:
        """Return the log-odds of class 1 before calibration, the mean over views `(n, features)`; float64 `(n,)`."""
        odds = [unit_rows(view) @ self.weights for view in views]
        return np.asarray(np.mean(odds, axis=0, dtype=np.float64)) + self.bias


def fit_probe(views: Sequence[np.ndarray], labels: np.ndarray, *, seed: int, judged: int = 1) -> Probe:
    """Fit a linear probe; strength and temperature are chosen on training images by cross-validation.

    Features are scaled to length 1, image by image. All views of an image are in the same fold.

    Args:
        views: features of the same images seen in several ways, each `(n, features)`, as from `batches.fixed_views`.
        labels: `(n,)` integers, 0 or 1.
        seed: of the folds.
        judged: how many of the views, from the first on, an image that is to be classified will have.

    Raises:
        ValueError: no views, or fewer than two images of a class.
    """
    counts = np.bincount(labels, minlength=2)
    if not len(views) or len(counts) != 2 or counts.min() < 2:
        raise ValueError(f"Expected views, and two images or more of classes 0 and 1. Received: {counts.tolist()}")
    rows = np.concatenate([unit_rows(view) for view in views])
    coordinates, compressed = _compressed(rows)
    by_view, folds = np.split(coordinates, len(views)), _folds(labels, min(FOLDS, counts.min()), seed)
    outside = {strength: _out_of_fold(by_view, labels, strength, folds, judged) for strength in STRENGTHS}
    best = min(STRENGTHS, key=lambda strength: reliability(outside[strength], labels)["loss"])
    weights, bias = _fit(by_view, labels, best)
    if compressed:
        weights = rows.T @ linalg.solve_triangular(coordinates.T, weights)
    return Probe(weights, bias, best, fit_temperature(outside[best], labels))


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Return features `(n, features)` with each row scaled to length 1; rows of zeros stay."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths == 0, 1, lengths)


def _compressed(rows: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return as many columns as rows, with the same inner products, so that the same regression costs less.

    Cholesky: rows = coordinates @ Q with orthonormal rows of Q, and the penalty sees lengths only.
    """
    if rows.shape[1] <= len(rows):
        return rows, False
    gram = np.asarray(rows @ rows.T, np.float64)
    return linalg.cholesky(gram + JITTER * np.eye(len(rows)), lower=True), True


def _folds(labels: np.ndarray, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(StratifiedKFold(count, shuffle=True, random_state=seed).split(labels, labels))


def _out_of_fold(
    views: Sequence[np.ndarray], labels: np.ndarray, strength: float, folds: Sequence, judged: int
) -> np.ndarray:
    """Return the log-odds of each image by a probe that has not seen it."""
    log_odds = np.empty(len(labels))
    for inside, outside in folds:
        weights, bias = _fit([view[inside] for view in views], labels[inside], strength)
        log_odds[outside] = np.mean([view[outside] @ weights for view in views[:judged]], axis=0) + bias
    return log_odds


def _fit(views: Sequence[np.ndarray], labels: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
    classifier = LogisticRegression(C=strength, max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the folds judge what is reached
        classifier.fit(np.concatenate(views), np.tile(labels, len(views)))
    return classifier.coef_[0], float(classifier.intercept_[0])


def fit_temperature(log_odds: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature by which log-odds must be divided to have the smallest cross-entropy.

    Args:
        log_odds: of class 1, finite, `(n,)`, for images that the classifier was not fitted on.
        labels: `(n,)` integers, 0 or 1.

    Returns:
        0.05 to 20; above 1 where the classifier is too sure of itself.

    Raises:
        ValueError: as `reliability` does.

    Reference: Guo et al. 2017, arXiv:1706.04599, section 4.2.
    """
    log_odds, labels = _checked(log_odds, labels)
    bounds = (np.log(COOLEST), np.log(HOTTEST))
    best = optimize.minimize_scalar(lambda x: _loss(log_odds / np.exp(x), labels), bounds=bounds, method="bounded")
    return float(np.exp(best.x))


def reliability(log_odds: np.ndarray, labels: np.ndarray, bins: int = 10) -> dict[str, float]:
    """Return how far probabilities are from what happens.

    Args:
        log_odds: of class 1, finite, `(n,)`.
        labels: `(n,)` integers, 0 or 1.
        bins: of equal width, for the last number.

    Returns:
        "loss" (cross-entropy, nats), "brier_error" (mean squared, 0..1), and "calibration_error": the mean distance
        between probability and frequency over the bins (ECE, 0..1), which a few images a bin make too large.

    Raises:
        ValueError: no images, other labels than 0 and 1, or log-odds that are not finite.
    """
    log_odds, labels = _checked(log_odds, labels)
    rows = reliability_bins(log_odds, labels, bins)
    distance = sum(row["n"] * abs(row["predicted"] - row["observed"]) for row in rows) / len(labels)
    brier = float(np.mean((expit(log_odds) - labels) ** 2))
    return {"loss": _loss(log_odds, labels), "brier_error": brier, "calibration_error": distance}


def reliability_bins(log_odds: np.ndarray, labels: np.ndarray, bins: int = 10) -> list[dict]:
    """Sort images by their probability of class 1, into bins of equal width.

    Returns:
        A dict for each bin that has images: predicted (mean probability), observed (frequency of class 1), n.

    Raises:
        ValueError: as `reliability` does.
    """
    log_odds, labels = _checked(log_odds, labels)
    probabilities = expit(log_odds)
    places = np.minimum((probabilities * bins).astype(int), bins - 1)
    members = [places == place for place in np.unique(places)]
    return [
        {
            "predicted": float(probabilities[member].mean()),
            "observed": float(labels[member].mean()),
            "n": int(member.sum()),
        }
        for member in members
    ]


def _loss(log_odds: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, np.where(labels == 1, -log_odds, log_odds))))


def _checked(log_odds: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    log_odds, labels = np.asarray(log_odds, np.float64), np.asarray(labels)
    fit = log_odds.ndim == 1 and len(log_odds) and log_odds.shape == labels.shape and np.isfinite(log_odds).all()
    if not fit or not np.isin(labels, (0, 1)).all():
        raise ValueError(
            "Expected finite log-odds (n,), and as many labels, 0 or 1. "
            f"Received: shapes {log_odds.shape} and {labels.shape}, labels {np.unique(labels).tolist()}"
        )
    return log_odds, labels
