"""The networks of Simonyan and Zisserman 2015, arXiv:1409.1556: VGG16 with one new dense layer, and the small VGG-9."""

import keras
from keras import layers

from tlkeras.models import records
from tlkeras.models.batch_normalization import PYTORCH, BatchNormalization
from tlkeras.models.layers import check_arguments, preprocessed

# Channels of each convolution, by block; a 2x2 max pooling follows each block.
VGG16_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # configuration D
VGG9_BLOCKS = ((64,), (128,), (256, 256), (512, 512), (512, 512))  # of Jang et al. 2019
VGG9_FEATURES = ("relu1", "relu2", "relu4", "relu6", "relu8")  # what enters each pooling, where report 003 transfers to


def vgg16(
    num_classes: int,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    *,
    weights: str | None = None,
    new_head: bool | None = None,
    preprocessing: str | None = "torch",
    classifier_activation: str | None = "softmax",
    blocks: tuple[tuple[int, ...], ...] = VGG16_BLOCKS,
) -> keras.Model:
    """Build VGG16's convolutions, 14,714,688 parameters and 25,088 features, and one new dense layer on top.

    The layers have the names of keras.applications. The weights are torchvision's, as in report 004.

    Args:
        num_classes: outputs, at least 2.
        input_shape: `(height, width, 3)` of RGB images; sides from `2 ** len(blocks)` up.
        weights: "imagenet" (everything below the dense layer, strictly loaded), or None (random).
        new_head: whether the dense layer stays new; with these weights it always does, and False is an error.
        preprocessing: a key of `layers.MODES` (raw 0..255 in), or None (already preprocessed).
        classifier_activation: "softmax" (probabilities), or None (logits).
        blocks: channels of each convolution, by block; fewer make a small network for tests.

    Returns:
        A flat functional model, `(batch, height, width, 3)` in, `(batch, num_classes)` out.

    Raises:
        ValueError: fewer than 2 classes, sides too small, other than 3 channels, or an unknown name.
        WeightsUnavailableError: the weights could not be had.

    Reference: report 004, "Архитектура VGG-16" and "Дообучение модели".
    """
    network = records.NETWORKS["vgg16"]
    check_arguments(network, num_classes, input_shape, weights, preprocessing, classifier_activation, 2 ** len(blocks))
    inputs = keras.Input(input_shape, name="image")
    x = preprocessed(inputs, preprocessing)
    for block, filters in enumerate(blocks, start=1):
        for number, channels in enumerate(filters, start=1):
            name = f"block{block}_conv{number}"
            x = layers.Conv2D(channels, 3, padding="same", activation="relu", name=name)(x)
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    outputs = layers.Dense(num_classes, activation=classifier_activation, name=network.head)(x)
    model = keras.Model(inputs, outputs, name="VGG16")
    if weights is not None:
        records.load(model, "vgg16", weights, new_head=new_head)
    return model


def vgg9(
    num_classes: int,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    *,
    weights: None = None,
    new_head: bool | None = None,
    preprocessing: str | None = "torch",
    classifier_activation: str | None = "softmax",
    blocks: tuple[tuple[int, ...], ...] = VGG9_BLOCKS,
) -> keras.Model:
    """Build VGG-9: eight convolutions and one dense layer, 9,231,114 trainable parameters with ten classes.

    Args:
        num_classes: outputs, at least 2.
        input_shape: `(height, width, 3)` of RGB images; sides from `2 ** len(blocks)` up.
        weights: None (random); no other is known.
        new_head: without weights every layer is new; the other networks need it.
        preprocessing: a key of `layers.MODES` (raw 0..255 in), or None (already preprocessed).
        classifier_activation: "softmax" (probabilities), or None (logits).
        blocks: channels of each convolution, by block.

    Returns:
        A flat functional model, `(batch, height, width, 3)` in, `(batch, num_classes)` out.

    Raises:
        ValueError: fewer than 2 classes, sides too small, other than 3 channels, or an unknown name.

    Reference: the variant of Jang et al. 2019, arXiv:1905.05901, the target network of report 003.
    """
    network = records.NETWORKS["vgg9"]
    check_arguments(network, num_classes, input_shape, weights, preprocessing, classifier_activation, 2 ** len(blocks))
    inputs = keras.Input(input_shape, name="image")
    x = preprocessed(inputs, preprocessing)
    number = 0
    for block, filters in enumerate(blocks, start=1):
        for channels in filters:
            number += 1
            x = _convolution(x, channels, number)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    initial = keras.initializers.RandomNormal(stddev=0.01)
    outputs = layers.Dense(
        num_classes, activation=classifier_activation, kernel_initializer=initial, name=network.head
    )(x)
    return keras.Model(inputs, outputs, name="VGG9")


def _convolution(x: keras.KerasTensor, channels: int, number: int) -> keras.KerasTensor:
    initial = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    x = layers.Conv2D(channels, 3, padding="same", kernel_initializer=initial, name=f"conv{number}")(x)
    x = BatchNormalization(**PYTORCH, name=f"bn{number}")(x)
    return layers.ReLU(name=f"relu{number}")(x)
