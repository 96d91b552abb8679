"""Images that two sets share are found by their pixels or by a network's features, and nothing else is."""

import numpy as np
import pytest
from PIL import Image

import tlkeras
from tlkeras.data import shared


def photographs(count, seed=0, side=96):
    """Return smooth random images, uint8 `(count, side, side, 3)`."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 3)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(x).resize((side, side), Image.Resampling.BICUBIC)) for x in coarse])


def resized(image, side):
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))


def test_copies_of_other_size_and_brightness_are_found_with_their_distance():
    first, second = photographs(8), photographs(5, seed=1, side=64)
    second[3] = resized(first[6], 64) // 2 + 40
    second[1] = resized(first[2][4:, 4:], 64)
    rows = tlkeras.data.overlaps(first, second)
    assert [(row["first"], row["second"]) for row in rows] == [(6, 3), (2, 1)]
    assert 0 <= rows[0]["distance"] < 0.01 < rows[1]["distance"] < shared.ALIKE
    assert tlkeras.data.overlaps(first, second, largest=0.01) == rows[:1]


def test_the_distance_is_one_less_the_correlation_of_shrunken_grey_pixels():
    first, second = photographs(1, side=16), photographs(1, seed=1, side=16)
    grey = [x[0].mean(-1).ravel() for x in (first, second)]
    (row,) = tlkeras.data.overlaps(first, second, largest=3)
    assert row["distance"] == pytest.approx(1 - np.corrcoef(*grey)[0, 1], abs=1e-4)


def test_a_set_is_compared_with_itself_once_a_pair_and_flat_images_are_like_none():
    images = photographs(6)
    images[4], images[0], images[1] = images[2], 7, 7
    assert tlkeras.data.overlaps(images) == [{"first": 2, "second": 4, "distance": pytest.approx(0, abs=1e-4)}]


def test_with_a_model_a_pair_is_near_by_both():
    first, second = photographs(6), photographs(6, seed=1)
    second[2] = first[1]
    second[3] = first[4][:, ::-1]  # mirrored: the same for this model, and not by its pixels

    def columns(x):
        return np.sort(x.astype(np.float32).mean(1).mean(-1), axis=1)

    (row,) = tlkeras.data.overlaps(first, second, model=columns)
    assert (row["first"], row["second"]) == (1, 2) and row["feature_distance"] == pytest.approx(0, abs=1e-3)
    rows = tlkeras.data.overlaps(first, second, largest=3, model=columns, largest_of_features=0.001)
    assert [(row["first"], row["second"]) for row in rows] == [(1, 2), (4, 3)]
    others = iter((np.eye(6), np.eye(6)[::-1]))
    assert tlkeras.data.overlaps(first, second, model=lambda x: next(others)) == [], "near by the pixels alone"


def test_blocks_do_not_show(monkeypatch):
    first, second = photographs(7), photographs(7)[::-1]
    whole = tlkeras.data.overlaps(first, second, model=lambda x: x[:, ::8, ::8])
    monkeypatch.setattr(shared, "BLOCK", 3)
    assert tlkeras.data.overlaps(first, second, model=lambda x: x[:, ::8, ::8]) == whole and len(whole) == 7


def test_the_closest_pairs_are_kept_and_all_are_counted(monkeypatch):
    images = np.repeat(photographs(2), [5, 4], axis=0)  # 10 and 6 pairs that show the same
    images[4] = images[4] // 2 + np.arange(96, dtype=np.uint8)[:, None, None] // 16
    every = tlkeras.data.overlaps(images)
    assert len(every) == 16 and {row["second"] for row in every[12:]} == {4}
    for block in (shared.BLOCK, 2):
        monkeypatch.setattr(shared, "BLOCK", block)
        kept, count = shared.closest(images, most=12)
        assert (kept, count) == (every[:12], 16)


def test_no_images_are_refused():
    with pytest.raises(ValueError, match=r"Expected images in both sets\. Received: 2 and 0"):
        tlkeras.data.overlaps(photographs(2), [])
