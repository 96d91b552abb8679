"""VGG16 with one new fully connected layer: a table of numbers, and the layer names of keras.applications."""

import keras
from keras import layers

from tlkeras.models import backbones
from tlkeras.models.arguments import check_arguments
from tlkeras.models.preprocessing import Preprocessing

HEAD = "predictions"
SMALLEST = 32
BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # arXiv:1409.1556, configuration D
WEIGHTS = {"imagenet": "vgg16", "keras_applications": "vgg16_keras_applications"}  # argument -> record


def vgg16(
    num_classes: int = 2,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    weights: str | None = "imagenet",
    blocks: tuple[tuple[int, ...], ...] = BLOCKS,
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
    check_arguments(num_classes, input_shape, SMALLEST, weights, (None, *WEIGHTS))
    record = WEIGHTS[weights or "imagenet"]
    inputs = keras.Input(input_shape, name="image")
    x = Preprocessing(backbones.RECORDS[record].preprocessing, name="preprocessing")(inputs)
    for block, filters in enumerate(blocks, start=1):
        for number, channels in enumerate(filters, start=1):
            name = f"block{block}_conv{number}"
            x = layers.Conv2D(channels, 3, padding="same", activation="relu", name=name)(x)
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    outputs = layers.Dense(num_classes, activation=classifier_activation, name=HEAD)(x)
    model = keras.Model(inputs, outputs, name="VGG16")
    if weights is not None:
        backbones.load(model, record, new_layers=(HEAD,))
    return model
