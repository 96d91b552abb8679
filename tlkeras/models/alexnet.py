"""AlexNet as torchvision lays it out, with one new fully connected layer: a table of numbers."""

import keras
from keras import layers

from tlkeras.models import records
from tlkeras.models.layers import check_arguments, preprocessed

FILTERS = (64, 192, 384, 256, 256)  # Krizhevsky 2014, arXiv:1404.5997, without its split over two graphics cards
_KERNELS = (11, 5, 3, 3, 3)
POOLED = (1, 2, 5)  # a 3x3 max pooling of stride 2 follows these convolutions


def alexnet(
    num_classes: int,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    *,
    weights: str | None = None,
    new_head: bool | None = None,
    preprocessing: str | None = "torch",
    classifier_activation: str | None = "softmax",
    filters: tuple[int, ...] = FILTERS,
) -> keras.Model:
    """Build AlexNet's convolutions, 2,469,696 parameters and 9,216 features, and one new dense layer on top.

    torchvision flattens channel by channel (NCHW), this model pixel by pixel (NHWC): the same features in another
    order, which only matters to trained dense layers, and the one here is new. Padding lies outside the
    preprocessing, so that it is zero after it, as in torchvision. Its average pooling to 6x6 does nothing at 224x224
    and is left out.

    Args:
        num_classes: outputs, at least 2.
        input_shape: `(height, width, 3)` of RGB images; sides from 63 up.
        weights: "imagenet" (everything below the dense layer, strictly loaded), or None (random).
        new_head: whether the dense layer stays new; with these weights it always does, and False is an error.
        preprocessing: a key of `layers.MODES` (raw 0..255 in), or None (already preprocessed).
        classifier_activation: "softmax" (probabilities), or None (logits).
        filters: channels of each convolution; fewer make a small network for tests.

    Returns:
        A flat functional model, `(batch, height, width, 3)` in, `(batch, num_classes)` out.

    Raises:
        ValueError: fewer than 2 classes, sides below 63, other than 3 channels, or an unknown name.
        WeightsUnavailableError: the weights could not be had.

    Reference: report 004, "Архитектура AlexNet" and "Дообучение модели".
    """
    network = records.NETWORKS["alexnet"]
    check_arguments(network, num_classes, input_shape, weights, preprocessing, classifier_activation)
    inputs = keras.Input(input_shape, name="image")
    x = preprocessed(inputs, preprocessing)
    for number, (channels, kernel) in enumerate(zip(filters, _KERNELS, strict=True), start=1):
        if number == 1:  # Keras' own "same" pads 3 and 4 pixels where torchvision pads 2 and 2
            x = layers.ZeroPadding2D(2, name="padding")(x)
        strides, padding = (4, "valid") if number == 1 else (1, "same")
        x = layers.Conv2D(channels, kernel, strides, padding, activation="relu", name=f"conv{number}")(x)
        if number in POOLED:
            x = layers.MaxPooling2D(3, 2, name=f"pool{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    outputs = layers.Dense(num_classes, activation=classifier_activation, name=network.head)(x)
    model = keras.Model(inputs, outputs, name="AlexNet")
    if weights is not None:
        records.load(model, "alexnet", weights, new_head=new_head)
    return model
