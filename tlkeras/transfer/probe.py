"""A linear probe: logistic regression on frozen features, with calibrated probabilities.

Of two classes the log-odds of class 1 say all, `(n,)`; of more, each class has its own, `(n, classes)`, up to a number
that is the same for all classes of an image.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, optimize
from scipy.special import expit, logsumexp, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from tlkeras.transfer import inputs
from tlkeras.transfer.features import at_least_float32

STRENGTHS = (1.0, 10.0, 100.0, 1000.0)  # C of scikit-learn, for rows of length 1
_FOLDS = 5
_JITTER = 1e-6  # of a squared length of 1: views that are alike leave the Gram matrix singular
COOLEST, _HOTTEST = 0.05, 20.0  # temperatures; without errors the best would be 0


@dataclass(frozen=True, eq=False)
class Probe:
    """The result of `fit_probe`, with the `strength` (C) and the `temperature` (1 where no out-of-fold image is wrong).

    `weights` are `(features,)` and `bias` a number for two classes, `(features, classes)` and `(classes,)` for more.
    `class_names` are there if the labels were names.
    """

    weights: np.ndarray
    bias: float | np.ndarray
    strength: float
    temperature: float
    class_names: tuple[str, ...] = ()

    def log_odds(self, views: Sequence[np.ndarray]) -> np.ndarray:
        """Return the log-odds before calibration, the mean over views `(n, features)`; float64, of class 1 `(n,)`.

        Of more than two classes they are `(n, classes)`.
        """
        odds = [unit_rows(view) @ self.weights for view in views]
        return np.asarray(np.mean(odds, axis=0, dtype=np.float64)) + self.bias

    def probabilities(self, views: Sequence[np.ndarray]) -> np.ndarray:
        """Return the calibrated probabilities of images seen in these views; float64 `(n, classes)`."""
        return _probabilities(self.log_odds(views) / self.temperature)


def fit_probe(
    views: Sequence[np.ndarray],
    labels: Any,
    *,
    seed: int,
    judged: int = 1,
    sample_weight: Any = None,
    class_weight: Mapping[Any, float] | None = None,
) -> Probe:
    """Fit a linear probe; strength and temperature are chosen on training images by cross-validation.

    Features are scaled to length 1, image by image. All views of an image are in the same fold.

    Args:
        views: features of the same images seen in several ways, each `(n, features)`, as from `batches.fixed_views`.
        labels: `(n,)` integers from 0 up, one-hot `(n, classes)`, or names; see `inputs.class_indices`.
        seed: of the folds.
        judged: how many of the views, from the first on, an image that is to be classified will have.
        sample_weight: `(n,)`, factors of the losses, of those by which strength and temperature are chosen, too.
        class_weight: class, or its name -> the same for its images; 1 for those left out.

    Raises:
        ValueError: no views, fewer than two images of a class, or labels or weights that `inputs` refuses.
    """
    labels, names = inputs.class_indices(labels)
    counts = np.bincount(labels, minlength=2)
    if not len(views) or counts.min() < 2:
        raise ValueError(f"Expected views, and two images or more of each class from 0 up. Received: {counts.tolist()}")
    weights = inputs.image_weights(labels, len(counts), names, sample_weight, class_weight)
    rows = np.concatenate([unit_rows(view) for view in views])
    coordinates, compressed = _compressed(rows)
    by_view, folds = np.split(coordinates, len(views)), _folds(labels, min(_FOLDS, counts.min()), seed)
    outside = {strength: _out_of_fold(by_view, labels, weights, strength, folds, judged) for strength in STRENGTHS}
    best = min(STRENGTHS, key=lambda strength: _loss(outside[strength], labels, weights))
    slopes, bias = _fit(by_view, labels, weights, best)
    if compressed:
        slopes = rows.T @ linalg.solve_triangular(coordinates.T, slopes)
    return Probe(slopes, bias, best, _temperature(outside[best], labels, weights), names)


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Return features `(n, features)` with each row scaled to length 1; rows of zeros stay."""
    features = at_least_float32(features)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths == 0, 1, lengths)


