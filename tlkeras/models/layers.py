"""The arguments that every classifier on a backbone takes, checked in one place."""

import keras
import numpy as np


def check_arguments(
    num_classes: int, input_shape: tuple, smallest: int, weights: str | None, known: tuple[str | None, ...]
) -> None:
    """Check what every classifier on a backbone takes: classes, shape of the images, weights by name.

    Raises:
        ValueError: fewer than 2 classes, sides below `smallest`, other than 3 channels, or weights not in `known`.
    """
    if num_classes < 2:
        raise ValueError(f"A classifier needs at least 2 classes. Received: num_classes={num_classes}")
    if len(input_shape) != 3 or input_shape[2] != 3 or min(side or 0 for side in input_shape[:2]) < smallest:
        raise ValueError(
            f"input_shape must be (height, width, 3) with sides from {smallest} up. Received: input_shape={input_shape}"
        )
    if weights not in known:
        raise ValueError(f"Expected weights out of {known}. Received: weights={weights!r}")


MODES = {  # channel order, then (x * scale - mean) / deviation, per channel of the reordered image
    "unit": {"flip": False, "scale": 1 / 255, "mean": (0.0, 0.0, 0.0), "deviation": (1.0, 1.0, 1.0)},
    "caffe": {"flip": True, "scale": 1.0, "mean": (104.0, 117.0, 123.0), "deviation": (1.0, 1.0, 1.0)},
    "vgg": {"flip": True, "scale": 1.0, "mean": (103.939, 116.779, 123.68), "deviation": (1.0, 1.0, 1.0)},
    "torch": {"flip": False, "scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "deviation": (0.229, 0.224, 0.225)},
}


@keras.saving.register_keras_serializable(package="tlkeras")
class Preprocessing(keras.layers.Layer):
    """Turn raw RGB images into what a network was trained on.

    Args:
        mode: "unit" (RGB, 0..1), "caffe" (BGR, 0..255 minus 104, 117, 123), "vgg" (the same with the means to three
            digits that keras.applications subtracts), or "torch" (RGB, 0..1, standardised with the ImageNet mean and
            deviation).

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
    return ordered * (deviation / mode["scale"])[:, None], raw_bias + (ordered * (mean / mode["scale"])[:, None]).sum(
        (0, 1, 2)
    )


def _of_raw_rgb(kernel: np.ndarray, bias: np.ndarray, mode: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel and bias that take raw RGB images, in float64."""
    kernel = np.asarray(kernel, np.float64)
    mean, deviation = np.array(mode["mean"]), np.array(mode["deviation"])
    raw = kernel * (mode["scale"] / deviation)[:, None]
    return raw[:, :, ::-1] if mode["flip"] else raw, bias - (kernel * (mean / deviation)[:, None]).sum((0, 1, 2))
