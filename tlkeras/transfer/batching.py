"""Batches to train on: shuffled anew each epoch, the same for the same seed, and not tuning themselves."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf


def training_batches(
    pair: tuple[np.ndarray, np.ndarray],
    batch_size: int,
    seed: int,
    augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
) -> tf.data.Dataset:
    """Return shuffled batches of `pair`; their order depends on `seed`, Keras' global seed and the epoch alone."""
    inputs, labels = pair
    batches = tf.data.Dataset.from_tensor_slices((inputs, labels.astype(np.int32)))
    batches = batches.shuffle(len(inputs), seed=seed).batch(batch_size)
    if augment is not None:
        seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2, drop_remainder=True)

        def apply(batch, pair_of_seeds):
            images, targets = batch
            return augment(tf.cast(images, tf.float32), tf.cast(pair_of_seeds, tf.int32)), targets

        batches = tf.data.Dataset.zip(batches, seeds).map(
            apply, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
    return untuned(batches.prefetch(2))


def untuned(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Return the same batches without tf.data's tuning of itself, whose thread the end of a `fit` may wait for.

    That thread sleeps for 10 ms, then 20, 40 and so on, and nothing wakes it: a `fit` that could be over after 1.05 s
    returned after 1.27 s, the end of the seventh sleep.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)
