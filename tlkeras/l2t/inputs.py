"""What the training refuses or warns of before it starts."""

import warnings

import keras
import numpy as np

from tlkeras.data import splits


class MissingClassesWarning(UserWarning):
    """Classes of which there is no training image: the target cannot learn them."""


def check_models(source: keras.Model, target: keras.Model) -> None:
    """Check that both models take the same images, in the same precision, and that the target classifies and learns.

    Raises:
        ValueError: several inputs, different image shapes, an output other than `(batch, classes)`, mixed precision or
            two precisions, or a target with nothing to train.
    """
    shapes = {"source": source.input_shape, "target": target.input_shape}
    if any(isinstance(shape, list | dict) or len(shape) != 4 for shape in shapes.values()):
        raise ValueError(f"Expected models with one input (batch, height, width, channels). Received: {shapes}")
    differ = [a != b and None not in (a, b) for a, b in zip(*shapes.values(), strict=True)]
    if any(differ):
        raise ValueError(f"Expected models that take the same images. Received: {shapes}")
    if len(target.output_shape) != 2:
        raise ValueError(f"Expected a target with outputs (batch, classes). Received: {target.output_shape}")
    if not target.trainable_weights:
        raise ValueError("Expected a target with weights to train. Received: all frozen, or none")
    layers = [layer for model in (source, target) for layer in model.layers]
    policies = {layer.dtype_policy.name for layer in layers if not isinstance(layer, keras.layers.InputLayer)}
    if len(policies) > 1 or "mixed" in next(iter(policies)):
        raise ValueError(f"Expected both models in one precision, such as float32. Received: {sorted(policies)}")


def check_epochs(epochs: int, validation_every: int) -> None:
    """Check the length of a training.

    Raises:
        ValueError: no epoch, or no epochs between validations.
    """
    if epochs < 1 or validation_every < 1:
        received = f"epochs={epochs}, validation_every={validation_every}"
        raise ValueError(f"Expected at least one epoch, and one between validations. Received: {received}")


def check_images(target: keras.Model, images: np.ndarray, labels: np.ndarray) -> None:
    """Check images and labels, of the training or of the validation.

    Args:
        target: classifier.
        images: `(n, height, width, channels)`, raw or preprocessed, as both models take them.
        labels: `(n,)` integers, 0..classes-1.

    Raises:
        ValueError: no images, another shape, NaN or infinity, or unfit labels.
    """
    shape = [side or given for side, given in zip(target.input_shape[1:], images.shape[1:], strict=False)]
    if images.ndim != 4 or list(images.shape[1:]) != shape:
        raise ValueError(f"Expected images (n, {', '.join(map(str, shape))}). Received: shape={images.shape}")
    if not len(images) or len(images) != len(labels):
        raise ValueError(f"Expected images with one label each. Received: {len(images)} images, {len(labels)} labels")
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        raise ValueError("Expected images of finite values. Received: NaN or infinity")
    splits.validate_labels(labels, target.output_shape[-1])


def check_batches(target: keras.Model, labels: np.ndarray, batch_size: int) -> None:
    """Check the batches of the training images; warn once of classes that have no image.

    Args:
        target: classifier.
        labels: `(n,)` integers, 0..classes-1.
        batch_size: images in an iteration.

    Raises:
        ValueError: a batch of one image.
    """
    if batch_size < 2 or len(labels) % batch_size == 1:
        raise ValueError(
            "Expected at least two images in every batch: one has no variance to normalise with. "
            f"Received: {len(labels)} images in batches of {batch_size}"
        )
    classes = target.output_shape[-1]
    if missing := sorted(set(range(classes)) - set(np.unique(labels).tolist())):
        warnings.warn(f"No training image of the classes {missing}, out of {classes}", MissingClassesWarning, 3)
