"""VGG16 with one new fully connected layer: a table of numbers, and the layer names of keras.applications."""

import keras
from keras import layers

from tlkeras.models import records
from tlkeras.models.batch_normalization import BatchNormalization
from tlkeras.models.layers import Preprocessing, check_arguments
from tlkeras.models.resnet32 import EPSILON, MOMENTUM

VGG16_HEAD = "predictions"
VGG16_SMALLEST = 32
VGG16_BLOCKS = (
    (64, 64),
    (128, 128),
    (256, 256, 256),
    (512, 512, 512),
    (512, 512, 512),
)  # arXiv:1409.1556, configuration D
VGG16_WEIGHTS = {"imagenet": "vgg16", "keras_applications": "vgg16_keras_applications"}  # argument -> record


def vgg16(
    num_classes: int = 2,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    weights: str | None = "imagenet",
    blocks: tuple[tuple[int, ...], ...] = VGG16_BLOCKS,
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build VGG16's convolutions, 14,714,688 parameters and 25,088 features, and one new dense layer on top.

    Two sets of ImageNet weights are about. Report 004 used torchvision's; keras.applications has those of the
    network's authors, who preprocessed in another way. The model's first layer goes with the weights.

    Args:
        num_classes: outputs, at least 2.
        input_shape: `(height, width, 3)` of raw RGB images, 0..255; sides from 32 up.
        weights: "imagenet" (torchvision's), "keras_applications" (the authors'), both for everything below the dense
            layer and strictly loaded, or None (random).
        blocks: channels of each convolution, by block; fewer make a small network for tests.
        classifier_activation: "softmax", or None (logits).

    Returns:
        A flat functional model, `(batch, height, width, 3)` in, `(batch, num_classes)` out.

    Raises:
        ValueError: fewer than 2 classes, sides below 32, other than 3 channels, or unknown weights.
        WeightsUnavailableError: the weights could not be had.

    Reference: report 004, "Архитектура VGG-16" and "Дообучение модели".
    """
    check_arguments(num_classes, input_shape, VGG16_SMALLEST, weights, (None, *VGG16_WEIGHTS))
    record = VGG16_WEIGHTS[weights or "imagenet"]
    inputs = keras.Input(input_shape, name="image")
    x = Preprocessing(records.RECORDS[record].preprocessing, name="preprocessing")(inputs)
    for block, filters in enumerate(blocks, start=1):
        for number, channels in enumerate(filters, start=1):
            name = f"block{block}_conv{number}"
            x = layers.Conv2D(channels, 3, padding="same", activation="relu", name=name)(x)
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    outputs = layers.Dense(num_classes, activation=classifier_activation, name=VGG16_HEAD)(x)
    model = keras.Model(inputs, outputs, name="VGG16")
    if weights is not None:
        records.load(model, record, new_layers=(VGG16_HEAD,))
    return model


VGG9_HEAD = "fc"
VGG9_FEATURES = ("relu1", "relu2", "relu4", "relu6", "relu8")  # what enters each pooling, where report 003 transfers to
VGG9_BLOCKS = ((64,), (128,), (256, 256), (512, 512), (512, 512))


def vgg9(
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    blocks: tuple[tuple[int, ...], ...] = VGG9_BLOCKS,
    preprocessing: str | None = "torch",
    classifier_activation: str | None = None,
) -> keras.Model:
    """Build VGG-9: eight convolutions and one dense layer, 9,231,114 trainable parameters with ten classes.

    Args:
        num_classes: outputs, at least 2.
        input_shape: `(height, width, 3)` of RGB images; sides from `2 ** len(blocks)` up.
        blocks: channels of each convolution, by block; a pooling follows each block.
        preprocessing: a mode of `Preprocessing` (raw 0..255 in), or None (already preprocessed).
        classifier_activation: None (logits), or "softmax".

    Returns:
        A flat functional model, `(batch, height, width, 3)` in, `(batch, num_classes)` out.

    Raises:
        ValueError: fewer than 2 classes, sides too small, other than 3 channels, or unknown preprocessing.

    Reference: Simonyan and Zisserman 2015, arXiv:1409.1556; the variant of Jang et al. 2019, arXiv:1905.05901.
    """
    check_arguments(num_classes, input_shape, 2 ** len(blocks), None, (None,))
    inputs = x = keras.Input(input_shape, name="image")
    if preprocessing:
        x = Preprocessing(preprocessing, name="preprocessing")(x)
    number = 0
    for block, filters in enumerate(blocks, start=1):
        for channels in filters:
            number += 1
            x = _convolution(x, channels, number)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    initial = keras.initializers.RandomNormal(stddev=0.01)
    outputs = layers.Dense(num_classes, activation=classifier_activation, kernel_initializer=initial, name=VGG9_HEAD)(x)
    return keras.Model(inputs, outputs, name="VGG9")


def _convolution(x: keras.KerasTensor, channels: int, number: int) -> keras.KerasTensor:
    initial = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    x = layers.Conv2D(channels, 3, padding="same", kernel_initializer=initial, name=f"conv{number}")(x)
    x = BatchNormalization(epsilon=EPSILON, momentum=MOMENTUM, name=f"bn{number}")(x)
    return layers.ReLU(name=f"relu{number}")(x)
