"""What cannot be climbed is named before, or where it happens."""

import keras
import numpy as np
import pytest
from helpers import tiny

from tlkeras.visualize import NotFiniteError, activation_maximization, maximize
from tlkeras.visualize import objectives as o


@pytest.fixture(scope="module")
def model():
    return tiny()


BAD = {
    "unknown layer": (lambda m: activation_maximization(m, "conv_3"), r"such as .*conv_2.*Received: layer=.conv_3.$"),
    "channel out of range": (lambda m: activation_maximization(m, "conv_2", [0, 3]), r"Received: \[\[0\], \[3\]\]$"),
    "negative channel": (lambda m: activation_maximization(m, "conv_2", -1), r"below \[3\]\. Received: \[\[-1\]\]$"),
    "no channels": (lambda m: activation_maximization(m, "flatten_6"), r"channels of .*Received: \(None, 12\)$"),
    "no channels asked for": (lambda m: activation_maximization(m, "conv_2", []), r"Received: \[\]$"),
    "half a channel": (lambda m: activation_maximization(m, "conv_2", 0.5), r"Received: 0\.5$"),
    "class out of range": (lambda m: maximize(m, o.class_logit(3)), r"Expected classes.*Received: \[\[3\]\]$"),
    "neuron out of range": (lambda m: maximize(m, o.neuron("conv_1", [(8, 0, 0)])), r"below \[8, 8, 4\]"),
    "direction too short": (lambda m: maximize(m, o.direction("conv_1", [1, 0])), r"of 4 values\. Received: 2$"),
    "direction of nothing": (lambda m: o.direction("conv_1", [0, 0]), r"Received: \[\[0\.0\]\]$"),
    "zero steps": (lambda m: activation_maximization(m, "conv_2", steps=0), r"Received: steps=0, frames=1$"),
    "too many frames": (lambda m: activation_maximization(m, "conv_2", steps=2, frames=3), r"frames=3$"),
    "a penalty alone": (lambda m: maximize(m, o.total_variation()), r"Received: penalties alone$"),
    "a seed too large": (lambda m: activation_maximization(m, "conv_2", seed=2**31), r"Received: seed=2147483648$"),
    "targets that differ": (lambda m: maximize(m, o.channel("conv_1") + o.channel("conv_2")), r"Received: 3$"),
    "another size": (lambda m: activation_maximization(m, "conv_2", size=9), r"Received: size=9$"),
    "an empty range": (lambda m: activation_maximization(m, "conv_2", value_range=(1, 1)), r"value_range=\(1, 1\)$"),
    "no memory": (lambda m: activation_maximization(m, "conv_2", memory=0), r"Received: memory=0$"),
    "not built": (lambda m: activation_maximization(keras.Sequential([]), "conv_2"), r"functional or Sequential"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_are_named(model, name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call(model)


def test_not_a_number_is_named():
    model = tiny()
    kernel, bias = model.get_layer("conv_2").get_weights()
    bias[1] = np.nan
    model.get_layer("conv_2").set_weights([kernel, bias])
    with pytest.raises(NotFiniteError, match=r"Received: NaN or infinity in \['conv_2/bias'\]$"):
        activation_maximization(model, "conv_2", steps=2)


def test_pictures_that_are_not_a_number_are_named():
    inputs = keras.Input((6, 6, 1))
    root = keras.layers.Conv2D(2, 1, name="root")(keras.ops.sqrt(inputs - 1000))
    with pytest.raises(NotFiniteError, match=r"Received: NaN or infinity for targets \[\[1\]\]$"):
        activation_maximization(keras.Model(inputs, root), "root", 1, steps=2)
