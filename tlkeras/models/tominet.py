"""TomiNet, the small convolutional network of report 002 (EJ3 and EJ4)."""

import keras
from keras import layers

from tlkeras.models import records
from tlkeras.models.layers import check_arguments, preprocessed


def tominet(
    num_classes: int,
    input_shape: tuple[int, int, int] = (28, 28, 1),
    *,
    weights: str | None = None,
    new_head: bool | None = None,
    preprocessing: str | None = "unit",
    classifier_activation: str | None = "softmax",
    filters: tuple[int, ...] = (32, 16),
) -> keras.Model:
    """Build TomiNet: two blocks of convolution, max pooling and batch normalisation, then one dense layer.

    The report prints the layers and the parameter counts; 3x3 kernels and "same" padding are the only
    ones that give them. It does not print the activation: ReLU is assumed.

    Args:
        num_classes: outputs of the dense layer, at least 2. The report prints 9 in EJ3 (12,201 parameters), which
            cannot classify ten digits, and 10 in EJ4 (12,986 parameters).
        input_shape: `(height, width, channels)` of images; each side at least `2 ** len(filters)`.
        weights: None (random), or the name of weights trained by this project: "fashion_mnist", "letters",
            "cyrillic_letters", "mnist".
        new_head: True keeps the dense layer new, False demands the file's; by default it is the file's where that is
            of the same shape.
        preprocessing: "unit" (raw 0..255 in, of any number of channels), another key of `layers.MODES` for colour
            images, or None (already preprocessed).
        classifier_activation: "softmax" (probabilities), or None (logits).
        filters: channels of each block; the report's are (32, 16).

    Returns:
        A flat functional model, `(batch, height, width, channels)` in, `(batch, num_classes)` out.

    Raises:
        ValueError: fewer than 2 classes, an image too small for the pooling, or an unknown name.
        WeightFileError: weights of another architecture, or a head that was demanded and does not fit.

    Reference: report 002 (Hüttenbräucker 2020, TP5), EJ3 and EJ4, printed summaries.
    """
    network = records.NETWORKS["tominet"]
    check_arguments(network, num_classes, input_shape, weights, preprocessing, classifier_activation, 2 ** len(filters))
    inputs = keras.Input(input_shape, name="image")
    x = preprocessed(inputs, preprocessing, name="rescaling")  # the report's own name
    for block, channels in enumerate(filters, start=1):
        x = layers.Conv2D(channels, 3, padding="same", activation="relu", name=f"conv_{block}")(x)
        x = layers.MaxPooling2D(2, name=f"max_pool_{block}")(x)
        x = layers.BatchNormalization(name=f"batch_norm_{block}")(x)
    x = layers.Flatten(name="flatten_6")(x)  # the report's counter, kept so that its summary can be laid beside ours
    outputs = layers.Dense(num_classes, activation=classifier_activation, name=network.head)(x)
    model = keras.Model(inputs, outputs, name="TomiNet")
    if weights is not None:
        records.load(model, "tominet", weights, new_head=new_head)
    return model
