"""Do these images and labels fit this model? Asked here, before anything is trained, scored or explained."""

from typing import Any

import numpy as np

from tlkeras.data import splits


def check_images(model: Any, images: np.ndarray, *, raw: bool = True, shape: tuple[int, ...] | None = None) -> None:
    """Check images against the input of a model.

    Args:
        model: of Keras, with one input `(batch, height, width, channels)`.
        images: `(n, height, width, channels)`.
        raw: whether the model takes images as they are in a file, 0..255; False allows any finite values.
        shape: of an image, where it is cut down to what the model takes; None is the model's.

    Raises:
        ValueError: no images, another shape, NaN or infinity; if `raw`, values outside 0..255, too, and floats that
            look scaled to 0..1 already.
    """
    images = np.asarray(images)
    wanted = tuple(shape or model.input_shape[1:])
    given = images.shape[1:] if images.ndim == len(wanted) + 1 else wanted
    splits.validate_images(images, [side or other for side, other in zip(wanted, given, strict=True)], raw=raw)
    if not len(images):
        raise ValueError("Expected at least one image. Received: 0 images")
    if raw and images.dtype.kind == "f" and 0 < images.max() <= 1:
        raise ValueError(
            "Expected raw images, 0..255: the model scales them itself. "
            f"Received: floats from {images.min()} to {images.max()}, which look scaled to 0..1"
        )


def check_labelled(
    model: Any, images: np.ndarray, labels: np.ndarray, *, raw: bool = True, shape: tuple[int, ...] | None = None
) -> None:
    """Check training or validation data against a classifier.

    Args:
        model: one input `(batch, height, width, channels)`, one output `(batch, classes)`.
        images: see `check_images`.
        labels: `(n,)` integers, 0..classes-1.
        raw: see `check_images`.
        shape: see `check_images`.

    Raises:
        ValueError: as `check_images` does; other than one label an image, or labels outside the classes.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if not len(images) or len(images) != len(labels):
        raise ValueError(f"Expected images with one label each. Received: {len(images)} images, {len(labels)} labels")
    check_images(model, images, raw=raw, shape=shape)
    splits.validate_labels(labels, model.output_shape[-1])
