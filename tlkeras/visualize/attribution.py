"""Which pixels speak for a class: Grad-CAM, and integrated gradients smoothed by noise.

Both follow the logit of the class, even if the model ends in a softmax, and leave the model as it was.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkeras import backend, graph
from tlkeras._files import progress
from tlkeras.backend import Tensor
from tlkeras.data import splits
from tlkeras.visualize.objectives import chosen

BATCH_BYTES = 2**30  # of activations and their gradients at a time


def grad_cam(
    model: keras.Model, images: np.ndarray, classes: np.ndarray | int | None = None, layer: str | None = None
) -> np.ndarray:
    """Weigh the channels of a feature map by their mean gradient, and show where they add to the logit of a class.

    Args:
        model: functional classifier, flat or nested, ending in logits, softmax or sigmoid. A single output is the logit
            of class 1 of two, and its negative that of class 0.
        images: `(n, height, width, channels)`, finite, in the range that the model takes.
        classes: of each image, `(n,)`, or one for all; None is the class that the model predicts.
        layer: with a spatial map; None is the last one that has one, poolings left out.

    Returns:
        Heat at image size, float32 `(n, height, width)`; 1 is each image's hottest pixel, and an image in which
        nothing speaks for the class is 0 all over.

    Raises:
        ValueError: an unknown layer or one without a map, a class out of range, images that are no finite numbers or
            of another shape, a model that is no functional classifier.

    Reference: Selvaraju et al. 2017, Grad-CAM, arXiv:1610.02391, equations 1 and 2.
    """
    images = _checked_images(model, images)
    forward = _logits(model, _layer_with_map(model, layer))
    size = batch_size(model, images.shape[1:])
    classes = _classes(model, images, classes, size)

    def heat(batch: Tensor, targets: Tensor) -> Tensor:
        def run(watch: graph.Watch) -> tuple[Tensor, Tensor]:
            scores, maps = forward(batch, watch)
            return chosen(scores, targets[:, None]), maps

        maps, gradients = backend.gradient_inside(run)
        if gradients is None:
            raise ValueError(f"Expected a layer that leads to the output. Received: layer={layer!r}")
        weights = ops.mean(gradients, (1, 2), keepdims=True)
        positive = ops.cast(ops.relu(ops.sum(weights * maps, -1, keepdims=True)), "float32")
        return ops.image.resize(positive, images.shape[1:3], data_format="channels_last")[..., 0]

    compiled = backend.compiled(heat, model)
    parts = progress([slice(start, start + size) for start in range(0, len(images), size)], "Grad-CAM", unit="batch")
    heats = np.concatenate([ops.convert_to_numpy(compiled(images[part], classes[part])) for part in parts])
    return heats / np.maximum(heats.max((1, 2), keepdims=True), np.finfo(np.float32).tiny)


def integrated_gradients(
    model: keras.Model,
    images: np.ndarray,
    classes: np.ndarray | int | None = None,
    *,
    steps: int = 32,
    samples: int = 8,
    noise: float = 0.1,
    seed: int = 0,
    baseline: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Share out the logit of a class over the pixels: gradients along the straight way from a baseline to the image.

    Without noise the attributions of an image add up to its logit minus the baseline's, but for the error of `steps`.

    Args:
        model: functional classifier, flat or nested, ending in logits, softmax or sigmoid. A single output is the logit
            of class 1 of two, and its negative that of class 0.
        images: `(n, height, width, channels)`, finite, in the range that the model takes.
        classes: of each image, `(n,)`, or one for all; None is the class that the model predicts.
        steps: points on the way (the middles of equal parts).
        samples: noisy copies of each image over which the mean is taken; one is enough if `noise` is 0.
        noise: standard deviation, as a fraction of the range of values of each image.
        seed: of the noise, which is the same for each image, so that the rest of the batch does not matter.
        baseline: an image without information, broadcast to `images`; 0 is black, to which black things are equal, so
            that nothing is attributed to them: take a grey one for ants.

    Returns:
        Attributions in logits, summed over channels, float32 `(n, height, width)`; negative ones speak against it.

    Raises:
        ValueError: fewer than one step or sample, negative noise, a baseline of another shape, or as for `grad_cam`.

    Reference: Sundararajan et al. 2017, Axiomatic attribution, arXiv:1703.01365, equation 3;
    Smilkov et al. 2017, SmoothGrad, arXiv:1706.03825.
    """
    images = _checked_images(model, images)
    baseline = _checked_baseline(images, steps, samples, noise, baseline)
    size = batch_size(model, images.shape[1:])
    classes = _classes(model, images, classes, size)
    gradient = _gradient(model)
    copies = samples if noise else 1
    deviation = noise * np.ptp(images, axis=(1, 2, 3), keepdims=True)
    attributions = np.zeros(images.shape[:3], np.float32)
    for copy in progress(range(copies), "integrated gradients"):
        draws = ops.convert_to_numpy(backend.normal(images.shape[1:], (seed, copy)))
        difference = images + deviation * draws - baseline
        mean = _mean_gradient(gradient, baseline, difference, classes, steps, size)
        attributions += (difference * mean).sum(-1) / copies
    return attributions


