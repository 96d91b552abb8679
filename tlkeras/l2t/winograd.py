"""3x3 convolutions of small maps as matrix products with fewer multiplications: exact, but for rounding.

A tile of m x m outputs needs (m + 2) x (m + 2) products for each pair of channels, in place of 9 m^2: a quarter with
m = 4. The transforms around them are linear in the images and in the kernel. For a small map each is a product with
one constant matrix, which holds the padding and the tiles too, so all derivatives, of any order, are such products.

Reference: Lavin and Gray 2016, "Fast algorithms for convolutional neural networks", arXiv:1509.09308.
"""

import functools

import keras
import numpy as np
import tensorflow as tf

LARGEST = 8  # pixels of a side: above, the constant matrices cost more than the products they save
FEWEST = 32  # channels, in and out: below, the transforms do

# Of inputs, kernels and outputs along one axis, by m. Section 4.1, equation 7 and section 4.3, F(4x4, 3x3).
_TRANSFORMS = {
    2: (
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
        [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
        [[1, 1, 1, 0], [0, 1, -1, -1]],
    ),
    4: (
        [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
         [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]],
        [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
         [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    ),
}  # fmt: skip


def suits(layer: keras.layers.Conv2D, shape: tuple[int | None, ...]) -> bool:
    """Whether `convolve` computes a layer for inputs of a shape, and saves time."""
    plain = layer.kernel_size == (3, 3) and layer.padding == "same" and layer.groups == 1
    moves = layer.strides == (1, 1) and layer.dilation_rate == (1, 1)
    small = all(side and side <= LARGEST for side in shape[1:3])
    return plain and moves and small and min(shape[-1], layer.filters) >= FEWEST


def convolve(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Return `tf.nn.conv2d(images, kernel, 1, "SAME")`.

    Args:
        images: `(batch, height, width, channels)`, floating; height and width are known.
        kernel: `(3, 3, channels, filters)`.
    """
    height, width, channels = images.shape[1:]
    filters = kernel.shape[-1]
    of_images, of_kernel, of_outputs = (tf.constant(matrix, images.dtype) for matrix in _matrices(height, width))
    places = of_kernel.shape[0]
    pixels_first = tf.transpose(images, (1, 2, 0, 3))
    tiles = of_images @ tf.reshape(pixels_first, (height * width, -1))
    tiles = tf.reshape(tiles, (places, -1, channels))
    factors = tf.reshape(of_kernel @ tf.reshape(kernel, (9, -1)), (places, channels, filters))
    products = tf.reshape(tf.matmul(tiles, factors), (of_images.shape[0], -1))
    outputs = tf.reshape(of_outputs @ products, (height, width, -1, filters))
    return tf.transpose(outputs, (2, 0, 1, 3))


@functools.cache
def _matrices(height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the constant matrices of images, kernel and outputs, for both axes at once."""
    size = 2 if max(height, width) <= 2 else 4
    rows, columns = _along_axis(height, size), _along_axis(width, size)
    kernel = np.array(_TRANSFORMS[size][1])
    places = (size + 2) ** 2
    of_images = np.einsum("aih,bjw->abijhw", rows[0], columns[0]).reshape(-1, height * width)
    of_kernel = np.einsum("ai,bj->abij", kernel, kernel).reshape(places, 9)
    of_outputs = np.einsum("hai,wbj->hwabij", rows[1], columns[1]).reshape(height * width, -1)
    return of_images, of_kernel, of_outputs


def _along_axis(length: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the transforms `(place, tile, input)` and `(output, place, tile)` of an axis padded by zeros."""
    of_input, _, of_output = (np.array(matrix) for matrix in _TRANSFORMS[size])
    tiles = -(-length // size)
    inputs, outputs = np.zeros((size + 2, tiles, length)), np.zeros((length, size + 2, tiles))
    for tile in range(tiles):
        for place in range(size + 2):
            pixel = tile * size + place - 1
            if 0 <= pixel < length:
                inputs[:, tile, pixel] = of_input[:, place]
        for place in range(min(size, length - tile * size)):
            outputs[tile * size + place, :, tile] = of_output[place]
    return inputs, outputs
