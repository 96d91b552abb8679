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


@pytest.mark.parametrize("images", [IMAGES[:0], IMAGES[..., 0], np.zeros((2, 4, 4, 2))])
def test_bad_images(images):
    with pytest.raises(ValueError, match="Received: shape="):
        galleries.gallery(images, columns=2)
