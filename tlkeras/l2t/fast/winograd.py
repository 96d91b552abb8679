"""3x3 convolutions of small maps as matrix products with fewer multiplications: exact, but for rounding.

Four outputs of a row need six products for each pair of channels, in place of twelve; a row of two pixels needs three,
in place of four. In two dimensions the numbers are squared. The transforms around the products are linear in the images
and in the kernel, and here they are products with small constant matrices, which hold the padding and the tiles. So
all derivatives, of any order, are matrix products too.

Reference: Lavin and Gray 2016, "Fast algorithms for convolutional neural networks", arXiv:1509.09308.
"""

import functools
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

_LARGEST = 16  # pixels of a side: above, the transforms cost more than the products they save
_AT_ONCE = 8  # pixels of a side: above, one axis is transformed after the other
_FEWEST = 32  # channels, in and out: below, the transforms do


class _Axis(NamedTuple):
    """How the places of a tile, where the products are, follow from an axis of the map and of the kernel."""

    images: np.ndarray  # (places, tiles, pixels)
    kernel: np.ndarray  # (places, 3)
    outputs: np.ndarray  # (pixels of a tile, places)


# Four outputs of six inputs: section 4.3, F(4x4, 3x3).
_FOUR = _Axis(
    np.array([
        [4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1],
    ], float)[:, None],
    np.array([
        [1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1],
    ]),
    np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], float),
)  # fmt: skip
# Two pixels x, y between zeros, kernel a, b, c: (b x + c y, a x + b y) by b (x + y), (c - b) y and (a - b) x.
_PAIR = _Axis(
    np.array([[1, 1], [0, 1], [1, 0]], float)[:, None],
    np.array([[0, 1, 0], [0, -1, 1], [1, -1, 0]], float),
    np.array([[1, 1, 0], [1, 0, 1]], float),
)
_SINGLE = _Axis(np.ones((1, 1, 1)), np.array([[0.0, 1, 0]]), np.ones((1, 1)))


def suits(layer: keras.layers.Conv2D, shape: tuple[int | None, ...]) -> bool:
    """Whether `convolve` computes a layer for inputs of a shape, and saves time.

    Not on a GPU, whose own kernels do the like, and not in half precision, which loses too much.
    """
    if tf.config.list_physical_devices("GPU") or layer.compute_dtype not in ("float32", "float64"):
        return False
    plain = layer.kernel_size == (3, 3) and layer.padding == "same" and layer.groups == 1
    moves = layer.strides == (1, 1) and layer.dilation_rate == (1, 1)
    small = all(side and side <= _LARGEST for side in shape[1:3])
    return plain and moves and small and min(shape[-1], layer.filters) >= _FEWEST


def convolve(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Return `tf.nn.conv2d(images, kernel, 1, "SAME")`.

    Args:
        images: `(batch, height, width, channels)`, floating; height and width are known.
        kernel: `(3, 3, channels, filters)`.
    """
    height, width, channels = images.shape[1:]
    down, across = _along_axis(height), _along_axis(width)
    places = len(down.kernel) * len(across.kernel)
    split = _tiles if max(height, width) <= _AT_ONCE else _tiles_by_row
    tiles = split(down.images, across.images, tf.transpose(images, (1, 2, 0, 3)))
    first = tuple(tiles.shape[:-2])  # the tiles down, where rows of tiles stay apart
    factors = tf.reshape(_applied(np.kron(down.kernel, across.kernel), kernel), (places, channels, kernel.shape[-1]))
    products = tf.matmul(tf.reshape(tiles, (*first, places, -1, channels)), factors)
    outputs = _maps(down, across, tf.reshape(products, (*first, places, -1)), kernel.shape[-1])
    return outputs if outputs.shape[1:3] == (height, width) else outputs[:, :height, :width]


def _maps(down: _Axis, across: _Axis, products: tf.Tensor, filters: int) -> tf.Tensor:
    """Return `(batch, height, width, filters)` of whole tiles, from products in the order of the tiles' transform."""
    outputs = tf.matmul(tf.constant(np.kron(down.outputs, across.outputs), products.dtype), products)
    inside, grid = (len(down.outputs), len(across.outputs)), (down.images.shape[1], across.images.shape[1])
    first = tuple(products.shape[:-2])
    outputs = tf.reshape(outputs, (*first, *inside, *grid[len(first) :], -1, filters))
    outputs = tf.transpose(outputs, (4, 0, 1, 3, 2, 5) if first else (4, 2, 0, 3, 1, 5))
    return tf.reshape(outputs, (-1, inside[0] * grid[0], inside[1] * grid[1], filters))


def _applied(matrix: np.ndarray, x: tf.Tensor) -> tf.Tensor:
    """Multiply the first axes of x, together as long as the matrix is wide, by the matrix; the result has two axes."""
    return tf.constant(matrix, x.dtype) @ tf.reshape(x, (matrix.shape[1], -1))


def _tiles(down: np.ndarray, across: np.ndarray, x: tf.Tensor) -> tf.Tensor:
    """Transform maps `(height, width, batch, channels)` to `(places, tiles * batch * channels)`."""
    places = len(down) * len(across)
    tiles = _applied(np.einsum("aih,bjw->abijhw", down, across).reshape(-1, x.shape[0] * x.shape[1]), x)
    return tf.reshape(tiles, (places, -1))


def _tiles_by_row(down: np.ndarray, across: np.ndarray, x: tf.Tensor) -> tf.Tensor:
    """Transform one axis after the other, to `(tiles down, places, tiles across * batch * channels)`."""
    (a, i, height), (b, _, width) = down.shape, across.shape
    rows = tf.reshape(_applied(down.transpose(1, 0, 2).reshape(-1, height), x), (i * a, width, -1))
    both = tf.matmul(tf.constant(across.reshape(1, -1, width), x.dtype), rows)
    return tf.reshape(both, (i, a * b, -1))


@functools.cache
def _along_axis(length: int) -> _Axis:
    """Return the transforms of an axis between zeros."""
    if length <= 2:
        return (_SINGLE, _PAIR)[length - 1]
    window, size = _FOUR.images[:, 0], len(_FOUR.outputs)
    starts = range(-1, length - 1, size)  # a window begins one pixel before its outputs
    images = np.zeros((len(window), len(starts), length + size + 2))
    for tile, start in enumerate(starts):
        images[:, tile, start + 1 : start + 1 + size + 2] = window
    return _FOUR._replace(images=images[:, :, 1 : length + 1])
