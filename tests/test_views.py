"""Fixed views: the middle first, corners where they belong, mirrored pixel for pixel."""

import numpy as np
import pytest
from helpers import images

from tlkeras.transfer.batches import fixed_views

PICTURES = images(3, shape=(9, 11, 3))


def test_ten_views_are_the_middle_and_the_corners_and_their_mirror_images():
    found = fixed_views(PICTURES, 7, 10)
    assert [view.shape for view in found] == [(3, 7, 7, 3)] * 10
    for number, (top, left) in enumerate([(1, 2), (0, 0), (0, 4), (2, 0), (2, 4)]):
        np.testing.assert_array_equal(found[2 * number], PICTURES[:, top : top + 7, left : left + 7])
        np.testing.assert_array_equal(found[2 * number + 1], found[2 * number][:, :, ::-1])


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_views_are_the_first_of_them(count):
    for own, other in zip(fixed_views(PICTURES, 7, count), fixed_views(PICTURES, 7, 10), strict=False):
        np.testing.assert_array_equal(own, other)
    assert len(fixed_views(PICTURES, 7, count)) == count


@pytest.mark.parametrize(("side", "count"), [(10, 1), (7, 3), (7, 0)])
def test_bad_input(side, count):
    with pytest.raises(ValueError, match=rf"Received: count={count}, shape=\(3, 9, 11, 3\)"):
        fixed_views(PICTURES, side, count)
