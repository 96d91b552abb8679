"""Objectives are values: they add, subtract and scale as numbers do, and measure what they say."""

import numpy as np
import pytest
import tensorflow as tf

from tlkeras.visualize import objectives as o

IMAGES = np.random.default_rng(0).uniform(-0.5, 1.5, (3, 4, 4, 2)).astype(np.float32)


def value(objective, found=IMAGES):
    parts = [weight * term.measure(tf.constant(found), term.targets) for weight, term in objective.terms]
    return sum(parts).numpy()


def test_objectives_are_a_vector_space():
    a, b = o.total_variation(), o.energy()
    np.testing.assert_allclose(value(2 * a - b * 0.5), 2 * value(a) - 0.5 * value(b), rtol=1e-5)
    np.testing.assert_allclose(value(-(a + b)), -value(a) - value(b), rtol=1e-5)
    assert a.terms[0][0] == b.terms[0][0] == 1.0


def test_what_looks_at_the_model_measures_one_number_a_picture():
    np.testing.assert_allclose(value(o.channel("any", [1, 0, 1])), IMAGES.mean((1, 2))[range(3), [1, 0, 1]], rtol=1e-5)
    found = value(o.neuron("any", [(0, 1, 1), (2, 2, 0), (3, 0, 1)]))
    np.testing.assert_allclose(found, [IMAGES[0, 0, 1, 1], IMAGES[1, 2, 2, 0], IMAGES[2, 3, 0, 1]])
    found = value(o.direction("any", [[3, 4]] * 3))
    np.testing.assert_allclose(found, IMAGES.mean((1, 2)) @ [0.6, 0.8], rtol=1e-5)
    np.testing.assert_allclose(value(o.class_logit([1, 1, 0]), IMAGES[:, 0, 0]), IMAGES[range(3), 0, 0, [1, 1, 0]])


def test_penalties():
    step = np.zeros((1, 4, 4, 1), np.float32)
    step[:, :, 2:] = 1
    assert value(o.total_variation(), step) == pytest.approx([1 / 3])
    assert value(o.energy(), step) == pytest.approx([0.25])
    assert value(o.out_of_range(), step) == pytest.approx([0])
    assert value(o.out_of_range(), step * 3 - 1) == pytest.approx([1])


def test_a_value_that_is_not_asked_for_does_no_harm():
    broken = IMAGES.copy()
    broken[..., 0] = np.nan
    assert np.isfinite(value(o.channel("any", [1, 1, 1]), broken)).all()


def test_identities_name_a_target_whatever_the_others_are():
    (_, term), shape = o.neuron("any", [(0, 1, 1), (3, 3, 1)]).terms[0], (1, 4, 4, 2)
    assert term.identities(shape).tolist() == [3, 31]
    ((_, every),) = o.channel("any").terms
    assert every.resolved(shape).identities(shape).tolist() == [0, 1]
