"""What the networks share: preprocessing inside the model, the check of their arguments, and models to take home.

A saved network opens where Keras is and tlkeras is not, unless it holds one of these, which are ours:

- `batch_normalization.BatchNormalization`, in `vgg9` and `resnet32`: Keras' own has another moving variance in
  training, and a wrong second derivative. In inference they are the same, and `portable` puts Keras' own in its place.
- `transfer.phases.LayerwiseAdam`, the optimizer of a model trained with multipliers: `portable` leaves optimizers out.

An exported model (`model.export`) holds neither. The layers of `tlkeras.l2t` live inside a training alone.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tlkeras import graph
from tlkeras.models.batch_normalization import BatchNormalization
from tlkeras.models.records import Network

_ACTIVATIONS = ("softmax", None)
# What the networks were trained on: the channels reversed or not, then (x * scale - mean) / deviation, by channel of
# the reordered image; one number is for any channels. "unit" is 0..1, "caffe" BGR less ImageNet's mean colour, "torch"
# standardised by ImageNet's mean and deviation.
MODES: Mapping[str, Mapping[str, Any]] = {
    "unit": {"flip": False, "scale": 1 / 255, "mean": (0.0,), "deviation": (1.0,)},
    "caffe": {"flip": True, "scale": 1.0, "mean": (104.0, 117.0, 123.0), "deviation": (1.0, 1.0, 1.0)},
    "torch": {"flip": False, "scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "deviation": (0.229, 0.224, 0.225)},
}


def preprocessed(images: keras.KerasTensor, mode: str | None, name: str = "preprocessing") -> keras.KerasTensor:
    """Turn raw images into what a network was trained on, by Keras' own operations.

    Args:
        images: `(batch, height, width, channels)`, RGB, 0..255.
        mode: a key of `MODES`; None leaves the images as they are.
        name: of the layer that rescales.

    Returns:
        A tensor of the shape of `images`.

    Raises:
        ValueError: other than 3 channels, where the mode has a number for each.
    """
    if mode is None:
        return images
    numbers = MODES[mode]
    mean, deviation = np.array(numbers["mean"]), np.array(numbers["deviation"])
    if len(mean) not in (1, images.shape[-1]):
        raise ValueError(f"Expected images of 3 channels (RGB) for {mode!r}. Received: shape={images.shape}")
    if numbers["flip"]:
        images = keras.ops.flip(images, axis=-1)
        # Keras counts up the names of operations, and features are cached by the names and numbers of a network.
        graph.producer(images).name = "bgr"
    scale, offset = numbers["scale"] / deviation, -mean / deviation
    return keras.layers.Rescaling(scale, offset, name=name)(images)


def portable(model: keras.Model) -> keras.Model:
    """Return a copy of a model whose saved file opens where tlkeras is not: of Keras' own layers, without an optimizer.

    Args:
        model: functional or Sequential.

    Returns:
        A functional model of weights of its own, which predicts the same. Trained further, its batch normalisation
        keeps Keras' moving variance (see the head of this file).
    """

    def own(layer: keras.Operation) -> keras.Operation:
        kind = keras.layers.BatchNormalization if type(layer) is BatchNormalization else type(layer)
        return kind.from_config(layer.get_config())

    twin = keras.models.clone_model(model, clone_function=own, recursive=True)
    twin.set_weights(model.get_weights())
    return keras.Model(twin.input, twin.output, name=model.name)


def converted(kernel: np.ndarray, bias: np.ndarray, trained: str, wanted: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a first convolution for images preprocessed as `wanted` that does what it did on `trained` ones.

    Exact without padding only: zeros at the border stand for another colour in each mode.

    Args:
        kernel: `(height, width, 3, filters)` of the first layer, trained on `trained` images.
        bias: `(filters,)` of the same.
        trained: a key of `MODES`.
        wanted: a key of `MODES`.
    """
    raw, raw_bias = _of_raw_rgb(kernel, bias, MODES[trained])
    mode = MODES[wanted]
    mean, deviation = np.array(mode["mean"]), np.array(mode["deviation"])
    ordered = raw[:, :, ::-1] if mode["flip"] else raw
    moved_bias = raw_bias + (ordered * (mean / mode["scale"])[:, None]).sum((0, 1, 2))
    return ordered * (deviation / mode["scale"])[:, None], moved_bias


def _of_raw_rgb(kernel: np.ndarray, bias: np.ndarray, mode: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel and bias that take raw RGB images, in float64."""
    kernel = np.asarray(kernel, np.float64)
    mean, deviation = np.array(mode["mean"]), np.array(mode["deviation"])
    raw = kernel * (mode["scale"] / deviation)[:, None]
    return raw[:, :, ::-1] if mode["flip"] else raw, bias - (kernel * (mean / deviation)[:, None]).sum((0, 1, 2))


def check_arguments(
    network: Network,
    num_classes: int,
    input_shape: tuple[int, int, int],
    weights: str | None,
    preprocessing: str | None,
    classifier_activation: str | None,
    smallest: int | None = None,
) -> None:
    """Check what every builder of a classifier takes.

    Args:
        network: what is fixed for it.
        num_classes: an integer from 2 up.
        input_shape: `(height, width, channels)`, integers.
        weights: a name that the network knows, or None.
        preprocessing: a key of `MODES`, or None.
        classifier_activation: "softmax" or None.
        smallest: least height and width, where it depends on an option of the builder; None is the network's.

    Raises:
        ValueError: any other value.
    """
    if not _is_count(num_classes, 2):
        raise ValueError(f"A classifier needs an integer of at least 2 classes. Received: num_classes={num_classes!r}")
    smallest = network.smallest if smallest is None else smallest
    sizes = tuple(input_shape) if isinstance(input_shape, list | tuple) else ()
    fits = len(sizes) == 3 and all(_is_count(side, smallest) for side in sizes[:2]) and _is_count(sizes[2], 1)
    if not fits or network.channels not in (None, sizes[2]):
        raise ValueError(
            f"input_shape must be (height, width, {network.channels or 'channels'}) with sides from {smallest} up. "
            f"Received: input_shape={input_shape!r}"
        )
    for name, value, known in (
        ("weights", weights, (None, *network.weights)),
        ("preprocessing", preprocessing, (None, *MODES)),
        ("classifier_activation", classifier_activation, _ACTIVATIONS),
    ):
        if value not in known:
            raise ValueError(f"Expected {name} out of {known}. Received: {name}={value!r}")


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)
