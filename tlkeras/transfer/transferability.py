"""How well frozen features fit new labels, before anything is trained: LogME, and a similarity from 0 to 1 out of it.

Reference: You, Liu, Wang and Long 2021, LogME: Practical Assessment of Pre-trained Models for Transfer Learning,
arXiv:2102.11005.
"""

import math

import numpy as np

from tlkeras.data import splits

ROUNDS = 100  # of the fixed point; it needs a handful
_TOLERANCE = 1e-6  # relative change of the ratio of both precisions
_SMALLEST = 1e-12  # of the targets' power; a fit without any residual has no finite evidence


def logme(features: np.ndarray, labels: np.ndarray) -> float:
    """Return LogME: the mean over classes of the largest log evidence per sample of "class or not", in nats.

    Higher is better, to compare features of the same data; the number itself means little.

    Args:
        features: `(n, d)` of a frozen network, such as pooled maps.
        labels: `(n,)` integers from 0 up, each class at least once.

    Raises:
        ValueError: features that are not `(n, d)` and finite, or labels that do not fit.

    Reference: arXiv:2102.11005, equations 1 to 3 and algorithm 1.
    """
    targets = _one_hot(features, labels)
    return float(np.mean(evidences(features, targets)))


def similarity(features: np.ndarray, labels: np.ndarray) -> float:
    """Estimate from data how much earlier knowledge tells about a new problem, 0 (nothing) to 1 (everything).

    LogME of centred features and targets, less that of no features at all, is the information that the features have
    about a class, in nats a sample; Linfoot's coefficient sqrt(1 - exp(-2 x)) makes a correlation of it. It tells how
    easily labels follow from the features: an easy problem scores high, whatever its pictures look like.

    Args:
        features, labels: as for `logme`; a few hundred samples are enough.

    Raises:
        ValueError: as `logme` does.

    Reference: arXiv:2102.11005; Linfoot 1957, An informational measure of correlation (both put together by us).
    """
    centred, targets = _centred(features, _one_hot(features, labels))
    without = -0.5 * (np.log(2 * math.pi * np.mean(targets**2, axis=0)) + 1)
    gain = float(np.mean(evidences(centred, targets) - without))
    return math.sqrt(-math.expm1(-2 * max(gain, 0.0)))


def _centred(features: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both without their means; of as many features as images, on the n - 1 directions that are left."""
    if features.shape[1] < len(features) - 1:
        return features - np.mean(features, axis=0, dtype=np.float64), targets - targets.mean(axis=0)
    return _without_constant(features), _without_constant(targets)  # n centred rows would be fitted without residual


def _without_constant(rows: np.ndarray) -> np.ndarray:
    """Return `(n - 1, k)` float64: a reflection takes the constant direction to the first row, which is left out."""
    mirror = np.full(len(rows), len(rows) ** -0.5)
    mirror[0] += 1.0
    mirror /= np.linalg.norm(mirror)
    return (rows - 2 * np.outer(mirror, mirror @ rows))[1:]


def evidences(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the log evidence per sample of a linear model, largest over the precisions of weights and noise.

    Args:
        features: `(n, d)`.
        targets: `(n, t)` real numbers, not all zero.

    Returns:
        `(t,)` float64, nats.
    """
    left, singular, _ = np.linalg.svd(np.asarray(features, np.float64), full_matrices=False)
    projected = (left.T @ targets) ** 2
    outside = np.maximum((targets**2).sum(axis=0) - projected.sum(axis=0), 0.0)
    pairs = zip(projected.T, outside, strict=True)
    return np.array([_evidence(singular**2, part, rest, features.shape) for part, rest in pairs])


def _evidence(squares: np.ndarray, projected: np.ndarray, outside: float, shape: tuple[int, int]) -> float:
    """Maximise over alpha (precision of the weights) and beta (of the noise) by MacKay's fixed point."""
    count, width = shape
    floor = _SMALLEST * (projected.sum() + outside)
    alpha = beta = 1.0
    for _ in range(ROUNDS):
        ratio = alpha / beta
        weights, residual = _solution(squares, projected, outside, ratio)
        used = float((squares / (squares + ratio)).sum())  # effective number of weights
        alpha, beta = used / max(weights, floor), max(count - used, _SMALLEST) / max(residual, floor)
        if abs(alpha / beta - ratio) <= _TOLERANCE * ratio:
            break
    weights, residual = _solution(squares, projected, outside, alpha / beta)
    determinant = np.log(alpha + beta * squares).sum() + (width - len(squares)) * math.log(alpha)
    total = width * math.log(alpha) + count * math.log(beta / (2 * math.pi))
    return float(total - determinant - beta * residual - alpha * weights) / (2 * count)


def _solution(squares: np.ndarray, projected: np.ndarray, outside: float, ratio: float) -> tuple[float, float]:
    """Return the squared norms of the best weights and of what they leave unexplained."""
    scaled = projected / (squares + ratio) ** 2
    return float((squares * scaled).sum()), float((ratio**2 * scaled).sum() + outside)


def _one_hot(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the labels as targets `(n, classes)`, 0 or 1, after checking both."""
    features, labels = np.asarray(features), np.asarray(labels)
    if features.ndim != 2 or not features.size or features.dtype.kind != "f" or not np.isfinite(features).all():
        raise ValueError(
            f"Expected finite float features (n, d). Received: shape={features.shape}, dtype={features.dtype}"
        )
    splits.validate_labels(labels, int(labels.max(initial=1)) + 1)
    counts = np.bincount(labels)
    if len(labels) != len(features) or len(counts) < 2 or not counts.all():
        received = f"{len(labels)} labels for {len(features)} features, counts {counts.tolist()}"
        raise ValueError(
            f"Expected a label for each feature, and every class from 0 up at least once. Received: {received}"
        )
    return np.eye(len(counts))[labels]
