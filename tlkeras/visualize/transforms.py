"""Small random changes of the picture before each step, so that the result does not depend on single pixels.

Each is a map of coordinates, from where a pixel is drawn to where it is taken from. The maps are multiplied, and the
picture is sampled once. Mid-grey comes in from outside.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
from keras import ops

from tlkeras.backend import Tensor

Shape = tuple[int, int]  # height, width


@dataclass(frozen=True)
class Transform:
    """A random map of coordinates; `matrix` makes it of numbers drawn from 0..1."""

    draws: int  # numbers for each picture and step
    matrix: Callable[[Tensor, Shape], Tensor]  # (n, draws) -> (n, 3, 3)


def jitter(pixels: int) -> Transform:
    """Shift by whole pixels, up to `pixels` each way."""
    _check(pixels >= 1 and pixels == int(pixels), "a jitter of whole pixels from 1 up", pixels=pixels)

    def matrix(draws: Tensor, _: Shape) -> Tensor:
        shift = ops.floor(draws * (2 * pixels + 1)) - pixels
        one, nil = ops.ones_like(shift[:, 0]), ops.zeros_like(shift[:, 0])
        return _rows((one, nil, shift[:, 0]), (nil, one, shift[:, 1]))

    return Transform(2, matrix)


def rotate(degrees: float) -> Transform:
    """Rotate about the centre, up to `degrees` each way."""
    _check(degrees > 0, "an angle above 0 degrees", degrees=degrees)

    def matrix(draws: Tensor, shape: Shape) -> Tensor:
        angle = (2 * draws[:, 0] - 1) * math.radians(degrees)
        nil = ops.zeros_like(angle)
        turn = _rows((ops.cos(angle), -ops.sin(angle), nil), (ops.sin(angle), ops.cos(angle), nil))
        return _centred(turn, shape)

    return Transform(1, matrix)


def scale(low: float, high: float) -> Transform:
    """Enlarge by a factor from `low` to `high`, about the centre."""
    _check(0 < low <= high, "factors 0 < low <= high", low=low, high=high)
    return Transform(1, lambda draws, shape: _zoom(1 / (low + (high - low) * draws[:, 0]), shape))


def apply(transforms: Sequence[Transform], images: Tensor, draws: Tensor) -> Tensor:
    """Return transformed pictures.

    Args:
        transforms: in the order in which they are done; none leaves the pictures as they are.
        images: `(n, height, width, channels)`, 0..1.
        draws: `(n, sum of transform.draws)`, 0..1.
    """
    if not transforms:
        return images
    shape, first = tuple(images.shape[1:3]), 0
    total = ops.eye(3)
    for transform in transforms:
        total = ops.matmul(total, transform.matrix(draws[:, first : first + transform.draws], shape))
        first += transform.draws
    return keras.ops.image.affine_transform(
        images,
        ops.reshape(total, (-1, 9))[:, :8],
        interpolation="bilinear",
        fill_mode="constant",
        fill_value=0.5,
        data_format="channels_last",
    )


def _zoom(factor: Tensor, shape: Shape) -> Tensor:
    nil = ops.zeros_like(factor)
    return _centred(_rows((factor, nil, nil), (nil, factor, nil)), shape)


def _rows(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Return matrices `(n, 3, 3)` that take (x, y, 1) to (x, y, 1)."""
    nil, one = ops.zeros_like(first[0]), ops.ones_like(first[0])
    return ops.stack([ops.stack(row, -1) for row in (first, second, (nil, nil, one))], -2)


def _centred(matrix: Tensor, shape: Shape) -> Tensor:
    x, y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    there = ops.convert_to_tensor([[1, 0, x], [0, 1, y], [0, 0, 1]], "float32")
    back = ops.convert_to_tensor([[1, 0, -x], [0, 1, -y], [0, 0, 1]], "float32")
    return ops.matmul(ops.matmul(there, matrix), back)


def _check(good: bool, expected: str, **received: float) -> None:
    if not good:
        values = ", ".join(f"{name}={value}" for name, value in received.items())
        raise ValueError(f"Expected {expected}. Received: {values}")
