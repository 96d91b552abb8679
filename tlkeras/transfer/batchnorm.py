"""Recalibrate the moving statistics of batch normalisation after a short training."""

import keras
import numpy as np

from tlkeras.transfer.inputs import check_images


def recalibrate(model: keras.Model, images: np.ndarray, *, batch_size: int = 500) -> int:
    """Replace the moving means and variances by the averages over `images`; no other weight changes.

    Keras' BatchNormalization (momentum 0.99) needs hundreds of steps before its moving statistics are right;
    100 images in batches of 32 give 4 steps an epoch (report 002).
    With one batch the statistics are exactly those of `images`; with more, the mean over the batches
    (Ioffe and Szegedy 2015, algorithm 2).

    Args:
        model: any flat model with BatchNormalization layers.
        images: `(n, height, width, channels)`, raw 0..255, at least 2.
        batch_size: most images in a forward pass; all passes get as many, give or take one.

    Returns:
        The number of layers recalibrated.

    Raises:
        ValueError: fewer than 2 images, or images that do not fit the model (see `inputs.check_pair`).
    """
    if len(images) < 2:
        raise ValueError(f"Statistics need at least 2 images. Received: {len(images)}")
    check_images(model, images)
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    kept = [(layer.momentum, layer.trainable) for layer in layers]
    try:
        for layer in layers:
            layer.trainable = True  # a frozen layer ignores training=True
        for step, batch in enumerate(np.array_split(images, -(-len(images) // batch_size))):
            for layer in layers:
                layer.momentum = step / (step + 1)  # makes the exponential average a plain one
            model(batch, training=True)
    finally:
        for layer, (momentum, trainable) in zip(layers, kept, strict=True):
            layer.momentum, layer.trainable = momentum, trainable
    return len(layers)
