"""ResNet32 for 32x32 images, the source network of report 003: a table of numbers and one residual block."""

import keras
from keras import layers

from tlkeras.models import records
from tlkeras.models.batch_normalization import PYTORCH, BatchNormalization
from tlkeras.models.layers import check_arguments, preprocessed

FEATURES = ("s1b5", "s2b5", "s3b5")  # the ends of the three stages, which report 003 transfers from


def resnet32(
    num_classes: int,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    *,
    weights: str | None = None,
    new_head: bool | None = None,
    preprocessing: str | None = "torch",
    classifier_activation: str | None = "softmax",
    filters: tuple[int, ...] = (16, 32, 64),
    blocks: int = 5,
) -> keras.Model:
    """Build ResNet32: 479,272 trainable parameters with the 200 classes of Tiny ImageNet.

    Every block's output, after its last ReLU, is the layer `s<stage>b<block>`.

    Args:
        num_classes: outputs, at least 2.
        input_shape: `(height, width, 3)` of RGB images; sides from 4 up.
        weights: None (random), "tinyimagenet32" (trained by this project), or "official" (those of Jang et al. 2019,
            fetched), both on Tiny ImageNet at 32x32, for preprocessing "torch" and the default filters and blocks.
        new_head: True keeps the dense layer new, False demands the file's; by default it is the file's where that is
            of the same shape, which is with 200 classes.
        preprocessing: a key of `layers.MODES` (raw 0..255 in), or None (already preprocessed).
        classifier_activation: "softmax" (probabilities), or None (logits).
        filters: channels of each stage; every stage after the first halves the sides.
        blocks: residual blocks in a stage.

    Returns:
        A flat functional model, `(batch, height, width, 3)` in, `(batch, num_classes)` out.

    Raises:
        ValueError: fewer than 2 classes, sides below 4, other than 3 channels, or an unknown name.
        WeightsUnavailableError, DamagedFileError, WeightFileError: weights that could not be fetched, that are not
            those on record, or of another network.

    Reference: He et al. 2016, arXiv:1512.03385, with projections for shortcuts; the stem has a bias.
    """
    network = records.NETWORKS["resnet32"]
    check_arguments(network, num_classes, input_shape, weights, preprocessing, classifier_activation)
    inputs = keras.Input(input_shape, name="image")
    x = preprocessed(inputs, preprocessing)
    x = _convolution(x, filters[0], 3, "conv1", "bn1", use_bias=True)
    x = layers.ReLU(name="relu1")(x)
    for stage, channels in enumerate(filters, start=1):
        for block in range(1, blocks + 1):
            x = _block(x, channels, f"s{stage}b{block}", strides=2 if stage > 1 and block == 1 else 1)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = layers.Dense(num_classes, activation=classifier_activation, name=network.head)(x)
    model = keras.Model(inputs, outputs, name="ResNet32")
    if weights is not None:
        records.load(model, "resnet32", weights, new_head=new_head)
    return model


def _block(x: keras.KerasTensor, channels: int, name: str, strides: int) -> keras.KerasTensor:
    shortcut = x
    if strides > 1 or x.shape[-1] != channels:
        shortcut = _convolution(x, channels, 1, f"{name}_down_conv", f"{name}_down_bn", strides)
    x = _convolution(x, channels, 3, f"{name}_conv1", f"{name}_bn1", strides)
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = _convolution(x, channels, 3, f"{name}_conv2", f"{name}_bn2")
    x = layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.ReLU(name=name)(x)


def _convolution(
    x: keras.KerasTensor, channels: int, size: int, name: str, norm: str, strides: int = 1, use_bias: bool = False
) -> keras.KerasTensor:
    """Convolve and normalise; one zero on every side, where "same" would put none on the left with a stride of 2."""
    if size > 1:
        x = layers.ZeroPadding2D((size - 1) // 2, name=f"{name}_pad")(x)
    initial = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    # PyTorch's own. Normalised away, it stays near where it started, and loading refuses a tensor that is still zero.
    limit = (size * size * x.shape[-1]) ** -0.5
    bias = keras.initializers.RandomUniform(-limit, limit)
    x = layers.Conv2D(
        channels, size, strides=strides, use_bias=use_bias, kernel_initializer=initial, bias_initializer=bias, name=name
    )(x)
    return BatchNormalization(**PYTORCH, name=norm)(x)
