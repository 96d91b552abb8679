"""Operations are counted as the shapes say, and freezing and caching make a training cheaper by the right amount."""

import keras
import pytest
from keras import layers

from tlkeras.models import squeezenet
from tlkeras.transfer import cost


@pytest.fixture(scope="module")
def model():
    """Three layers of 2 * 9 * 1 * 2 * 36 = 1296, 2 * 2 * 3 * 36 = 432 and 2 * 3 * 5 = 30 operations."""
    inputs = keras.Input((6, 6, 1))
    x = layers.Conv2D(2, 3, padding="same", name="wide")(inputs)
    x = layers.Conv2D(3, 1, name="narrow")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(5, name="head")(x))


def test_each_layer_counts_its_multiplications_and_additions(model):
    assert cost.forward_flops(model) == {"wide": 1296, "narrow": 432, "head": 30}


@pytest.mark.parametrize(
    ("train", "cached", "expected"),
    [
        ("all", False, 10 * 4 * (2 * 1296 + 3 * 432 + 3 * 30)),
        ("head", False, 10 * 4 * (1296 + 432 + 2 * 30)),
        ("head", True, 10 * (1296 + 432 + 4 * 2 * 30)),
        (["narrow"], True, 10 * (1296 + 4 * (2 * 432 + 2 * 30))),  # the frozen head passes a gradient on
        (0, True, 10 * (1296 + 432 + 30)),
    ],
)
def test_training_counts_what_runs_forward_and_backward(model, train, cached, expected):
    assert cost.training_flops(model, train, images=10, epochs=4, cached=cached) == expected


def test_squeezenet_at_its_usual_size_costs_what_its_authors_say():
    model = squeezenet(1000, (224, 224, 3), weights=None)
    assert sum(cost.forward_flops(model).values()) / 2 == pytest.approx(0.35e9, rel=0.05)  # 2.4x below v1.0's 0.83e9