def _compressed(rows: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return as many columns as rows, with the same inner products, so that the same regression costs less.

    Cholesky: rows = coordinates @ Q with orthonormal rows of Q, and the penalty sees lengths only.
    """
    if rows.shape[1] <= len(rows):
        return rows, False
    gram = np.asarray(rows @ rows.T, np.float64)
    return linalg.cholesky(gram + _JITTER * np.eye(len(rows)), lower=True), True


def _folds(labels: np.ndarray, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(StratifiedKFold(count, shuffle=True, random_state=seed).split(labels, labels))


def _out_of_fold(
    views: Sequence[np.ndarray],
    labels: np.ndarray,
    weights: np.ndarray | None,
    strength: float,
    folds: Sequence,
    judged: int,
) -> np.ndarray:
    """Return the log-odds of each image by a probe that has not seen it."""
    classes = labels.max() + 1
    log_odds = np.empty(len(labels) if classes == 2 else (len(labels), classes))
    for inside, outside in folds:
        part = None if weights is None else weights[inside]
        slopes, bias = _fit([view[inside] for view in views], labels[inside], part, strength)
        log_odds[outside] = np.mean([view[outside] @ slopes for view in views[:judged]], axis=0) + bias
    return log_odds


def _fit(
    views: Sequence[np.ndarray], labels: np.ndarray, weights: np.ndarray | None, strength: float
) -> tuple[np.ndarray, float | np.ndarray]:
    classifier = LogisticRegression(C=strength, max_iter=200)
    repeated = None if weights is None else np.tile(weights, len(views))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the folds judge what is reached
        classifier.fit(np.concatenate(views), np.tile(labels, len(views)), repeated)
    if len(classifier.classes_) == 2:
        return classifier.coef_[0], float(classifier.intercept_[0])
    return classifier.coef_.T, classifier.intercept_


def _temperature(log_odds: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> float:
    """Return the best temperature, but 1 where no image is wrong."""
    wrong = _probabilities(log_odds).argmax(axis=1) != labels
    return fit_temperature(log_odds, labels, weights) if wrong.any() else 1.0  # the best would be 0


def fit_temperature(log_odds: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the temperature by which log-odds must be divided to have the smallest cross-entropy.

    Args:
        log_odds: finite, of class 1 `(n,)`, or of more than two classes `(n, classes)`, for images that the classifier
            was not fitted on.
        labels: `(n,)` integers, 0 or 1, or 0..classes-1.
        weights: of the images, `(n,)`; None counts all alike.

    Returns:
        0.05 to 20; above 1 where the classifier is too sure of itself.

    Raises:
        ValueError: as `reliability` does.

    Reference: Guo et al. 2017, arXiv:1706.04599, section 4.2.
    """
    log_odds, labels = _checked(log_odds, labels)
    bounds = (np.log(COOLEST), np.log(_HOTTEST))
    best = optimize.minimize_scalar(
        lambda x: _loss(log_odds / np.exp(x), labels, weights), bounds=bounds, method="bounded"
    )
    return float(np.exp(best.x))


def reliability(log_odds: np.ndarray, labels: np.ndarray, bins: int = 10) -> dict[str, float]:
    """Return how far probabilities are from what happens.

    Args:
        log_odds: finite, of class 1 `(n,)`, or of more than two classes `(n, classes)`.
        labels: `(n,)` integers, 0 or 1, or 0..classes-1.
        bins: of equal width, for the last number.

    Returns:
        "loss" (cross-entropy, nats), "brier_error" (squared, mean over images, 0..1; for more than two classes the sum
        over classes, 0..2), and "calibration_error": the mean distance between probability and frequency over the bins
        of `reliability_bins` (ECE, 0..1), which a few images a bin make too large.

    Raises:
        ValueError: no images, labels outside the classes, or log-odds that are not finite.
    """
    log_odds, labels = _checked(log_odds, labels)
    rows = reliability_bins(log_odds, labels, bins)
    distance = sum(row["n"] * abs(row["predicted"] - row["observed"]) for row in rows) / len(labels)
    probabilities = _probabilities(log_odds)
    errors = probabilities - np.eye(probabilities.shape[1])[labels]
    of_class_1 = slice(1, None) if log_odds.ndim == 1 else slice(None)  # two classes have the same error twice
    brier = float(np.mean((errors[:, of_class_1] ** 2).sum(axis=1)))
    return {"loss": _loss(log_odds, labels), "brier_error": brier, "calibration_error": distance}


def reliability_bins(log_odds: np.ndarray, labels: np.ndarray, bins: int = 10) -> list[dict]:
    """Sort images by their probability of class 1, into bins of equal width.

    Of more than two classes, it is the probability of the class that is chosen, and what is observed is whether that
    is the right one.

    Returns:
        A dict for each bin that has images: predicted (mean probability), observed (frequency of class 1), n.

    Reference: Guo et al. 2017, arXiv:1706.04599, section 2.

    Raises:
        ValueError: as `reliability` does.
    """
    log_odds, labels = _checked(log_odds, labels)
    probabilities, happened = expit(log_odds), labels
    if log_odds.ndim == 2:
        probabilities, happened = _probabilities(log_odds).max(axis=1), log_odds.argmax(axis=1) == labels
    places = np.minimum((probabilities * bins).astype(int), bins - 1)
    members = [places == place for place in np.unique(places)]
    return [
        {
            "predicted": float(probabilities[member].mean()),
            "observed": float(happened[member].mean()),
            "n": int(member.sum()),
        }
        for member in members
    ]


def _probabilities(log_odds: np.ndarray) -> np.ndarray:
    """Return the probabilities of all classes, `(n, classes)`."""
    return np.stack([expit(-log_odds), expit(log_odds)], axis=1) if log_odds.ndim == 1 else softmax(log_odds, axis=1)


def _loss(log_odds: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    if log_odds.ndim == 1:
        losses = np.logaddexp(0, np.where(labels == 1, -log_odds, log_odds))
    else:
        losses = logsumexp(log_odds, axis=1) - log_odds[np.arange(len(labels)), labels]
    return float(np.average(losses, weights=weights))


def _checked(log_odds: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    log_odds, labels = np.asarray(log_odds, np.float64), np.asarray(labels)
    classes = 2 if log_odds.ndim == 1 else log_odds.shape[-1]
    fit = log_odds.ndim == 1 or (log_odds.ndim == 2 and classes > 2)
    fit = fit and len(log_odds) and log_odds.shape[:1] == labels.shape and np.isfinite(log_odds).all()
    if not fit or not np.isin(labels, range(classes)).all():
        raise ValueError(
            "Expected finite log-odds (n,) and as many labels, 0 or 1; or (n, classes) and labels of more classes. "
            f"Received: shapes {log_odds.shape} and {labels.shape}, labels {np.unique(labels).tolist()}"
        )
    return log_odds, labels
