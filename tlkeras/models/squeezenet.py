"""SqueezeNet 1.1 with a new classifier: a table of numbers and one fire block."""

import keras
from keras import layers

from tlkeras.models import backbones
from tlkeras.models.preprocessing import Preprocessing

HEAD = "conv10"
SMALLEST = 32
# Iandola et al. 2016, arXiv:1602.07360, and the v1.1 of its authors: (squeeze, expand) channels of fire2 to fire9.
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
POOLED = ("conv1", "fire3", "fire5")  # a 3x3 max pooling of stride 2 follows these


def squeezenet(
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    weights: str | None = "imagenet",
    preprocessing: str = "caffe",
    head_relu: bool = False,
    fires: tuple[tuple[int, int], ...] = FIRES,
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build SqueezeNet 1.1 with a new conv10: 722,496 parameters below it, 727,626 in all with ten classes.

    Args:
        num_classes: outputs, at least 2.
        input_shape: `(height, width, 3)` of raw RGB images, 0..255; sides from 32 up.
        weights: "imagenet" (everything below conv10, strictly loaded), or None (random).
        preprocessing: "caffe", what the weights were trained with, or "unit", what report 000 most likely used.
        head_relu: the original's ReLU on conv10. It cannot push a logit below zero and often stays dead, hence off.
        fires: (squeeze, expand) channels of each fire block; fewer or smaller ones make a small network for tests.
        classifier_activation: "softmax", or None (logits).

    Returns:
        A flat functional model, `(batch, height, width, 3)` in, `(batch, num_classes)` out.

    Raises:
        ValueError: fewer than 2 classes, sides below 32, other than 3 channels, unknown weights or preprocessing.
        WeightsUnavailableError: the weights could not be had.

    Reference: report 000 (Shams), figures 1, 3 and 5.
    """
    _check(num_classes, input_shape, weights)
    inputs = keras.Input(input_shape, name="image")
    x = Preprocessing(preprocessing, name="preprocessing")(inputs)
    x = layers.Conv2D(64, 3, strides=2, activation="relu", name="conv1")(x)
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    for number, (squeeze, expand) in enumerate(fires, start=2):
        x = _fire(x, f"fire{number}", squeeze, expand)
        if f"fire{number}" in POOLED:
            x = layers.MaxPooling2D(3, 2, name=f"pool{number}")(x)
    x = layers.Dropout(0.5, name="drop9")(x)
    x = layers.Conv2D(num_classes, 1, activation="relu" if head_relu else None, name=HEAD)(x)
    x = layers.GlobalAveragePooling2D(name="global_average_pool")(x)
    outputs = layers.Activation(classifier_activation or "linear", name="classifier")(x)
    model = keras.Model(inputs, outputs, name="SqueezeNet")
    if weights == "imagenet":
        backbones.load(model, "squeezenet", new_layers=(HEAD,))
    return model


def _fire(x: keras.KerasTensor, name: str, squeeze: int, expand: int) -> keras.KerasTensor:
    x = layers.Conv2D(squeeze, 1, activation="relu", name=f"{name}_squeeze1x1")(x)
    left = layers.Conv2D(expand, 1, activation="relu", name=f"{name}_expand1x1")(x)
    right = layers.Conv2D(expand, 3, padding="same", activation="relu", name=f"{name}_expand3x3")(x)
    return layers.Concatenate(name=f"{name}_concat")([left, right])


def _check(num_classes: int, input_shape: tuple[int, int, int], weights: str | None) -> None:
    if num_classes < 2:
        raise ValueError(f"A classifier needs at least 2 classes. Received: num_classes={num_classes}")
    if len(input_shape) != 3 or input_shape[2] != 3 or min(input_shape[:2]) < SMALLEST:
        raise ValueError(
            f"input_shape must be (height, width, 3) with sides from {SMALLEST} up. Received: input_shape={input_shape}"
        )
    if weights not in (None, "imagenet"):
        raise ValueError(f"Expected weights='imagenet' or None. Received: weights={weights!r}")