def batch_size(model: keras.Model, shape: tuple[int, ...]) -> int:
    """Return how many images of `shape` (height, width, channels) go through `model` and back within BATCH_BYTES."""
    outputs = [out for operation in graph.operations(model).values() for out in keras.tree.flatten(operation.output)]
    numbers = sum(math.prod(side or max(shape) for side in output.shape[1:]) for output in outputs)
    return max(1, BATCH_BYTES // (8 * numbers))  # float32, and as much again for the gradients


def _layer_with_map(model: keras.Model, name: str | None) -> keras.Operation:
    """Return the operation called `name`, which must have a spatial map `(batch, height, width, channels)`.

    None is the last one with a map of more than one pixel, poolings left out: block5_conv3 of VGG16, as in the paper.

    Raises:
        ValueError: no such layer, several, or one without a map.
    """
    if name is None:
        known = graph.operations(model)
        maps = [operation for operation in known.values() if _has_map(operation) and not graph.is_functional(operation)]
        layers = [operation for operation in maps if "Pool" not in type(operation).__name__]
        if not layers:
            raise ValueError(f"Expected a model with a spatial map. Received: {list(known)}")
        return layers[-1]
    operation = graph.find(model, name)
    if not _has_map(operation):
        raise ValueError(
            "Expected a layer with a spatial map (batch, height, width, channels) of more than one pixel. "
            f"Received: layer={name!r}, {operation.output}"
        )
    return operation


def _has_map(operation: keras.Operation) -> bool:
    shape = getattr(operation.output, "shape", ())
    return len(shape) == 4 and shape[1:3] != (1, 1)


def _logits(model: keras.Model, layer: keras.Operation | None = None) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return `graph.logits` with a column for each class: a single output is class 1's, negated class 0's."""
    forward = graph.logits(model, layer)
    if model.outputs[0].shape[-1] > 1:
        return forward

    def both(*arguments: Any) -> tuple[Tensor, Tensor]:
        scores, maps = forward(*arguments)
        return ops.concatenate([-scores, scores], -1), maps

    return both


def _gradient(model: keras.Model) -> Callable[[np.ndarray, np.ndarray], Tensor]:
    """Return `(images (b, h, w, c), classes (b,)) -> gradient of each one's logit`, of the images' shape."""
    forward = _logits(model)

    def gradient(batch: Tensor, targets: Tensor) -> Tensor:
        _, (found,) = backend.gradients(lambda images: (chosen(forward(images)[0], targets[:, None]),), batch)
        if found is None:
            raise ValueError(f"Expected a model that is differentiable in its input. Received: {model.name!r}")
        return found

    return backend.compiled(gradient, model)


def _mean_gradient(
    gradient: Callable, baseline: np.ndarray, difference: np.ndarray, classes: np.ndarray, steps: int, size: int
) -> np.ndarray:
    """Return the mean gradient along the way of each image, `size` points at a time."""
    sums, points = np.zeros_like(difference), np.arange(len(difference) * steps)
    for start in range(0, len(points), size):
        image, step = np.divmod(points[start : start + size], steps)
        position = ((step + 0.5) / steps).astype(np.float32)[:, None, None, None]
        slopes = gradient(baseline[image] + position * difference[image], classes[image])
        np.add.at(sums, image, ops.convert_to_numpy(slopes))
    return sums / steps


def _classes(model: keras.Model, images: np.ndarray, classes: np.ndarray | int | None, size: int) -> np.ndarray:
    """Return the class of each image, int32 `(n,)`: the given ones, or those that the model predicts."""
    if classes is None:
        forward = _logits(model)
        predict = backend.compiled(lambda batch: ops.argmax(forward(batch)[0], -1), model)
        parts = [ops.convert_to_numpy(predict(images[start : start + size])) for start in range(0, len(images), size)]
        return np.concatenate(parts).astype(np.int32)
    classes = np.asarray(classes)
    if classes.shape not in ((), (len(images),)):
        raise ValueError(f"Expected one class, or one for each of {len(images)} images. Received: {classes.shape}")
    classes = np.broadcast_to(classes, len(images))
    splits.validate_labels(classes, graph.num_classes(model))
    return classes.astype(np.int32)


def _checked_images(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the images as float32, after checking them and the model."""
    if not graph.is_functional(model) or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(f"Expected a functional model with one input and one output. Received: {model!r}")
    if len(model.outputs[0].shape) != 2:
        raise ValueError(f"Expected a classifier, (batch, classes) out. Received: {model.outputs[0].shape}")
    splits.check_images(model, images, raw=False)
    return np.asarray(images, np.float32)


def _checked_baseline(
    images: np.ndarray, steps: int, samples: int, noise: float, baseline: np.ndarray | float
) -> np.ndarray:
    """Return the baseline of each image, after checking the numbers."""
    if min(steps, samples) < 1 or not noise >= 0:
        raise ValueError(
            f"Expected steps and samples from 1 up, noise from 0. Received: {steps=}, {samples=}, {noise=}"
        )
    baseline = np.asarray(baseline, np.float32)
    try:
        broadcast = np.broadcast_to(baseline, images.shape)
    except ValueError as error:
        raise ValueError(f"Expected a baseline that fits {images.shape}. Received: shape={baseline.shape}") from error
    if not np.isfinite(baseline).all():
        raise ValueError("Expected a baseline of finite values. Received: NaN or infinity")
    return broadcast
