"""AlexNet: torchvision's layout and padding, the report's count of features, the cut below the head, and bad input."""

import numpy as np
import pytest

from tlkeras.models import alexnet
from tlkeras.transfer import features, freezing

SMALL = {"filters": (3, 4, 5, 4, 3), "input_shape": (63, 63, 3), "weights": None}


@pytest.fixture(scope="module")
def model():
    return alexnet(2, weights=None)


def test_parameters_and_features_of_report_004(model):
    assert model.get_layer("flatten").output.shape == (None, 9216)
    assert model.count_params() - model.get_layer("classifier").count_params() == 2_469_696
    assert freezing.freeze(model, "head") == 2 * 9216 + 2


def test_layout_is_torchvisions(model):
    sides = {layer.name: layer.output.shape[1:] for layer in model.layers if layer.name.startswith(("conv", "pool"))}
    assert sides == {
        "conv1": (55, 55, 64),
        "pool1": (27, 27, 64),
        "conv2": (27, 27, 192),
        "pool2": (13, 13, 192),
        "conv3": (13, 13, 384),
        "conv4": (13, 13, 256),
        "conv5": (13, 13, 256),
        "pool5": (6, 6, 256),
    }
    assert [layer.name for layer in model.layers if layer.weights] == [*(f"conv{n}" for n in range(1, 6)), "classifier"]


def test_two_pixels_of_zeros_lie_around_the_preprocessed_image():
    model = alexnet(2, **SMALL)
    image = np.random.default_rng(0).integers(150, 256, (1, 63, 63, 3), np.uint8)  # positive after the preprocessing
    preprocessed = np.asarray(model.get_layer("preprocessing")(image))[0]
    for corner, expected in (
        (2, preprocessed[::4, ::4]),
        (0, np.pad(preprocessed, ((2, 0), (2, 0), (0, 0)))[::4, ::4]),
    ):
        kernel = np.zeros((11, 11, 3, 3))
        kernel[corner, corner] = np.eye(3)
        model.get_layer("conv1").set_weights([kernel, np.zeros(3)])
        found = model.get_layer("conv1")(model.get_layer("padding")(preprocessed[None]))[0]
        np.testing.assert_allclose(found, expected[:15, :15][: len(found), : len(found)], rtol=1e-6)


def test_frozen_features_are_cut_below_the_head():
    model = alexnet(3, **SMALL)
    freezing.freeze(model, "head")
    base, head = features.split(model)
    images = np.random.default_rng(0).integers(0, 256, (2, 63, 63, 3), np.uint8)
    assert [layer.name for layer in head.layers[1:]] == ["classifier"]
    np.testing.assert_allclose(head(base(images)), model(images), atol=1e-6)
    np.testing.assert_allclose(np.sum(model(images), axis=1), 1, rtol=1e-5)
