"""Batches: bounded by memory, and each target always at the same place."""

import numpy as np
import pytest
from helpers import tiny

from tlkeras.visualize import ascent, layers
from tlkeras.visualize import objectives as o


def term(channels):
    ((_, found),) = o.channel("any", channels).terms
    return found


def test_every_picture_has_one_place_and_it_is_that_of_its_channel():
    channels = [5, 1, 9, 1, 6]
    found = ascent.places(term(channels), 4)
    assert sorted(found[found >= 0].tolist()) == [0, 1, 2, 3, 4]
    for index, channel in enumerate(channels):
        assert np.argwhere(found == index)[0, 1] == channel % 4


def test_all_channels_fill_their_batches():
    assert ascent.places(term(range(8)), 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_memory_sets_the_width():
    forward = layers.activations(tiny(), "conv_2")
    (shape,), widest = ascent.measure([forward], (8, 8, 1), 2**30)
    assert shape == (1, 4, 4, 3) and widest == ascent.WIDEST
    values = 64 * 2 + 256 * 3 + 64 * 5 + 48 * 3  # image and scaled, conv_1, pooled and normalised, conv_2
    one = 4 * ascent.COPIES * values
    assert 3 <= ascent.measure([forward], (8, 8, 1), 5 * one)[1] <= 8
    assert ascent.measure([forward], (8, 8, 1), 1)[1] == 1
    with pytest.raises(ValueError, match="Received: memory=0"):
        ascent.measure([forward], (8, 8, 1), 0)
