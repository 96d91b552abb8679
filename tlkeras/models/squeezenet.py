"""SqueezeNet 1.1 with a new classifier: a table of numbers and one fire block."""

import keras
from keras import layers

from tlkeras.models import records
from tlkeras.models.layers import check_arguments, preprocessed

# Iandola et al. 2016, arXiv:1602.07360, and the v1.1 of its authors: (squeeze, expand) channels of fire2 to fire9.
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
POOLED = ("conv1", "fire3", "fire5")  # a 3x3 max pooling of stride 2 follows these


def squeezenet(
    num_classes: int,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    *,
    weights: str | None = None,
    new_head: bool | None = None,
    preprocessing: str | None = "caffe",
    classifier_activation: str | None = "softmax",
    dropout: float = 0.5,
    head_relu: bool = False,
    fires: tuple[tuple[int, int], ...] = FIRES,
    resolution: int | None = None,
    pool_first: bool = False,
) -> keras.Model:
    """Build SqueezeNet 1.1 with a new conv10: 722,496 parameters below it, 727,626 in all with ten classes.

    Args:
        num_classes: outputs, at least 2.
        input_shape: `(height, width, 3)` of RGB images; sides from 32 up.
        weights: "imagenet" (everything below conv10, strictly loaded), "tinyimagenet32" (the same, but a stand-in that
            this project trained on 200 classes at 32x32 and ships), or None (random).
        new_head: whether conv10 stays new; with these weights it always does, and False is an error.
        preprocessing: a key of `layers.MODES` (raw 0..255 in), or None (already preprocessed). The weights were
            trained with "caffe"; report 000 most likely used "unit".
        classifier_activation: "softmax" (probabilities), or None (logits).
        dropout: share of the features of fire9 that is dropped before conv10, 0 (inclusive) to 1.
        head_relu: the original's ReLU on conv10. It cannot push a logit below zero and often stays dead, hence off.
        fires: (squeeze, expand) channels of each fire block; fewer or smaller ones make a small network for tests.
        resolution: side of the square to which images are resized (bicubic) inside the model; None leaves them as
            they are. Small images cost little memory and augmentation, and the network sees large ones. ONNX resizes
            the border in another way: logits of an exported file are off by a thousandth or so.
        pool_first: average over the map before conv10 instead of after it. Without a ReLU the two commute, so the
            logits are the same at inference, and cached frozen features are 512 numbers an image at any resolution.
            In training, dropout then drops whole channels.

    Returns:
        A flat functional model, `(batch, height, width, 3)` in, `(batch, num_classes)` out.

    Raises:
        ValueError: fewer than 2 classes, sides or resolution below 32, other than 3 channels, an unknown name, or
            pool_first with head_relu.
        WeightsUnavailableError: the weights could not be had.

    Reference: report 000 (Shams), figures 1, 3 and 5.
    """
    network = records.NETWORKS["squeezenet"]
    check_arguments(network, num_classes, input_shape, weights, preprocessing, classifier_activation)
    if resolution is not None and resolution < network.smallest:
        raise ValueError(
            f"Expected a resolution from {network.smallest} up, or None. Received: resolution={resolution}"
        )
    if pool_first and head_relu:
        raise ValueError("Expected pool_first without head_relu, which does not commute. Received: both")
    inputs = keras.Input(input_shape, name="image")
    x = preprocessed(inputs, preprocessing)
    if resolution:
        x = layers.Resizing(resolution, resolution, "bicubic", name="resizing")(x)
    x = layers.Conv2D(64, 3, strides=2, activation="relu", name="conv1")(x)
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    for number, (squeeze, expand) in enumerate(fires, start=2):
        x = _fire(x, f"fire{number}", squeeze, expand)
        if f"fire{number}" in POOLED:
            x = layers.MaxPooling2D(3, 2, name=f"pool{number}")(x)
    conv10 = layers.Conv2D(num_classes, 1, activation="relu" if head_relu else None, name=network.head)
    x = _head(layers.Dropout(dropout, name="drop9"), conv10, x, pool_first)
    outputs = layers.Activation(classifier_activation or "linear", name="classifier")(x)
    model = keras.Model(inputs, outputs, name="SqueezeNet")
    if weights is not None:
        records.load(model, "squeezenet", weights, new_head=new_head)
    return model


def _head(dropout: layers.Layer, conv10: layers.Layer, x: keras.KerasTensor, pool_first: bool) -> keras.KerasTensor:
    if pool_first:
        x = layers.GlobalAveragePooling2D(keepdims=True, name="global_average_pool")(x)
        return layers.Flatten(name="flatten")(conv10(dropout(x)))
    return layers.GlobalAveragePooling2D(name="global_average_pool")(conv10(dropout(x)))


def _fire(x: keras.KerasTensor, name: str, squeeze: int, expand: int) -> keras.KerasTensor:
    x = layers.Conv2D(squeeze, 1, activation="relu", name=f"{name}_squeeze1x1")(x)
    left = layers.Conv2D(expand, 1, activation="relu", name=f"{name}_expand1x1")(x)
    right = layers.Conv2D(expand, 3, padding="same", activation="relu", name=f"{name}_expand3x3")(x)
    return layers.Concatenate(name=f"{name}_concat")([left, right])
