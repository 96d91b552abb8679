"""Batches and their random views follow the seed; fixed views are where they belong."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import images, labelled

from tlkeras.transfer.batches import (
    fixed_views,
    random_affine,
    random_crop,
    random_flip_crop,
    training_batches,
    untuned,
)

NONE = {"rotation": 0.0, "shift": 0.0, "zoom": 0.0, "shear": 0.0}
SEED = tf.constant([3, 4], tf.int32)
BATCH = tf.constant(images(6, shape=(9, 12, 2)), tf.float32)


def block(count=64):
    """Return equal pictures, 21x21, of a bright block in the middle."""
    pictures = np.zeros((count, 21, 21, 1), np.float32)
    pictures[:, 8:13, 8:13] = 255
    return tf.constant(pictures)


def centres(pictures):
    """Return the centres of mass (row, column) relative to the middle."""
    mass, places = np.asarray(pictures)[..., 0], np.arange(21) - 10
    total = mass.sum(axis=(1, 2))
    return (mass.sum(axis=2) @ places) / total, (mass.sum(axis=1) @ places) / total


def test_no_amount_is_no_change():
    np.testing.assert_allclose(random_affine(**NONE)(BATCH, SEED), BATCH, atol=1e-3)


def test_the_seed_decides():
    augment = random_affine()
    views = augment(BATCH, SEED)
    np.testing.assert_array_equal(augment(BATCH, SEED), views)
    np.testing.assert_array_equal(random_affine()(BATCH, SEED), views)
    assert not np.allclose(augment(BATCH, tf.constant([3, 5])), views)


def test_images_of_a_batch_get_different_views():
    views = np.asarray(random_affine()(block(8), SEED)).reshape(8, -1)
    assert len(np.unique(views.round(2), axis=0)) == 8


def test_shape_type_and_range_are_kept():
    views = random_affine(rotation=180, shift=0.5, zoom=0.9, shear=1)(BATCH, SEED)
    assert (views.shape, views.dtype) == (BATCH.shape, tf.float32)
    assert 0 <= np.min(views) <= np.max(views) <= 255.001


def test_a_graph_with_any_batch_size_gives_the_same_views():
    augment = random_affine()
    compiled = tf.function(augment, input_signature=[tf.TensorSpec((None, 9, 12, 2)), tf.TensorSpec(2, tf.int32)])
    np.testing.assert_allclose(compiled(BATCH, SEED), augment(BATCH, SEED), atol=1e-2)


def test_what_comes_in_from_outside_is_black():
    views = np.asarray(random_affine(**NONE | {"shift": 1.0})(tf.fill((32, 9, 9, 1), 200.0), SEED))
    assert views.min() == 0
    assert views.max() == pytest.approx(200, abs=0.01)


@pytest.mark.parametrize("amounts", [{"rotation": 40.0}, {"zoom": 0.3}, {"shear": 0.5}])
def test_turning_sizing_and_slanting_keep_the_centre(amounts):
    pictures = block()
    views = random_affine(**NONE | amounts)(pictures, SEED)
    np.testing.assert_allclose(centres(views), 0, atol=0.05)
    assert not np.allclose(views, pictures, atol=10)


def test_shifts_reach_their_amount_and_no_further():
    rows, columns = centres(random_affine(**NONE | {"shift": 0.2})(block(), SEED))
    for offsets in (rows, columns):
        assert -4.21 < offsets.min() < -3 < 3 < offsets.max() < 4.21
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.5


def test_zoom_changes_the_size_within_its_amount():
    areas = np.sum(random_affine(**NONE | {"zoom": 0.3})(block(), SEED), axis=(1, 2, 3)) / (25 * 255)
    assert 1 / 1.3**2 * 0.95 < areas.min() < 0.8 < 1.2 < areas.max() < 1 / 0.7**2 * 1.05


@pytest.mark.parametrize("amount", [{"rotation": -1}, {"shift": -0.1}, {"zoom": -0.1}, {"shear": -1}, {"zoom": 1}])
def test_bad_amounts_are_refused(amount):
    with pytest.raises(ValueError, match=r"at least 0 and zoom below 1\. Received: \{'rotation'"):
        random_affine(**amount)


def test_flip_and_crop_are_whole_pixels_of_a_padded_image_mirrored_or_not():
    views = np.asarray(random_flip_crop(2)(BATCH, SEED))
    found = []
    for image, view in zip(np.asarray(BATCH), views, strict=True):
        places = [
            (mirror, row, column)
            for mirror in (1, -1)
            for row in range(5)
            for column in range(5)
            if np.array_equal(
                np.pad(image[:, ::mirror], ((2, 2), (2, 2), (0, 0)))[row : row + 9, column : column + 12], view
            )
        ]
        assert len(places) == 1
        found += places
    assert len(set(found)) > 1


def test_flips_and_shifts_cover_all_cases_evenly():
    ramp = tf.tile(tf.reshape(tf.range(1.0, 12.0), (1, 1, 11, 1)), (4000, 11, 1, 1))
    views = np.asarray(random_flip_crop(1)(ramp, SEED))[:, 5, 4:6, 0]
    mirrored = views[:, 0] > views[:, 1]
    assert 0.45 < mirrored.mean() < 0.55
    shares = np.unique(views[~mirrored, 0], return_counts=True)[1] / np.sum(~mirrored)
    assert len(shares) == 3 and np.all(np.abs(shares - 1 / 3) < 0.05)


def test_flip_and_crop_is_a_function_of_the_seed():
    augment = random_flip_crop()
    np.testing.assert_array_equal(augment(BATCH, SEED), augment(BATCH, SEED))
    assert not np.array_equal(augment(BATCH, SEED), augment(BATCH, tf.constant([3, 5])))
    with pytest.raises(ValueError, match="padding=-1"):
        random_flip_crop(-1)


def test_random_crops_are_squares_of_the_image_itself_everywhere_in_it():
    rows, columns = np.meshgrid(np.arange(9), np.arange(12), indexing="ij")
    places = tf.constant(np.tile(np.stack([rows, columns], -1), (400, 1, 1, 1)), tf.float32)
    found = np.asarray(random_crop(7)(places, SEED))
    assert found.shape == (400, 7, 7, 2)
    corners = found[:, :1, :1]
    np.testing.assert_array_equal(found - corners, np.broadcast_to(np.asarray(places)[:1, :7, :7], found.shape))
    assert {tuple(corner) for corner in corners[:, 0, 0].astype(int).tolist()} == set(np.ndindex(3, 6))
    np.testing.assert_array_equal(random_crop(7)(places, SEED), found)
    assert not np.array_equal(random_crop(7)(places, tf.constant([3, 5])), found)


def test_a_crop_of_everything_is_everything():
    np.testing.assert_array_equal(random_crop(9)(BATCH[:, :, :9], SEED), BATCH[:, :, :9])


def test_crops_that_do_not_fit():
    with pytest.raises(ValueError, match=r"at least 1 pixel\. Received: side=0"):
        random_crop(0)
    with pytest.raises(ValueError, match=r"at least 10 pixels\. Received: shape=\(6, 9, 12, 2\)"):
        random_crop(10)(BATCH, SEED)


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


WIDE = images(3, shape=(9, 11, 3))


def test_ten_views_are_the_middle_and_the_corners_and_their_mirror_images():
    found = fixed_views(WIDE, 7, 10)
    assert [view.shape for view in found] == [(3, 7, 7, 3)] * 10
    for number, (top, left) in enumerate([(1, 2), (0, 0), (0, 4), (2, 0), (2, 4)]):
        np.testing.assert_array_equal(found[2 * number], WIDE[:, top : top + 7, left : left + 7])
        np.testing.assert_array_equal(found[2 * number + 1], found[2 * number][:, :, ::-1])


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_views_are_the_first_of_them(count):
    for own, other in zip(fixed_views(WIDE, 7, count), fixed_views(WIDE, 7, 10), strict=False):
        np.testing.assert_array_equal(own, other)
    assert len(fixed_views(WIDE, 7, count)) == count


@pytest.mark.parametrize(("side", "count"), [(10, 1), (7, 3), (7, 0)])
def test_bad_input(side, count):
    with pytest.raises(ValueError, match=rf"Received: count={count}, shape=\(3, 9, 11, 3\)"):
        fixed_views(WIDE, side, count)
