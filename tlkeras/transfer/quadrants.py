"""Which strategy for which problem: the four quadrants of size and similarity."""

import math
from dataclasses import dataclass

SMALL_BELOW = 1_000  # images of a class; report 001, page 13
SIMILAR_FROM = 0.5  # not stated: the figure has two halves


class SimilarityError(ValueError):
    """A similarity outside 0..1."""


class EmptyClassError(ValueError):
    """No images in a class."""


@dataclass(frozen=True)
class Advice:
    """A quadrant (1..4) with the strategy that the slides advise for it, and why."""

    quadrant: int
    large: bool
    similar: bool
    strategy: str  # one of `strategies.STRATEGIES`
    reason: str


ADVICE = {  # (large, similar); report 001, pages 15 to 18
    (True, False): Advice(
        1, True, False, "train_all",
        "Enough images to train the whole network; starting from pretrained weights may still help.",
    ),
    (True, True): Advice(
        2, True, True, "freeze_some",
        "Overfitting is no concern and earlier knowledge holds: the classifier and the upper layers should do.",
    ),
    (False, False): Advice(
        3, False, False, "freeze_some",
        "The hardest case: too many trained layers overfit, too few learn nothing. Consider data augmentation.",
    ),
    (False, True): Advice(
        4, False, True, "freeze_base", "Use the base as a fixed feature extractor and train a new classifier on it."
    ),
}  # fmt: skip


def recommend(images_per_class: int, similarity: float) -> Advice:
    """Return what the slides advise for a problem.

    Args:
        images_per_class: labelled images of a class, at least 1; fewer than 1,000 is a small data set.
        similarity: of the data to those of the earlier training, 0..1; from 0.5 up they are similar. Judge it, or
            estimate it (`transferability.similarity`).

    Raises:
        EmptyClassError: fewer than 1 image, or no whole number.
        SimilarityError: a similarity outside 0..1, or no number.

    Reference: report 001, pages 13 to 18.
    """
    if isinstance(images_per_class, bool) or images_per_class != images_per_class // 1 or images_per_class < 1:
        raise EmptyClassError(f"Expected at least 1 image of a class. Received: images_per_class={images_per_class}")
    if isinstance(similarity, bool) or not (math.isfinite(similarity) and 0 <= similarity <= 1):
        raise SimilarityError(f"Expected a similarity from 0 to 1. Received: similarity={similarity}")
    return ADVICE[images_per_class >= SMALL_BELOW, similarity >= SIMILAR_FROM]
