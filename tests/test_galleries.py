"""Tests of tlkeras.experiments.galleries: every image once, in order, with its title; heat where it is; every frame."""

import io

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from tlkeras.experiments import galleries

IMAGES = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
PHOTOS = np.full((3, 12, 16, 3), 100, np.uint8)
HEATS = np.zeros((3, 12, 16), np.float32)
HEATS[0, 2:5, 3:6], HEATS[1, 8, 8], HEATS[2, 0, 0] = 1, 0.5, 0.25
FRAMES = np.random.default_rng(0).uniform(-50, 300, (3, 5, 4, 6, 1)).astype(np.float32)
ROWS = [{"filter": 3 * n, "after": n / 7, "dead": n == 2} for n in range(5)]


def titles(figure):
    return [panel.get_title() for panel in figure.axes]


def shown(figure):
    """Return the pictures of the panels, without the scale's."""
    return [np.asarray(panel.images[0].get_array()) for panel in figure.axes if panel.images]


def test_images_in_order_and_titles():
    figure = galleries.gallery(IMAGES, columns=3, titles=list("abcde"), caption="five")
    assert [picture[0, 0] for picture in shown(figure)] == [0, 1, 2, 3, 4] and len(figure.axes) == 6
    assert titles(figure)[:5] == list("abcde") and figure.get_suptitle() == "five"
    assert plt.get_fignums() == []


def test_long_titles_keep_to_their_column():
    long = ["immunohistochemistry 0.0", "hubble_deep_field 0.1", "cat\nnot dog", "hubble_deep_field 1.1", "short_one"]
    figure = galleries.gallery(IMAGES, columns=5, titles=long)
    figure.draw_without_rendering()
    boxes = [panel.title.get_window_extent() for panel in figure.axes]
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))
    assert titles(figure)[2:5:2] == ["cat\nnot dog", "short_one"]


def test_a_word_wider_than_its_column_makes_all_titles_smaller_and_is_not_broken():
    ten = IMAGES[[0] * 10]
    figure = galleries.gallery(ten, columns=10, titles=["automobile", "grey cat_one"] + ["dog"] * 8)
    assert titles(figure)[:3] == ["automobile", "grey cat\none", "dog"]
    assert {panel.title.get_fontsize() for panel in figure.axes} == {12 * 8 / 10}
    usual = galleries.gallery(ten, columns=10, titles=["airplane"] * 10)
    assert {panel.title.get_fontsize() for panel in usual.axes} == {12}


@pytest.mark.parametrize("images", [IMAGES[:0], IMAGES[..., 0], np.zeros((2, 4, 4, 2))])
def test_bad_images(images):
    with pytest.raises(ValueError, match="Received: shape="):
        galleries.gallery(images, columns=2)


def test_each_image_with_its_heat_and_all_text_inside():
    options = {"titles": ["one", "two", "three"], "caption": "Ants", "label": "heat (unit)"}
    figure = galleries.overlays(PHOTOS, HEATS, columns=2, **options)
    pictures = shown(figure)
    assert len(pictures) == 6 and plt.get_fignums() == []
    for image, heat, blended in zip(PHOTOS, HEATS, pictures[1::2], strict=True):
        assert (np.abs(blended - galleries.DIMMED * image / 255).max(-1) > 0.02).tolist() == (heat > 0).tolist()
    assert [panel.get_title("left") for panel in figure.axes if panel.get_title("left")] == ["one", "two", "three"]
    assert figure.get_suptitle() == "Ants"
    assert figure.axes[-1].get_xlabel() == "heat (unit)" and figure.axes[-1].get_xlim() == (0, 1)
    figure.draw_without_rendering()
    drawn = figure.get_tightbbox()
    assert np.all(drawn.min >= 0) and np.all(drawn.max <= figure.get_size_inches())


def test_signed_heat_is_blue_or_orange():
    heats = HEATS - HEATS[:, ::-1, ::-1]
    _, blended, *_ = shown(figure := galleries.overlays(PHOTOS, heats))
    speaks_for, against = blended[3, 4], blended[8, 11]
    assert speaks_for[0] > speaks_for[2] and against[2] > against[0]
    low, high = figure.axes[-1].get_xlim()
    assert low == -high < 0


def test_grey_images_and_no_heat_at_all():
    figure = galleries.overlays(PHOTOS[:1, ..., :1], np.zeros((1, 12, 16)))
    np.testing.assert_allclose(shown(figure)[1], galleries.DIMMED * 100 / 255)


@pytest.mark.parametrize(
    ("images", "heats", "names"),
    [
        (PHOTOS[:0], HEATS[:0], None),
        (PHOTOS[..., :2], HEATS, None),
        (PHOTOS, HEATS[:2], None),
        (PHOTOS, HEATS * np.nan, None),
        (PHOTOS, HEATS, ["one"]),
    ],
)
def test_heat_that_does_not_fit_is_refused(images, heats, names):
    with pytest.raises(ValueError, match="Received: "):
        galleries.overlays(images, heats, titles=names)


def test_each_filter_has_its_number_and_activation():
    figure = galleries.filter_sheet(FRAMES[0], ROWS, columns=4, caption="five")
    assert titles(figure) == ["0: 0", "3: .14", "6: dead", "9: .43", "12: .57", "", "", ""]
    np.testing.assert_array_equal(shown(figure)[1][1:-1, 1:-1], np.clip(FRAMES[0, 1, ..., 0], 0, 255).astype(np.uint8))
    assert titles(galleries.filter_sheet(FRAMES[0], columns=5)) == list("01234")
    with pytest.raises(ValueError, match="Received: 4 rows"):
        galleries.filter_sheet(FRAMES[0], ROWS[:4])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_film_shows_all_pictures_of_each_frame(channels):
    frames = FRAMES.repeat(channels, -1)
    film = Image.open(io.BytesIO(galleries.film(frames, columns=3, zoom=2, seconds=3)))
    assert film.n_frames == 3 and film.info["loop"] == 0 and film.info["duration"] == 500
    assert film.size == (2 * (3 * 6 + 2 * galleries.GAP), 2 * (2 * 4 + galleries.GAP))
    film.seek(2)
    assert film.info["duration"] == 2000
    picture = np.asarray(film.convert("L"))[::2, ::2]
    np.testing.assert_allclose(picture[:4, :6], np.clip(FRAMES[2, 0, ..., 0], 0, 255).round(), atol=3)


def test_a_film_of_few_shades_is_smaller():
    frames = np.random.default_rng(0).uniform(0, 255, (3, 4, 16, 16, 1))
    whole, few = galleries.film(frames), galleries.film(frames, shades=4)
    assert len(few) < len(whole) / 2
    assert set(np.unique(np.asarray(Image.open(io.BytesIO(few)).convert("L")))) <= {0, 85, 170, 255}


@pytest.mark.parametrize("frames", [FRAMES[:1], FRAMES[0], FRAMES.repeat(2, -1)])
def test_what_is_no_film_is_refused(frames):
    with pytest.raises(ValueError, match="Received: shape="):
        galleries.film(frames)
