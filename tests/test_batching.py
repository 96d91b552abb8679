"""Batches: the order follows the seed, every batch is augmented with another, and they do not tune themselves."""

import numpy as np
import tensorflow as tf
from helpers import images, labelled

from tlkeras.transfer.batches import training_batches, untuned

TRAIN = labelled(20)


def order(batches):
    return [int(label) for _, labels in batches for label in labels]


def test_batches_are_shuffled_anew_each_epoch_and_alike_for_the_same_seed():
    pairs = (images(20), np.arange(20)), (np.zeros((20, 3), np.float32), np.arange(20))
    first, same = (training_batches(pair, 8, seed=5) for pair in pairs)
    epochs = [order(first), order(first)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(20))] * 2
    assert epochs[0] != epochs[1]
    assert [order(same), order(same)] == epochs  # whatever the inputs are
    assert order(training_batches(pairs[0], 8, seed=6)) != epochs[0]
    assert [len(labels) for _, labels in first] == [8, 8, 4]


def test_every_batch_and_epoch_is_augmented_with_another_seed():
    def write(pictures, seed):
        return tf.zeros_like(pictures) + tf.cast(seed[0] % 10_000, tf.float32)

    def two_epochs():
        batches = training_batches(TRAIN, 8, seed=5, augment=write)
        return [float(pictures[0, 0, 0, 0]) for _ in range(2) for pictures, _ in batches]

    assert len(set(two_epochs())) == 6
    assert two_epochs() == two_epochs()


def test_nothing_tunes_itself_while_it_is_trained_on():
    batches = training_batches(TRAIN, 8, seed=5)
    assert batches.options().autotune.enabled is False
    tuned = tf.data.Dataset.range(4).prefetch(2)
    assert tuned.options().autotune.enabled is not False
    assert [int(number) for number in untuned(tuned)] == [0, 1, 2, 3]
