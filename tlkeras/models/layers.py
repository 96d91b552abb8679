"""What the networks share: preprocessing as a layer, and the check of their arguments."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tlkeras.models.records import Network

ACTIVATIONS = ("softmax", None)
# Channel order, then (x * scale - mean) / deviation, per channel of the reordered image.
MODES: Mapping[str, Mapping[str, Any]] = {
    "unit": {"flip": False, "scale": 1 / 255, "mean": (0.0, 0.0, 0.0), "deviation": (1.0, 1.0, 1.0)},
    "caffe": {"flip": True, "scale": 1.0, "mean": (104.0, 117.0, 123.0), "deviation": (1.0, 1.0, 1.0)},
    "torch": {"flip": False, "scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "deviation": (0.229, 0.224, 0.225)},
}


@keras.saving.register_keras_serializable(package="tlkeras")
class Preprocessing(keras.layers.Layer):
    """Turn raw RGB images into what a network was trained on.

    Args:
        mode: "unit" (RGB, 0..1), "caffe" (BGR, 0..255 minus 104, 117, 123), or "torch" (RGB, 0..1, standardised with
            the ImageNet mean and deviation).

    Input and output are `(batch, height, width, 3)`; the input is 0..255 of any dtype and is not overwritten.

    Raises:
        ValueError: an unknown mode, or other than 3 channels.
    """

    def __init__(self, mode: str, **kwargs) -> None:
        if mode not in MODES:
            raise ValueError(f"Expected a mode out of {list(MODES)}. Received: mode={mode!r}")
        super().__init__(**kwargs)
        self.mode = mode

    def build(self, input_shape: tuple) -> None:
        """Check the channels."""
        if input_shape[-1] != 3:
            raise ValueError(f"Expected images of 3 channels (RGB). Received: input_shape={input_shape}")

    def call(self, images):
        """Return the preprocessed images, in the layer's dtype."""
        mode = MODES[self.mode]
        x = keras.ops.cast(images, self.compute_dtype)
        x = keras.ops.flip(x, axis=-1) if mode["flip"] else x
        constants = [
            keras.ops.convert_to_tensor(mode[name], dtype=self.compute_dtype) for name in ("mean", "deviation")
        ]
        return (x * mode["scale"] - constants[0]) / constants[1]

    def get_config(self) -> dict:
        """Return what builds the same layer again."""
        return {**super().get_config(), "mode": self.mode}


def preprocessed(images: keras.KerasTensor, mode: str | None) -> keras.KerasTensor:
    """Return the images after a layer `preprocessing` of this mode; as they are where the mode is None."""
    return images if mode is None else Preprocessing(mode, name="preprocessing")(images)


def converted(kernel: np.ndarray, bias: np.ndarray, trained: str, wanted: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a first convolution for images preprocessed as `wanted` that does what it did on `trained` ones.

    Exact without padding only: zeros at the border stand for another colour in each mode.

    Args:
        kernel: `(height, width, 3, filters)` of the first layer, trained on `trained` images.
        bias: `(filters,)` of the same.
        trained: a mode of `Preprocessing`.
        wanted: a mode of `Preprocessing`.
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
        preprocessing: a mode of `Preprocessing`, or None.
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
        ("classifier_activation", classifier_activation, ACTIVATIONS),
    ):
        if value not in known:
            raise ValueError(f"Expected {name} out of {known}. Received: {name}={value!r}")


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= least)
