"""Transforms do what their names say, each picture has its own, and gradients come back."""

import numpy as np
import pytest
import tensorflow as tf

from tlkeras.visualize import transforms as t

IMAGES = np.random.default_rng(0).uniform(0, 1, (2, 8, 8, 1)).astype(np.float32)


def apply(transforms, *draws, images=IMAGES):
    draws = np.broadcast_to(np.array(draws, np.float32), (len(images), len(draws)))
    return t.apply(transforms, tf.constant(images), tf.constant(draws)).numpy()


def test_without_transforms_pictures_stay():
    np.testing.assert_array_equal(apply([]), IMAGES)


@pytest.mark.parametrize("draw, shift", [(0.0, -2), (0.5, 0), (0.99, 2)])
def test_jitter_shifts_by_whole_pixels_and_brings_in_grey(draw, shift):
    found = apply([t.jitter(2)], draw, 0.5)
    inside = slice(max(0, -shift), 8 - max(0, shift))
    np.testing.assert_allclose(found[:, :, inside], np.roll(IMAGES, -shift, 2)[:, :, inside], atol=1e-6)
    if shift:
        np.testing.assert_allclose(found[:, :, :2] if shift < 0 else found[:, :, -2:], 0.5)


@pytest.mark.parametrize("draw, turns", [(0.0, 1), (0.5, 0), (1.0, -1)])
def test_rotation_is_about_the_centre(draw, turns):
    found = apply([t.rotate(90)], draw)
    np.testing.assert_allclose(found, np.rot90(IMAGES, -turns, (1, 2)), atol=1e-4)


def test_scale_enlarges_about_the_centre():
    square = np.zeros((1, 9, 9, 1), np.float32)
    square[:, 3:6, 3:6] = 1
    small, large = (apply([t.scale(factor, factor)], 0.3, images=square).sum() for factor in (1.0, 2.0))
    assert small == pytest.approx(9) and large == pytest.approx(36, rel=0.1)


def test_each_picture_has_its_own_draw_and_transforms_are_composed_in_order():
    draws = tf.constant([[0.0, 0.5, 1.0], [0.99, 0.5, 1.0]])
    found = t.apply([t.jitter(1), t.rotate(90)], tf.constant(IMAGES), draws).numpy()
    for image, row, result in zip(IMAGES, draws.numpy(), found, strict=True):
        shifted = t.apply([t.jitter(1)], tf.constant(image[None]), tf.constant(row[None, :2]))
        expected = t.apply([t.rotate(90)], shifted, tf.constant(row[None, 2:])).numpy()[0]
        np.testing.assert_allclose(result, expected, atol=1e-4)


def test_gradients_come_back_to_the_pixel_they_left():
    images = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        value = t.apply([t.jitter(2)], images, tf.constant([[0.99, 0.5]] * 2))[0, 3, 4, 0]
    gradient = tape.gradient(value, images).numpy()
    assert np.argwhere(gradient).tolist() == [[0, 3, 6, 0]]


@pytest.mark.parametrize(
    "make", [lambda: t.jitter(0), lambda: t.jitter(1.5), lambda: t.rotate(0), lambda: t.scale(2, 1)]
)
def test_transforms_of_nothing_are_refused(make):
    with pytest.raises(ValueError, match="^Expected .* Received: "):
        make()
