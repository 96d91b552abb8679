"""Attribution names what it cannot explain."""

import keras
import numpy as np
import pytest
from helpers import images, tiny
from keras import layers

from tlkeras.visualize.attribution import grad_cam, integrated_gradients


def two_with_one_name():
    inputs = keras.Input((8, 8, 1))
    inner = [keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(1, 3, padding="same", name="same")])]
    x = layers.Conv2D(1, 3, padding="same", name="same")(inner[0](inputs))
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


def side_branch():
    inputs = keras.Input((8, 8, 1))
    maps = layers.Conv2D(1, 3, name="side")(inputs)
    shape = keras.ops.sign(keras.ops.mean(maps, axis=(1, 2)))
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(inputs)) + keras.ops.stop_gradient(shape))


NOT_A_NUMBER = np.where(np.arange(64).reshape(1, 8, 8, 1) == 5, np.nan, 1.0)
BAD = {
    "unknown layer": (tiny, {"layer": "conv_9"}, r"out of \['rescaling', 'conv_1'.*layer='conv_9'$"),
    "layer without a map": (tiny, {"layer": "dense"}, r"spatial map .*Received: layer='dense'"),
    "map of one pixel": (
        lambda: flat(1),
        {"images": images(1, shape=(2, 2, 1)), "layer": "conv"},
        "more than one pixel",
    ),
    "no map at all": (lambda: keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3)]), {}, "map"),
    "two layers of one name": (two_with_one_name, {"layer": "same"}, r"one layer out of \[.*/same', .*'same'"),
    "layer beside the way": (side_branch, {"layer": "side"}, "leads to the output. Received: layer='side'"),
    "class too high": (tiny, {"classes": 3}, r"labels in 0..2. Received: min=3, max=3"),
    "class below 0": (tiny, {"classes": -1}, r"labels in 0..2. Received: min=-1"),
    "class of no number": (tiny, {"classes": 0.5}, "labels of integers"),
    "classes of others": (tiny, {"classes": [0, 1]}, r"one for each of 1 images. Received: \(2,\)"),
    "NaN": (tiny, {"images": NOT_A_NUMBER}, r"finite values. Received: NaN or infinity in images \[0\]"),
    "other size": (
        tiny,
        {"images": images(1, shape=(9, 8, 1))},
        r"shape \(n, 8, 8, 1\). Received: shape=\(1, 9, 8, 1\)",
    ),
    "one image alone": (tiny, {"images": images(1)[0]}, r"Received: shape=\(8, 8, 1\)"),
    "no images": (tiny, {"images": images(0)}, "Received: 0 images"),
    "text": (tiny, {"images": np.full((1, 8, 8, 1), "a")}, "of numbers"),
    "no classifier": (lambda: keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(1, 3)]), {}, "classes"),
    "no model": (lambda: "TomiNet", {}, "functional model"),
}


def flat(side):
    x = keras.Input((2 * side, 2 * side, 1))
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(layers.Conv2D(2, 2, strides=2, name="conv")(x))))


@pytest.mark.parametrize(("model", "arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_of_grad_cam(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        grad_cam(model(), **{"images": images(1), **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "Received: steps=0"),
        ({"samples": 0}, "samples=0"),
        ({"noise": -0.1}, "noise=-0.1"),
        ({"noise": np.nan}, "noise=nan"),
        ({"baseline": np.zeros((7, 8, 1))}, r"fits \(1, 8, 8, 1\). Received: shape=\(7, 8, 1\)"),
        ({"baseline": np.nan}, "baseline of finite values"),
        ({"images": NOT_A_NUMBER}, "NaN or infinity in images"),
        ({"classes": 7}, "Received: min=7"),
    ],
)
def test_bad_input_of_integrated_gradients(arguments, message):
    with pytest.raises(ValueError, match=message):
        integrated_gradients(tiny(), **{"images": images(1), **arguments})
