"""VGG16: the names and numbers of keras.applications, the report's count of features, and bad input."""

import keras
import numpy as np
import pytest

from tlkeras import graph
from tlkeras.models import vgg16
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (31, 32, 3)}, "sides from 32 up"),
        ({"input_shape": (32, 3)}, "height, width, 3"),
        ({"num_classes": 1}, "at least 2 classes"),
        ({"weights": "torchvision"}, "Expected weights out of .*'imagenet', 'keras_applications'.*'torchvision'"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        vgg16(**{"weights": None, **arguments})
