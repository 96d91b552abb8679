"""ResNet32 has the report's parameters and features, and pads like the network its weights were trained in."""

import keras
import numpy as np
import pytest

from tlkeras.models import resnet32
from tlkeras.models.resnet32 import FEATURES


@pytest.fixture(scope="module")
def model():
    return resnet32(200)


def test_parameters_and_features_of_the_report(model):
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 479_272
    shapes = [tuple(model.get_layer(name).output.shape) for name in FEATURES]
    assert shapes == [(None, 32, 32, 16), (None, 16, 16, 32), (None, 8, 8, 64)]
    assert sum(layer.name[-2:] in ("b1", "b2", "b3", "b4", "b5") for layer in model.layers) == 15
    assert {layer.epsilon for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)} == {1e-5}


def test_a_stride_of_two_starts_one_pixel_outside():
    """ "same" padding would put no zero on the left of an even side, and shift every map by a pixel."""
    model = resnet32(2, (8, 8, 3), filters=(4, 6), blocks=1, preprocessing=None)
    base = keras.Model(model.input, [model.get_layer(name).output for name in ("s1b1", "s2b1_conv1")])
    kernel = np.zeros((3, 3, 4, 6), np.float32)
    kernel[0, 0] = 1.0  # looks at the pixel above and left of the centre
    base.get_layer("s2b1_conv1").set_weights([kernel])
    images = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype(np.float32)
    before, after = (np.asarray(x)[0] for x in base(images, training=False))
    expected = np.pad(before.sum(axis=-1), 1)[:-2:2, :-2:2]
    np.testing.assert_allclose(after[..., 0], expected, rtol=1e-5)
    assert expected.shape == (4, 4) and not expected[0].any() and expected[1:].any()
