"""TomiNet, the small convolutional network of report 002 (EJ3 and EJ4)."""

import keras
from keras import layers

from tlkeras.models import weights as weight_files

HEAD = "dense"
SOURCES = ("fashion_mnist", "letters", "cyrillic_letters", "mnist")  # shipped weights, by the data they were trained on


def tominet(
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (28, 28, 1),
    weights: str | None = None,
    filters: tuple[int, ...] = (32, 16),
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Build TomiNet: two blocks of convolution, max pooling and batch normalisation, then one dense layer.

    The report prints the layers and the parameter counts; 3x3 kernels and "same" padding are the only
    ones that give them. It does not print the activation: ReLU is assumed.

    Args:
        num_classes: outputs of the dense layer, at least 2. The report prints 9 in EJ3 (12,201 parameters), which
            cannot classify ten digits, and 10 in EJ4 (12,986 parameters).
        input_shape: `(height, width, channels)` of raw images, values 0..255; each side at least `2 ** len(filters)`.
        weights: None (random), or the name of weights trained by this project: "fashion_mnist", "letters",
            "cyrillic_letters", "mnist". The dense layer is loaded too if it has the same shape, else it stays new.
        filters: channels of each block; the report's are (32, 16).
        classifier_activation: "softmax" (probabilities), or None (logits).

    Returns:
        A functional model, `(batch, height, width, channels)` raw 0..255 in, `(batch, num_classes)` out.

    Raises:
        ValueError: fewer than 2 classes, an image too small for the pooling, or unknown weights.

    Reference: report 002 (Hüttenbräucker 2020, TP5), EJ3 and EJ4, printed summaries.
    """
    _check(num_classes, input_shape, filters)
    inputs = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 255, name="rescaling")(inputs)
    for block, channels in enumerate(filters, start=1):
        x = layers.Conv2D(channels, 3, padding="same", activation="relu", name=f"conv_{block}")(x)
        x = layers.MaxPooling2D(2, name=f"max_pool_{block}")(x)
        x = layers.BatchNormalization(name=f"batch_norm_{block}")(x)
    x = layers.Flatten(name="flatten_6")(x)  # the report's counter, kept so that its summary can be laid beside ours
    outputs = layers.Dense(num_classes, activation=classifier_activation, name=HEAD)(x)
    model = keras.Model(inputs, outputs, name="TomiNet")
    if weights is not None:
        if weights not in SOURCES:
            raise ValueError(f"Expected weights out of {SOURCES}, or None. Received: weights={weights!r}")
        weight_files.load_pretrained(model, f"tominet_{weights}", head=HEAD)
    return model


def _check(num_classes: int, input_shape: tuple[int, int, int], filters: tuple[int, ...]) -> None:
    if num_classes < 2:
        raise ValueError(f"A classifier needs at least 2 classes. Received: num_classes={num_classes}")
    smallest = 2 ** len(filters)
    sides = [size or 0 for size in input_shape]  # None is a side of any size: the dense layer needs to know it
    if len(sides) != 3 or min(sides[:2]) < smallest or sides[2] < 1:
        raise ValueError(
            f"input_shape must be (height, width, channels) with sides of at least {smallest}. "
            f"Received: input_shape={input_shape}"
        )
