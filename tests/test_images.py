"""Pictures as pixels and as spectra: the range, the start, and what a spectrum stands for."""

import numpy as np
import pytest
import tensorflow as tf

from tlkeras.visualize.images import Fourier, Pixels

SHAPES = [(8, 8, 1), (7, 9, 3), (6, 5, 2)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("parametrization", [Pixels(), Fourier(), Pixels(contrast=1.0), Fourier(contrast=30.0)])
def test_pictures_have_the_shape_and_stay_in_range(parametrization, shape):
    pictures = parametrization.picture(parametrization.start(0, tf.range(3), shape), shape).numpy()
    assert pictures.shape == (3, *shape) and pictures.dtype == np.float32
    assert pictures.min() >= 0 and pictures.max() <= 1


@pytest.mark.parametrize("parametrization", [Pixels(), Fourier()])
def test_the_start_is_grey_noise_of_ones_own(parametrization):
    shape = (16, 16, 1)
    pictures = parametrization.picture(parametrization.start(5, tf.constant([4, 1, 7]), shape), shape).numpy()
    alone = parametrization.picture(parametrization.start(5, tf.constant([7]), shape), shape).numpy()
    np.testing.assert_array_equal(pictures[2], alone[0])
    assert pictures.mean() == pytest.approx(0.5, abs=0.15)
    assert 0.1 < pictures.std() < 0.4
    assert len({picture.tobytes() for picture in pictures}) == 3


def test_a_spectrum_prefers_low_frequencies():
    shape = (32, 32, 1)
    fourier, pixels = (
        parametrization.picture(parametrization.start(0, tf.range(8), shape), shape).numpy()
        for parametrization in (Fourier(), Pixels())
    )
    rough = [np.abs(np.diff(x, axis=1)).mean() / x.std() for x in (fourier, pixels)]
    assert rough[0] < 0.7 * rough[1]


def test_colours_are_correlated_as_in_photographs():
    shape = (16, 16, 3)
    fourier = Fourier()
    colours = fourier.picture(fourier.start(0, tf.range(8), shape), shape).numpy().reshape(-1, 3)
    correlations = np.corrcoef(colours.T)
    assert correlations.min() > 0.5


def test_pixels_are_clipped_after_a_step_and_spectra_are_not():
    parameters = tf.constant([-2.0, 0.1, 0.7])
    np.testing.assert_allclose(Pixels().project(parameters), [-0.5, 0.1, 0.5])
    np.testing.assert_array_equal(Fourier().project(parameters), parameters)
