"""VGG-9 with batch normalisation for 32x32 images, the target network of report 003."""

import keras
from keras import layers

from tlkeras.models.arguments import check_arguments
from tlkeras.models.batch_normalization import BatchNormalization
from tlkeras.models.preprocessing import Preprocessing
from tlkeras.models.resnet32 import EPSILON, MOMENTUM

HEAD = "fc"
FEATURES = ("relu1", "relu2", "relu4", "relu6", "relu8")  # what enters each pooling, where report 003 transfers to
BLOCKS = ((64,), (128,), (256, 256), (512, 512), (512, 512))


def vgg9(
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    blocks: tuple[tuple[int, ...], ...] = BLOCKS,
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
    outputs = layers.Dense(num_classes, activation=classifier_activation, kernel_initializer=initial, name=HEAD)(x)
    return keras.Model(inputs, outputs, name="VGG9")


def _convolution(x: keras.KerasTensor, channels: int, number: int) -> keras.KerasTensor:
    initial = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    x = layers.Conv2D(channels, 3, padding="same", kernel_initializer=initial, name=f"conv{number}")(x)
    x = BatchNormalization(epsilon=EPSILON, momentum=MOMENTUM, name=f"bn{number}")(x)
    return layers.ReLU(name=f"relu{number}")(x)
