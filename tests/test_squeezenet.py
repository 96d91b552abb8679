"""SqueezeNet: the report's parameter counts, its names, the cut below conv10, and bad input."""

import keras
import numpy as np
import pytest

from tlkeras.models import squeezenet
from tlkeras.transfer import features, freezing

SMALL = ((4, 8), (4, 8))
LAST_BLOCKS = [f"fire{n}_{part}" for n in (8, 9) for part in ("squeeze1x1", "expand1x1", "expand3x3")]


@pytest.fixture(scope="module")
def model():
    return squeezenet(10, weights=None)


def test_parameter_counts_of_report_000(model):
    assert model.count_params() == 727_626
    assert model.count_params() - model.get_layer("conv10").count_params() == 722_496
    for train, expected in (("head", 5_130), ([*LAST_BLOCKS, "conv10"], 391_306), ("all", 727_626)):
        assert freezing.freeze(model, train) == expected


def test_names(model):
    names = [layer.name for layer in model.layers if layer.weights]
    parts = ("squeeze1x1", "expand1x1", "expand3x3")
    assert names == ["conv1", *(f"fire{n}_{part}" for n in range(2, 10) for part in parts), "conv10"]


def test_any_size_from_32_up():
    images = np.zeros((2, 47, 61, 3), np.uint8)
    probabilities = squeezenet(3, images.shape[1:], weights=None, fires=SMALL)(images)
    assert probabilities.shape == (2, 3)
    np.testing.assert_allclose(np.sum(probabilities, axis=1), 1, rtol=1e-5)


def test_relu_on_the_head_is_an_option():
    images = np.full((4, 32, 32, 3), 200, np.uint8)
    keras.utils.set_random_seed(0)
    rectified = squeezenet(10, weights=None, fires=SMALL, head_relu=True, classifier_activation=None)
    assert float(np.min(rectified(images))) >= 0
    assert squeezenet(10, weights=None, fires=SMALL).get_layer("conv10").activation is keras.activations.linear


def test_frozen_features_are_cut_below_dropout():
    model = squeezenet(5, weights=None, fires=SMALL)
    freezing.freeze(model, "head")
    base, head = features.split(model)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    assert [layer.name for layer in head.layers[1:3]] == ["drop9", "conv10"]
    np.testing.assert_allclose(head(base(images)), model(images), atol=1e-6)


def test_pooling_before_the_head_gives_the_same_logits():
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    options = {"input_shape": (64, 64, 3), "weights": None, "fires": SMALL, "classifier_activation": None}
    last, first = (squeezenet(5, pool_first=pool_first, **options) for pool_first in (False, True))
    first.set_weights(last.get_weights())
    np.testing.assert_allclose(first(images), last(images), rtol=1e-4, atol=1e-4)
    freezing.freeze(first, "head")
    base, _ = features.split(first)
    assert base.output_shape == (None, 1, 1, 16)
    with pytest.raises(ValueError, match="does not commute"):
        squeezenet(5, pool_first=True, head_relu=True, weights=None, fires=SMALL)


def test_images_are_enlarged_inside_the_model():
    small = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    large = keras.ops.image.resize(small.astype(np.float32), (48, 48), interpolation="bicubic")
    options = {"weights": None, "fires": SMALL, "classifier_activation": None}
    inside = squeezenet(3, resolution=48, **options)
    outside = squeezenet(3, (48, 48, 3), **options)
    outside.set_weights(inside.get_weights())
    np.testing.assert_allclose(inside(small), outside(large), rtol=1e-4, atol=1e-3)
