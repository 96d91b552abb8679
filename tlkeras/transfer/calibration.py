"""Probabilities of two classes that mean what they say: a temperature, and numbers for how reliable they are."""

import numpy as np
from scipy import optimize
from scipy.special import expit

COOLEST, HOTTEST = 0.05, 20.0  # without errors the best temperature would be 0


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
    found = optimize.minimize_scalar(lambda x: _loss(log_odds / np.exp(x), labels), bounds=bounds, method="bounded")
    return float(np.exp(found.x))


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
        {"predicted": float(probabilities[own].mean()), "observed": float(labels[own].mean()), "n": int(own.sum())}
        for own in members
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
