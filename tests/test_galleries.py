"""A gallery shows every image once, in order, with its title."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tlkeras.experiments import galleries

IMAGES = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)


def test_images_in_order_and_titles():
    figure = galleries.gallery(IMAGES, columns=3, titles=list("abcde"), caption="five")
    shown = [panel.images[0].get_array()[0, 0] for panel in figure.axes if panel.images]
    assert shown == [0, 1, 2, 3, 4] and len(figure.axes) == 6
    assert [panel.get_title() for panel in figure.axes][:5] == list("abcde")
    assert plt.get_fignums() == []


def test_long_titles_keep_to_their_column():
    long = ["immunohistochemistry 0.0", "hubble_deep_field 0.1", "cat\nnot dog", "hubble_deep_field 1.1", "short_one"]
    figure = galleries.gallery(IMAGES, columns=5, titles=long)
    figure.draw_without_rendering()
    boxes = [panel.title.get_window_extent() for panel in figure.axes]
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))
    assert [panel.get_title() for panel in figure.axes][2:5:2] == ["cat\nnot dog", "short_one"]


@pytest.mark.parametrize("images", [IMAGES[:0], IMAGES[..., 0], np.zeros((2, 4, 4, 2))])
def test_bad_images(images):
    with pytest.raises(ValueError, match="Received: shape="):
        galleries.gallery(images, columns=2)
