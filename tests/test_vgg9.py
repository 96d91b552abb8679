"""VGG-9 has the report's parameters, features and first values."""

import numpy as np
import pytest

from tlkeras.models.vgg import VGG9_FEATURES, vgg9


@pytest.fixture(scope="module")
def model():
    return vgg9()


def test_parameters_and_features_of_the_report(model):
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 9_231_114
    shapes = [tuple(model.get_layer(name).output.shape[1:]) for name in VGG9_FEATURES]
    assert shapes == [(32, 32, 64), (16, 16, 128), (8, 8, 256), (4, 4, 512), (2, 2, 512)]
    assert model.get_layer("fc").input.shape == (None, 512)


def test_first_values(model):
    kernel = np.asarray(model.get_layer("conv6").kernel)
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 512)), rel=0.01)
    assert np.abs(kernel).max() > 3.5 * kernel.std()  # not cut off at two deviations
    assert np.asarray(model.get_layer("fc").kernel).std() == pytest.approx(0.01, rel=0.05)
    assert not np.asarray(model.get_layer("conv1").bias).any()


def test_the_sides_must_survive_the_poolings():
    assert vgg9(3, (8, 8, 3), blocks=((4,), (4, 5))).output_shape == (None, 3)
    with pytest.raises(ValueError, match=r"sides from 32 up.*Received: input_shape=\(16, 16, 3\)$"):
        vgg9(input_shape=(16, 16, 3))
