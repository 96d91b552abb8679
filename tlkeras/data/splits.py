"""Seeded draws of indices from labels, and the checks that arrays pass before anything is computed from them."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def few_shot(
    labels: np.ndarray, count: int, *, seed: int, balanced: bool, num_classes: int | None = None
) -> np.ndarray:
    """Draw `count` samples without replacement; the same seed always gives the same draw.

    Args:
        labels: class of each sample, integers of shape `(n,)` in 0..num_classes-1.
        count: size of the whole draw, 1..n.
        balanced: take `count / num_classes` of each class; else every sample has the same chance.
        num_classes: number of classes; by default the highest label plus one.

    Returns:
        int64 indices into `labels`, of shape `(count,)`, in random order.

    Raises:
        ValueError: for bad labels, a `count` outside 1..n or, if balanced, one that the classes do not divide, or
            more samples than a class has.
    """
    labels = np.asarray(labels)
    num_classes = _num_classes(labels, num_classes)
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or not 1 <= count <= len(labels):
        raise ValueError(f"Expected a count of 1..{len(labels)} samples. Received: count={count!r}")
    generator = np.random.default_rng(seed)
    if not balanced:
        return generator.choice(len(labels), size=count, replace=False).astype(np.int64)
    members = _members(labels, int(count), num_classes)
    drawn = [generator.choice(member, size=count // num_classes, replace=False) for member in members]
    return generator.permutation(np.concatenate(drawn)).astype(np.int64)


def holdout(labels_or_n: np.ndarray | int, sizes: Sequence[int], *, seed: int) -> tuple[np.ndarray, ...]:
    """Cut one seeded permutation of all samples into disjoint parts.

    Args:
        labels_or_n: the labels, or just the number of samples.
        sizes: number of samples in each part; their sum is at most the number of samples.

    Returns:
        One int64 index array per size.

    Raises:
        ValueError: for a negative size, or more samples than there are.
    """
    count = labels_or_n if isinstance(labels_or_n, int | np.integer) else len(labels_or_n)
    if any(isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 0 for size in sizes):
        raise ValueError(f"Expected sizes that are whole numbers from 0 up. Received: sizes={sizes!r}")
    if sum(sizes) > count:
        raise ValueError(f"Expected sizes that add up to at most {count} samples. Received: sizes={sizes!r}")
    order = np.random.default_rng(seed).permutation(int(count)).astype(np.int64)
    ends = np.cumsum([0, *sizes])
    return tuple(order[start:end] for start, end in zip(ends[:-1], ends[1:], strict=True))


def validate_images(x: np.ndarray, shape: Sequence[int], *, raw: bool = True) -> None:
    """Check that `x` is a batch of images of `shape` (height, width, channels) with finite values.

    Args:
        x: images `(n, height, width, channels)`.
        shape: of one image.
        raw: whether the values must lie in 0..255, as in an image file; False takes preprocessed images, too.

    Raises:
        ValueError: for another shape, a dtype that is not a number, NaN or infinity, or values outside 0..255.
    """
    x = np.asarray(x)
    if x.shape[1:] != tuple(shape) or x.ndim != len(shape) + 1:
        raise ValueError(f"Expected images of shape (n, {', '.join(map(str, shape))}). Received: shape={x.shape}")
    if x.dtype == np.uint8 or not x.size:
        return
    if x.dtype.kind not in "iuf":
        raise ValueError(f"Expected images of integers or floats. Received: dtype={x.dtype}")
    low, high = x.min(), x.max()
    if not (np.isfinite(low) and np.isfinite(high)):  # min and max pass a NaN on
        bad = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1)).tolist()
        raise ValueError(f"Expected images of finite values. Received: NaN or infinity in images {bad}")
    if raw and (low < 0 or high > 255):
        raise ValueError(f"Expected images with values in 0..255. Received: min={low}, max={high}")


def validate_labels(y: np.ndarray, num_classes: int) -> None:
    """Check that `y` is a vector of integers in 0..num_classes-1.

    Raises:
        ValueError: for another shape, another dtype, or a label outside the classes.
    """
    y = np.asarray(y)
    if y.ndim != 1:
        raise ValueError(f"Expected labels of shape (n,). Received: shape={y.shape}")
    if y.dtype.kind not in "iu":
        raise ValueError(f"Expected labels of integers. Received: dtype={y.dtype}")
    if y.size and (y.min() < 0 or y.max() >= num_classes):
        hint = ", which start at 0: subtract 1" if (y.min(), y.max()) == (1, num_classes) else ""
        raise ValueError(f"Expected labels in 0..{num_classes - 1}{hint}. Received: min={y.min()}, max={y.max()}")


def check_images(model: Any, images: np.ndarray, *, raw: bool = True, shape: tuple[int, ...] | None = None) -> None:
    """Check images against the input of a model.

    Args:
        model: of Keras, with one input `(batch, height, width, channels)`.
        images: `(n, height, width, channels)`.
        raw: whether the model takes images as they are in a file, 0..255; False allows any finite values.
        shape: of an image, where it is cut down to what the model takes; None is the model's.

    Raises:
        ValueError: no images, another shape, NaN or infinity; if `raw`, values outside 0..255, too, and those that
            look scaled to 0..1 already, of any dtype.
    """
    images = np.asarray(images)
    wanted = tuple(shape or model.input_shape[1:])
    given = images.shape[1:] if images.ndim == len(wanted) + 1 else wanted
    validate_images(images, [side or other for side, other in zip(wanted, given, strict=True)], raw=raw)
    if not len(images):
        raise ValueError("Expected at least one image. Received: 0 images")
    if raw and 0 < images.max() <= 1:  # images that are black all over are images
        raise ValueError(
            "Expected raw images, 0..255: the model scales them itself. "
            f"Received: {images.dtype} from {images.min()} to {images.max()}, which look scaled to 0..1"
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
    validate_labels(labels, model.output_shape[-1])


def _num_classes(labels: np.ndarray, num_classes: int | None) -> int:
    """Return the number of classes after checking the labels against it."""
    if num_classes is None:
        num_classes = int(labels.max()) + 1 if labels.size and labels.dtype.kind in "iu" else 1
    validate_labels(labels, num_classes)
    return num_classes


def _members(labels: np.ndarray, count: int, num_classes: int) -> list[np.ndarray]:
    """Return the indices of each class after checking that every class has its share of `count`."""
    if count % num_classes:
        raise ValueError(f"Expected a count that {num_classes} classes divide evenly. Received: count={count}")
    members = [np.flatnonzero(labels == label) for label in range(num_classes)]
    smallest = min(range(num_classes), key=lambda label: len(members[label]))
    if count // num_classes > len(members[smallest]):
        available = f"class {smallest} has only {len(members[smallest])} samples"
        raise ValueError(f"Expected at most what each class has, but {available}. Received: count={count}")
    return members
