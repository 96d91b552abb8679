"""Heat over images: where it is, in colours that everybody can tell apart, with a labelled scale."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tlkeras.experiments.galleries import DIMMED, overlays

IMAGES = np.full((3, 12, 16, 3), 100, np.uint8)
HEATS = np.zeros((3, 12, 16), np.float32)
HEATS[0, 2:5, 3:6], HEATS[1, 8, 8], HEATS[2, 0, 0] = 1, 0.5, 0.25


def shown(figure):
    """Return the pictures of the panels, without the scale's."""
    return [np.asarray(panel.images[0].get_array()) for panel in figure.axes if panel.images]


def test_each_image_with_its_heat():
    figure = overlays(IMAGES, HEATS, columns=2, titles=["one", "two", "three"], caption="Ants", label="heat (unit)")
    pictures = shown(figure)
    assert len(pictures) == 6 and plt.get_fignums() == []
    for image, heat, blended in zip(IMAGES, HEATS, pictures[1::2], strict=True):
        assert (np.abs(blended - DIMMED * image / 255).max(-1) > 0.02).tolist() == (heat > 0).tolist()
    assert [panel.get_title("left") for panel in figure.axes if panel.get_title("left")] == ["one", "two", "three"]
    assert figure.get_suptitle() == "Ants"
    assert figure.axes[-1].get_xlabel() == "heat (unit)" and figure.axes[-1].get_xlim() == (0, 1)


def test_signed_heat_is_blue_or_orange():
    heats = HEATS - HEATS[:, ::-1, ::-1]
    _, blended, *_ = shown(figure := overlays(IMAGES, heats))
    speaks_for, against = blended[3, 4], blended[8, 11]
    assert speaks_for[0] > speaks_for[2] and against[2] > against[0]
    low, high = figure.axes[-1].get_xlim()
    assert low == -high < 0


def test_grey_images_and_no_heat_at_all():
    figure = overlays(IMAGES[:1, ..., :1], np.zeros((1, 12, 16)))
    np.testing.assert_allclose(shown(figure)[1], DIMMED * 100 / 255)
    figure.draw_without_rendering()


def test_text_stays_inside():
    figure = overlays(IMAGES, HEATS, columns=3, titles=["ant 0.93", "bee 0.51", "ant 0.12"], caption="Hits and misses")
    figure.draw_without_rendering()
    drawn = figure.get_tightbbox()
    assert np.all(drawn.min >= 0) and np.all(drawn.max <= figure.get_size_inches())


@pytest.mark.parametrize(
    ("images", "heats", "titles"),
    [
        (IMAGES[:0], HEATS[:0], None),
        (IMAGES[..., :2], HEATS, None),
        (IMAGES, HEATS[:2], None),
        (IMAGES, HEATS * np.nan, None),
        (IMAGES, HEATS, ["one"]),
    ],
)
def test_bad_input(images, heats, titles):
    with pytest.raises(ValueError, match="Received: "):
        overlays(images, heats, titles=titles)
