"""Sheets name every filter, films play every frame."""

import io

import numpy as np
import pytest
from PIL import Image

from tlkeras.experiments import galleries

FRAMES = np.random.default_rng(0).uniform(-50, 300, (3, 5, 4, 6, 1)).astype(np.float32)
ROWS = [{"filter": 3 * n, "after": n / 7, "dead": n == 2} for n in range(5)]


def test_each_filter_has_its_number_and_activation():
    figure = galleries.filter_sheet(FRAMES[0], ROWS, columns=4, caption="five")
    titles = [panel.get_title() for panel in figure.axes]
    assert titles == ["0: 0", "3: .14", "6: dead", "9: .43", "12: .57", "", "", ""]
    shown = np.array(figure.axes[1].images[0].get_array())[1:-1, 1:-1]
    np.testing.assert_array_equal(shown, np.clip(FRAMES[0, 1, ..., 0], 0, 255).astype(np.uint8))


def test_without_rows_they_are_numbered():
    figure = galleries.filter_sheet(FRAMES[0], columns=5)
    assert [panel.get_title() for panel in figure.axes] == list("01234")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_film_shows_all_pictures_of_each_frame(channels):
    frames = FRAMES.repeat(channels, -1)
    film = Image.open(io.BytesIO(galleries.film(frames, columns=3, zoom=2)))
    assert film.n_frames == 3 and film.info["loop"] == 0
    assert film.size == (2 * (3 * 6 + 2 * galleries.GAP), 2 * (2 * 4 + galleries.GAP))
    film.seek(2)
    shown = np.asarray(film.convert("L"))[::2, ::2]
    np.testing.assert_allclose(shown[:4, :6], np.clip(FRAMES[2, 0, ..., 0], 0, 255).round(), atol=3)


def test_what_is_no_film_or_no_sheet_is_refused():
    for frames in (FRAMES[:1], FRAMES[0], FRAMES.repeat(2, -1)):
        with pytest.raises(ValueError, match="Received: shape="):
            galleries.film(frames)
    with pytest.raises(ValueError, match="Received: 4 rows"):
        galleries.filter_sheet(FRAMES[0], ROWS[:4])


def test_time_is_drawn_against_what_grows():
    rows = [{"filters": n, "steps": 60, "seconds": n / 8, "varied": "filters"} for n in (16, 32)]
    rows += [{"filters": 16, "steps": n, "seconds": n / 30, "varied": "steps"} for n in (30, 60, 90)]
    filters, steps = galleries.time_growth(rows).axes
    for panel, x, seconds in ((filters, [16, 32], [2, 4]), (steps, [30, 60, 90], [1, 2, 3])):
        line, points = panel.get_lines()
        assert points.get_xdata().tolist() == x and points.get_ydata().tolist() == seconds
        np.testing.assert_allclose(line.get_ydata(), [0, seconds[-1]])
