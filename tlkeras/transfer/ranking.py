"""How well a classifier of two classes ranks: ROC AUC, and the log-odds that it is computed from."""

import numpy as np


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve, 0..1; a metric for `finetune`.

    Args:
        labels: `(n,)` integers, 0 or 1.
        scores: probabilities `(n, 2)`, or anything `(n,)` that is larger the more class 1 is expected.

    Returns:
        The area; nan where it is undefined: one class only, or scores that are not finite.

    Raises:
        ValueError: other than two classes.

    Reference: report 004, "Критерий качества", by scikit-learn's function.
    """
    from sklearn.metrics import roc_auc_score  # half a second

    scores, labels = np.asarray(scores), np.asarray(labels)
    scores = scores if scores.ndim == 1 else log_odds(scores)
    if len(np.unique(labels)) < 2 or not np.isfinite(scores).all():
        return float("nan")
    return float(roc_auc_score(labels, scores))


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    """Return the log-odds of class 1, float64 `(n,)`.

    They rank where probabilities no longer do: 1 - 1e-9 is 1 in float32, but 1e-9 is kept.

    Raises:
        ValueError: other than two classes.
    """
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or probabilities.shape[1] != 2:
        raise ValueError(f"Expected probabilities of two classes, (n, 2). Received: shape={probabilities.shape}")
    zero, one = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)).T
    return one - zero
