"""VGG16: the names and numbers of keras.applications, the report's count of features, and bad input."""

import keras
import numpy as np
import pytest

from tlkeras import graph
from tlkeras.models import vgg9, vgg16
from tlkeras.models.vgg import VGG9_FEATURES
from tlkeras.transfer import features, freezing

SMALL = {"blocks": ((2, 2), (3, 3), (4, 4, 4), (3, 3, 3), (3, 3, 3)), "input_shape": (32, 32, 3), "weights": None}


def test_parameters_and_features_of_report_004():
    model = vgg16(2, weights=None)
    assert model.get_layer("flatten").output.shape == (None, 25088)
    assert model.count_params() - model.get_layer("predictions").count_params() == 14_714_688
    assert freezing.freeze(model, "head") == 2 * 25088 + 2


def test_the_same_as_keras_applications_layer_by_layer():
    theirs = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    model = vgg16(2, (32, 32, 3), weights=None)
    assert [layer.name for layer in model.layers][2:-2] == [layer.name for layer in theirs.layers][1:]
    for layer in theirs.layers[1:]:
        model.get_layer(layer.name).set_weights(layer.get_weights())
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    ours = keras.Model(model.input, model.get_layer("block5_pool").output)(image)
    expected = theirs(keras.applications.imagenet_utils.preprocess_input(image.astype("float32"), mode="torch"))
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-6)


def test_frozen_features_are_cut_below_what_trains():
    model = vgg16(3, **SMALL)
    freezing.freeze(model, ["block5_conv2", "block5_conv3", "predictions"])
    base, head = features.split(model)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    assert base.layers[-1].name == "block5_conv1"
    np.testing.assert_allclose(head(base(images)), model(images), atol=1e-6)
    assert not graph.has_logits(model) and graph.has_logits(vgg16(3, **SMALL, classifier_activation=None))


@pytest.fixture(scope="module")
def model():
    return vgg9(10)


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
