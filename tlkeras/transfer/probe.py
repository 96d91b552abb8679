"""A linear probe: logistic regression on frozen features, with calibrated probabilities of two classes."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from tlkeras.transfer.calibration import fit_temperature, reliability

STRENGTHS = (1.0, 10.0, 100.0, 1000.0)  # C of scikit-learn, for rows of length 1
FOLDS = 5
JITTER = 1e-6  # of a squared length of 1: views that are alike leave the Gram matrix singular


@dataclass(frozen=True, eq=False)
class Probe:
    """What `fit_probe` found: `weights` `(features,)`, `bias`, the `strength` (C) and the `temperature`."""

    weights: np.ndarray
    bias: float
    strength: float
    temperature: float

    def log_odds(self, views: Sequence[np.ndarray]) -> np.ndarray:
        """Return the log-odds of class 1 before calibration, the mean over views `(n, features)`; float64 `(n,)`."""
        return np.mean([unit_rows(view) @ self.weights for view in views], axis=0, dtype=np.float64) + self.bias


def fit_probe(views: Sequence[np.ndarray], labels: np.ndarray, *, seed: int, judged: int = 1) -> Probe:
    """Fit a linear probe; strength and temperature are chosen on training images by cross-validation.

    Features are scaled to length 1, image by image. All views of an image are in the same fold.

    Args:
        views: features of the same images seen in several ways, each `(n, features)`, as from `views.fixed_views`.
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
    from sklearn.model_selection import StratifiedKFold  # half a second

    return list(StratifiedKFold(count, shuffle=True, random_state=seed).split(labels, labels))


def _out_of_fold(
    views: Sequence[np.ndarray], labels: np.ndarray, strength: float, folds: Sequence, judged: int
) -> np.ndarray:
    """Return the log-odds of each image by a probe that has not seen it."""
    found = np.empty(len(labels))
    for inside, outside in folds:
        weights, bias = _fit([view[inside] for view in views], labels[inside], strength)
        found[outside] = np.mean([view[outside] @ weights for view in views[:judged]], axis=0) + bias
    return found


def _fit(views: Sequence[np.ndarray], labels: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    classifier = LogisticRegression(C=strength, max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the folds judge what is reached
        classifier.fit(np.concatenate(views), np.tile(labels, len(views)))
    return classifier.coef_[0], float(classifier.intercept_[0])
