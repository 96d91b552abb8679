"""The advice is that of the slides, quadrant by quadrant, and what cannot be judged is refused by name."""

import pytest

from tlkeras.transfer import strategies
from tlkeras.transfer.strategies import ADVICE, EmptyClassError, SimilarityError, recommend


@pytest.mark.parametrize(
    ("images_per_class", "similarity", "quadrant", "strategy"),
    [
        (1_000, 0.0, 1, "train_all"),
        (6_000, 0.49, 1, "train_all"),
        (1_000, 0.5, 2, "freeze_some"),
        (100_000, 1.0, 2, "freeze_some"),
        (999, 0.49, 3, "freeze_some"),
        (1, 0.0, 3, "freeze_some"),
        (999, 0.5, 4, "freeze_base"),
        (50, 1, 4, "freeze_base"),
    ],
)
def test_each_quadrant_has_the_advice_of_the_slides(images_per_class, similarity, quadrant, strategy):
    advice = recommend(images_per_class, similarity)
    assert (advice.quadrant, advice.strategy) == (quadrant, strategy)
    assert (advice.large, advice.similar) == (images_per_class >= 1_000, similarity >= 0.5)


def test_the_advice_is_a_strategy_with_a_reason():
    assert {advice.strategy for advice in ADVICE.values()} == set(strategies.STRATEGIES)
    assert all(advice.reason.endswith(".") for advice in ADVICE.values())
    assert "augmentation" in recommend(50, 0.1).reason


@pytest.mark.parametrize("count", [0, -3, 0.5, 10.5, True, float("nan")])
def test_a_class_without_images_is_an_error_of_its_own(count):
    with pytest.raises(EmptyClassError, match=r"at least 1 image of a class\. Received: images_per_class="):
        recommend(count, 0.5)


@pytest.mark.parametrize("similarity", [-0.01, 1.01, float("nan"), float("inf"), True])
def test_a_similarity_outside_0_to_1_is_an_error_of_its_own(similarity):
    with pytest.raises(SimilarityError, match=r"from 0 to 1\. Received: similarity="):
        recommend(50, similarity)
