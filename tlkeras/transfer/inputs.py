"""Refuse images and labels that a model would train on without complaint, or fail on without saying why."""

import keras
import numpy as np

from tlkeras.data import splits


def check_pair(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, shape: tuple[int, ...] | None = None
) -> None:
    """Check training or validation data against a model that takes raw images.

    Args:
        model: one input `(batch, height, width, channels)`, one output `(batch, classes)`.
        images: `(n, height, width, channels)`, 0..255.
        labels: `(n,)` integers, 0..classes-1.
        shape: of an image, where it is cut down to what the model takes; None is the model's.

    Raises:
        ValueError: no images, another shape, NaN, values outside 0..255, floats that look scaled to 0..1 already,
            labels outside the classes, or other than one label an image.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if not len(images) or len(images) != len(labels):
        raise ValueError(f"Expected images with one label each. Received: {len(images)} images, {len(labels)} labels")
    check_images(model, images, shape)
    splits.validate_labels(labels, model.output_shape[-1])


def check_images(model: keras.Model, images: np.ndarray, shape: tuple[int, ...] | None = None) -> None:
    """Check images alone, as `check_pair` does."""
    wanted = shape or model.input_shape[1:]
    given = images.shape[1:] if images.ndim == len(model.input_shape) else wanted
    shape = [side or other for side, other in zip(wanted, given, strict=True)]  # None: any side
    splits.validate_images(images, shape)
    if images.dtype.kind == "f" and 0 < images.max() <= 1:
        raise ValueError(
            "Expected raw images, 0..255: the model scales them itself. "
            f"Received: floats from {images.min()} to {images.max()}, which look scaled to 0..1"
        )
