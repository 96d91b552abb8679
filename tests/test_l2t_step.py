"""The meta-gradient is exact, the lookahead leaves no trace, and the parts that are off change nothing."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from l2t_helpers import PAIRS, images, networks

from tlkeras.l2t import LearningToTransfer, Settings
from tlkeras.l2t.lookahead import lookahead
from tlkeras.l2t.optimizers import adam, sgd
from tlkeras.l2t.parts import Batch
from tlkeras.l2t.step import iteration

RATE = tf.constant(0.05, tf.float64)


def learner(seed=0, **options):
    """Return a learner in float64, whose meta-networks and velocities are not at their first values."""
    source, target = networks(name="float64")
    made = LearningToTransfer(source, target, PAIRS, **options).learner
    generator = np.random.default_rng(seed)
    for variable in made.variables.meta:
        variable.assign(variable + generator.normal(0, 0.1, variable.shape))
    for variable in made.variables.velocities:
        variable.assign(generator.normal(0, 0.01, variable.shape))
    return made


def done(made, **changes):
    """Return the outcome of an iteration, with some variables of the state replaced."""
    old = tf.nest.map_structure(tf.convert_to_tensor, made.variables)._replace(**changes)
    x, y = images(6)
    return iteration(made.parts, old, tf.constant(x, tf.float64), tf.constant(y), RATE, tf.constant(1))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"what": False},
        {"which": True},
        {"which": True, "which_input": "pooled"},
        {"which": True, "which_input": "map"},
    ],
    ids=["ww", "where alone", "www", "pooled", "map"],
)
def test_the_meta_gradient_agrees_with_finite_differences(options):
    """The training step depends on the meta-networks, too, but Algorithm 1 looks ahead from where it leads to."""
    made = learner(**options)
    found, parts, (x, y) = done(made), made.parts, images(6)
    features = parts.matching.source_features(tf.constant(x, tf.float64))
    batch = Batch(tf.constant(x, tf.float64), tf.constant(y), parts.matching.goals(features))
    start = found.new._replace(state=found.state)

    def after(meta):
        weighting = parts.meta.weights(meta, features, tf.constant(0.5 / 6, tf.float64))
        return float(lookahead(parts, start, batch, weighting, RATE).losses["after"])

    meta = [tf.convert_to_tensor(v) for v in made.variables.meta]
    generator = np.random.default_rng(1)
    direction = [tf.constant(generator.normal(size=v.shape)) for v in meta]
    size = 1e-4 / float(tf.linalg.global_norm(direction))
    ends = [after([v + sign * size * d for v, d in zip(meta, direction, strict=True)]) for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * size)
    expected = sum(float(tf.reduce_sum(g * d)) for g, d in zip(found.meta_gradients, direction, strict=True))
    assert expected == pytest.approx(slope, rel=1e-4)
    assert abs(slope) > 1e-6


def test_the_lookahead_is_rolled_back():
    made = learner()
    out = done(made)
    old = tf.nest.map_structure(tf.convert_to_tensor, made.variables)
    settings = made.parts.settings
    weights, velocities = sgd(
        old.weights, old.velocities, out.gradients, rate=RATE, momentum=settings.momentum, decay=settings.weight_decay
    )
    for found, expected in ((out.new.weights, weights), (out.new.velocities, velocities)):
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert not np.array_equal(out.path[0][0][0], weights[0])


def test_the_classifier_moves_in_matching_steps_although_its_gradient_is_zero():
    made = learner()
    kernel = [v.path for v in made.parts.network.trainable].index("fc/kernel")
    out = done(made)
    before, velocity = out.new.weights[kernel], out.new.velocities[kernel]
    expected = before - RATE * (0.9 * velocity + 1e-4 * before)
    np.testing.assert_allclose(out.path[0][0][kernel], expected, rtol=1e-12)


def test_without_matching_steps_there_is_nothing_to_learn_from():
    made = learner()
    made.parts = made.parts._replace(settings=Settings(lookahead=0))
    out = done(made)
    assert not any(np.asarray(gradient).any() for gradient in out.meta_gradients)
    assert out.losses["lookahead"].shape == (0,)


@pytest.mark.parametrize("twice", [True, False])
def test_the_moving_statistics_are_updated_twice_or_once(twice):
    made = learner()
    made.parts = made.parts._replace(settings=Settings(double_update=twice))
    out = done(made)
    same = [np.array_equal(a, b) for a, b in zip(out.state, out.new.state, strict=True)]
    assert all(same) != twice


def test_without_questions_the_weights_are_those_of_ufm():
    made = learner(what=False, where=False)
    out = done(made)
    assert set(out.losses) == {"cross_entropy", "matching", "accuracy"}
    x = tf.constant(images(6)[0], tf.float64)
    parts, features = made.parts, made.parts.matching.source_features(x)
    weights = [tf.convert_to_tensor(v) for v in made.variables.weights]
    own = len(parts.network.trainable)
    maps, _, _ = parts.network(weights[:own], [tf.convert_to_tensor(v) for v in parts.network.state], x)
    for number, (layer, place) in enumerate([(0, 0), (1, 0), (0, 1)]):  # PAIRS, by layer of source and target
        goal = features[("s1b1", "s2b1")[layer]]
        goal = tf.image.resize(goal, maps[place].shape[1:3])  # float32
        kernel, bias = weights[own + 2 * number : own + 2 * number + 2]
        error = tf.reduce_mean(tf.square(tf.cast(goal, tf.float64) - (maps[place] @ kernel + bias)))
        assert float(out.losses["matching"][number]) == pytest.approx(0.5 * float(error), rel=1e-5)


def test_a_beta_of_zero_trains_like_scratch():
    source, target = networks(name="float64")
    settings = dataclasses.replace(Settings(), beta=0.0)
    off = done(LearningToTransfer(source, target, PAIRS, what=False, where=False, settings=settings).learner)
    scratch = done(LearningToTransfer(source, target, [], what=False, where=False).learner)
    for a, b in zip(off.gradients, scratch.gradients, strict=False):
        np.testing.assert_allclose(a, b, atol=1e-15)


def test_keras_batch_normalisation_in_a_target_is_differentiated_rightly():
    import keras

    from tlkeras.models.batch_normalization import BatchNormalization

    source, target = networks(name="float64")
    theirs = keras.models.clone_model(
        target,
        clone_function=lambda layer: (
            keras.layers.BatchNormalization.from_config(layer.get_config())
            if isinstance(layer, BatchNormalization)
            else layer.__class__.from_config(layer.get_config())
        ),
    )
    theirs.set_weights(target.get_weights())
    assert type(theirs.get_layer("bn1")) is keras.layers.BatchNormalization
    mine, foreign = (done(LearningToTransfer(source, model, PAIRS).learner) for model in (target, theirs))
    for a, b in zip(mine.meta_gradients, foreign.meta_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-18)


def test_sgd_keeps_the_rate_out_of_the_velocity():
    one, half = tf.constant([1.0]), tf.constant([0.5])
    weights, velocities = sgd([one], [half], [tf.constant([2.0])], rate=tf.constant(0.1), momentum=0.9, decay=0.01)
    assert float(velocities[0][0]) == pytest.approx(0.9 * 0.5 + 2 + 0.01)
    assert float(weights[0][0]) == pytest.approx(1 - 0.1 * 2.46)


def test_adams_decay_is_part_of_the_gradient():
    weights, (first, second) = adam(
        [tf.constant([2.0])], ([tf.zeros(1)], [tf.zeros(1)]), [tf.constant([0.5])], tf.constant(1), rate=0.1, decay=0.25
    )
    assert float(first[0][0]) == pytest.approx(0.1 * 1.0)
    assert float(second[0][0]) == pytest.approx(0.001 * 1.0)
    assert float(weights[0][0]) == pytest.approx(2 - 0.1)
