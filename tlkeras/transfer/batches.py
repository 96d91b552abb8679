"""Training images in batches: shuffled and augmented from stateless seeds; and the fixed views of a scored image."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy import stats

from tlkeras import backend
from tlkeras.backend import Tensor

# Not Keras' augmentation layers: their draws come from a state of the layer, not from a seed of the batch, so that they
# depend on what ran before (and, inside `map`, on the order of threads). Nor do they give the views of recorded runs.
Augment = Callable[[Tensor, Tensor], Tensor]  # (images (b, h, w, c) float32 0..255, seed (2,) int32) -> images
Blend = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # images, labels (b,), seed (2,) -> both blended
_QUANTILES = 4096  # of the distribution of shares
_VIEW_COUNTS = (1, 2, 10)


def random_affine(rotation: float = 15.0, shift: float = 0.1, zoom: float = 0.15, shear: float = 0.2) -> Augment:
    """Return an augmentation for `finetune`: each image gets its own rotation, shear, zoom and shift about its centre.

    Args:
        rotation: largest angle, degrees.
        shift: largest shift, as a fraction of the side.
        zoom: largest relative change of size, for width and height apart.
        shear: largest horizontal shear.

    Returns:
        `(images (b, h, w, c) float32, seed (2,) int32) -> images`; same seed, same views; outside is black.

    Raises:
        ValueError: a negative amount, or zoom of 1 or more.
    """
    amounts = {"rotation": rotation, "shift": shift, "zoom": zoom, "shear": shear}
    if min(amounts.values()) < 0 or zoom >= 1:
        raise ValueError(f"Expected amounts of at least 0 and zoom below 1. Received: {amounts}")

    def augment(images: Tensor, seed: Tensor) -> Tensor:
        height, width = images.shape[1], images.shape[2]
        draws = backend.uniform((6, ops.shape(images)[0]), seed, -1.0, 1.0)
        angle = draws[0] * (rotation * 3.141592653589793 / 180)
        scale_x, scale_y = 1 + zoom * draws[1], 1 + zoom * draws[2]
        slant, shift_x, shift_y = shear * draws[3], shift * width * draws[4], shift * height * draws[5]
        cosine, sine = ops.cos(angle), ops.sin(angle)
        a, b = scale_x * cosine, scale_x * (slant * cosine - sine)
        c, d = scale_y * sine, scale_y * (slant * sine + cosine)
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        offset_x = centre_x + shift_x - a * centre_x - b * centre_y
        offset_y = centre_y + shift_y - c * centre_x - d * centre_y
        zero = ops.zeros_like(a)
        transform = ops.stack([a, b, offset_x, c, d, offset_y, zero, zero], axis=1)
        return keras.ops.image.affine_transform(images, transform, interpolation="bilinear", fill_mode="constant")

    return augment


def random_flip_crop(padding: int = 4) -> Augment:
    """Return an augmentation for `finetune`: mirror half of the images, and crop each out of a zero-padded copy.

    Args:
        padding: pixels added on each side, so the largest shift.

    Returns:
        `(images (b, h, w, c) float32, seed (2,) int32) -> images`; same seed, same views; outside is black.

    Raises:
        ValueError: a negative padding.

    Reference: He et al. 2016, arXiv:1512.03385, section 4.2.
    """
    if padding < 0:
        raise ValueError(f"Expected a padding of at least 0 pixels. Received: padding={padding}")

    def augment(images: Tensor, seed: Tensor) -> Tensor:
        width = images.shape[2]
        draws = backend.uniform((3, ops.shape(images)[0]), seed)
        mirrored = ops.cast(draws[0] < 0.5, "float32")
        shift_x, shift_y = (ops.floor(draw * (2 * padding + 1)) - padding for draw in (draws[1], draws[2]))
        one, zero = ops.ones_like(shift_x), ops.zeros_like(shift_x)
        transform = ops.stack(
            [1 - 2 * mirrored, zero, mirrored * (width - 1) + shift_x, zero, one, shift_y, zero, zero], axis=1
        )
        return keras.ops.image.affine_transform(images, transform, interpolation="nearest", fill_mode="constant")

    return augment


def random_crop(side: int) -> Augment:
    """Return an augmentation for `finetune`: a random square out of each image, pixel for pixel.

    Args:
        side: of the square; `finetune` then takes training images that are larger than what the model takes.

    Returns:
        `(images (b, h, w, c) float32, seed (2,) int32) -> images (b, side, side, c)`; same seed, same squares.

    Raises:
        ValueError: a side below 1; when it is used, images smaller than the square.

    Reference: report 004, the third of its operations.
    """
    if side < 1:
        raise ValueError(f"Expected a side of at least 1 pixel. Received: side={side}")

    def augment(images: Tensor, seed: Tensor) -> Tensor:
        height, width = images.shape[1], images.shape[2]
        if min(height, width) < side:
            raise ValueError(f"Expected images of at least {side} pixels. Received: shape={tuple(images.shape)}")
        count = ops.shape(images)[0]
        draws = backend.uniform((2, count), seed)
        top = ops.cast(draws[0] * float(height - side + 1), "int32")
        left = ops.cast(draws[1] * float(width - side + 1), "int32")
        first = ops.arange(count, dtype="int32") * (height * width) + top * width + left
        square = ops.reshape(ops.arange(side, dtype="int32")[:, None] * width + ops.arange(side, dtype="int32"), (-1,))
        pixels = ops.take(ops.reshape(images, (-1, images.shape[-1])), first[:, None] + square, axis=0)
        return ops.reshape(pixels, (-1, side, side, images.shape[-1]))

    return augment


def mixup(strength: float, classes: int) -> Blend:
    """Return what blends each image of a batch with the one before it, and their labels in the same share.

    The share is drawn for each batch from Beta(strength, strength). The batches are shuffled, so that the image before
    is any image.

    Args:
        strength: above 0; small ones leave most batches nearly as they are.
        classes: how many there are.

    Returns:
        `(images (b, h, w, c), labels (b,) int, seed (2,) int32) -> images float32, labels (b, classes) float32`.

    Raises:
        ValueError: a strength that is not positive, or fewer than 2 classes.

    Reference: Zhang et al. 2018, arXiv:1710.09412, section 2 and the listing in figure 1.
    """
    if not 0 < strength < float("inf") or classes < 2:
        raise ValueError(f"Expected a finite strength above 0 and 2 classes. Received: {strength=}, {classes=}")

    places = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    quantiles = stats.beta.ppf(places, strength, strength).astype(np.float32)  # so that any backend can draw from it

    def blend(images: Tensor, labels: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
        place = ops.cast(backend.uniform((), seed) * _QUANTILES, "int32")
        share = ops.take(quantiles, ops.minimum(place, _QUANTILES - 1))
        parts = ops.cast(images, "float32"), ops.one_hot(labels, classes, dtype="float32")
        images, labels = (share * part + (1 - share) * ops.roll(part, 1, axis=0) for part in parts)
        return images, labels

    return blend


def training_batches(
    data: tuple[np.ndarray, np.ndarray] | tuple[np.ndarray, np.ndarray, np.ndarray | None],
    batch_size: int,
    seed: int,
    augment: Augment | None = None,
    blend: Blend | None = None,
) -> Any:
    """Return shuffled batches of a training set, in an order that follows from `seed` and the epoch.

    On TensorFlow it follows from Keras' global seed, too.

    Args:
        data: inputs `(n, ...)` and integer labels `(n,)`; after them the weight of each, `(n,)`, or None.
        batch_size: inputs in a batch; the last of an epoch may have fewer.
        seed: of the order, and of the seeds that `augment` gets.
        augment: applied to each batch with a seed of that batch; None gives the inputs as they are.
        blend: the same, to inputs and labels, after `augment`.

    Returns:
        What `fit` takes: a `tf.data.Dataset` on TensorFlow, `Batches` elsewhere, in another order.

    Raises:
        ValueError: weights for batches that are blended.
    """
    inputs, labels, *weights = data
    if blend is not None and any(part is not None for part in weights):
        raise ValueError("Expected no weights of images that are blended. Received: weights")
    parts = inputs, labels.astype(np.int32), *(part for part in weights if part is not None)
    make = _pipeline if backend.NAME == "tensorflow" else Batches
    return make(parts, batch_size, seed, augment, blend)


class Batches(keras.utils.PyDataset):
    """The batches of `training_batches` where there is no TensorFlow; the arguments are the same."""

    def __init__(
        self,
        parts: tuple[np.ndarray, ...],
        batch_size: int,
        seed: int,
        augment: Augment | None = None,
        blend: Blend | None = None,
    ) -> None:
        super().__init__()
        self._parts, self._batch_size, self._augment, self._blend = parts, batch_size, augment, blend
        self._random = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self._parts[0]) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        inputs, *rest = (part[chosen] for part in self._parts)
        seed = ops.convert_to_tensor(self._seeds[index])
        if self._augment is not None:
            inputs = ops.convert_to_numpy(self._augment(ops.convert_to_tensor(inputs, "float32"), seed))
        if self._blend is not None:
            inputs, *rest = map(ops.convert_to_numpy, self._blend(inputs, rest[0], seed + 1))
        return inputs, *rest

    def on_epoch_end(self) -> None:
        """Draw the order of the next epoch, and a seed for each of its batches."""
        self._order = self._random.permutation(len(self._parts[0]))
        self._seeds = self._random.integers(2**31, size=(len(self), 2), dtype=np.int32)


def _pipeline(
    parts: tuple[np.ndarray, ...], batch_size: int, seed: int, augment: Augment | None, blend: Blend | None
) -> Any:
    """Return the batches as TensorFlow makes them, augmented side by side."""
    import tensorflow as tf  # late: other backends do without it

    batches = tf.data.Dataset.from_tensor_slices(parts).shuffle(len(parts[0]), seed=seed).batch(batch_size)
    if augment is not None:
        seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2, drop_remainder=True)

        def apply(batch: tuple[Tensor, ...], seed_of_batch: Tensor) -> tuple[Tensor, ...]:
            images, *rest = batch
            return augment(tf.cast(images, tf.float32), tf.cast(seed_of_batch, tf.int32)), *rest

        batches = tf.data.Dataset.zip(batches, seeds).map(
            apply, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
    if blend is not None:
        mixed = blend
        seeds = tf.data.Dataset.random(seed=seed + 1, rerandomize_each_iteration=True).batch(2, drop_remainder=True)

        def apply_blend(batch: tuple[Tensor, Tensor], seed_of_batch: Tensor) -> tuple[Tensor, Tensor]:
            return mixed(*batch, tf.cast(seed_of_batch, tf.int32))

        batches = tf.data.Dataset.zip(batches, seeds).map(
            apply_blend, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
    return untuned(batches.prefetch(2))


def untuned(batches: Any) -> Any:
    """Return the batches of a `tf.data.Dataset` without its self-tuning, whose thread the end of a `fit` may wait for.

    That thread sleeps for 10 ms, then 20, 40 and so on, and nothing wakes it: a `fit` that could be over after 1.05 s
    returned after 1.27 s, the end of the seventh sleep.
    """
    import tensorflow as tf  # late: other backends do without it

    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)


def fixed_views(images: np.ndarray, side: int, count: int) -> list[np.ndarray]:
    """Cut the same squares out of each image.

    Args:
        images: `(n, height, width, channels)`.
        side: of the squares, in pixels.
        count: 1 (the middle), 2 (and mirrored), or 10 (the middle and the four corners, each and mirrored).

    Returns:
        `count` arrays `(n, side, side, channels)`, the middle first.

    Raises:
        ValueError: another count, or images smaller than the squares.

    Reference: Krizhevsky et al. 2012, section 4.1 (ten patches).
    """
    height, width = images.shape[1:3]
    if count not in _VIEW_COUNTS or side > min(height, width):
        raise ValueError(
            f"Expected a count out of {_VIEW_COUNTS}, and images of at least {side} pixels. "
            f"Received: count={count}, shape={images.shape}"
        )
    bottom, right = height - side, width - side
    corners = [(bottom // 2, right // 2), (0, 0), (0, right), (bottom, 0), (bottom, right)]
    crops = [images[:, top : top + side, left : left + side] for top, left in corners[: (count + 1) // 2]]
    return crops if count == 1 else [view for crop in crops for view in (crop, crop[:, :, ::-1])]
