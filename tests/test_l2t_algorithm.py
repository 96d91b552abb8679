"""Algorithm 1: every coefficient, sign, step and order, on a toy with odd numbers, small networks and golden ones."""

import dataclasses
import math
from pathlib import Path

import l2t_oracle
import numpy as np
import pytest
import tensorflow as tf
from l2t_helpers import PAIRS, images, networks, start

from tlkeras.l2t import LearningToTransfer, Settings
from tlkeras.l2t import algorithm as l2t
from tlkeras.l2t.plan import ADAM_EPSILON

GOLDEN = Path(__file__).parent / "golden"
ODD = Settings(beta=0.7, lookahead=2, momentum=0.8, weight_decay=0.03, meta_rate=0.02, meta_decay=0.3)
RATE = tf.constant(0.3, tf.float64)
GENERATOR = np.random.default_rng(0)
IMAGES, LABELS = tf.constant(GENERATOR.normal(size=(5, 3))), tf.constant([0, 1, 2, 1, 0])
SHAPES = [(3, 4), (4, 3), (4, 5), (5,)]  # of a hidden layer, a classifier and a branch


def draws(shapes, scale=1.0):
    return [tf.constant(GENERATOR.normal(0, scale, shape)) for shape in shapes]


class Toy:
    """Network, matching and meta-networks in a few lines: a hidden layer, and two pairs with two and three channels."""

    trainable = (None, None)

    def __init__(self, pairs=True):
        self.pairs = pairs

    def __call__(self, weights, statistics, images):
        hidden = tf.tanh(images @ weights[0])
        return [hidden], hidden @ weights[1], [0.9 * statistics[0] + tf.reduce_mean(hidden, 0)]

    def source_features(self, images):
        return {"source": tf.cos(2 * images)}

    def goals(self, features):
        return [tf.concat([features["source"], features["source"][:, :2]], 1)]

    def errors(self, features, branches, goals):
        return [(features[0] @ branches[0] + branches[1] - goals[0]) ** 2] if self.pairs else []

    def by_pair(self, errors):
        return [part for x in errors for part in tf.split(x, [2, 3], axis=1)]

    def weights(self, parameters, features, factor):
        if not parameters:
            return [factor * tf.ones((5, 5), tf.float64)] if self.pairs else []
        return [factor * tf.nn.softplus(features["source"] @ parameters[0] + parameters[1])]


WEIGHTS, VELOCITIES = draws(SHAPES, 0.5), draws(SHAPES, 0.2)
PHI, STATISTICS = draws([(3, 5), (5,)], 0.5), draws([(4,)])
MOMENTS = (draws([(3, 5), (5,)], 0.01), [tf.square(x) for x in draws([(3, 5), (5,)], 0.01)])


def toy(settings=ODD, meta=True, pairs=True):
    """Return parts and state of the toy."""
    both = Toy(pairs)
    state = l2t.State(WEIGHTS, VELOCITIES, STATISTICS, PHI if meta else [], MOMENTS if meta else ([], []))
    return l2t.Parts(both, both, both, True, settings), state


def iterated(settings=ODD, step=3, **options):
    parts, state = toy(settings, **options)
    return l2t.iteration(parts, state, IMAGES, LABELS, RATE, tf.constant(step))


def losses_of(theta, phi, settings=ODD, meta=True):
    """Return L_org, the terms of L_wfm by channel, and the hidden layer, written down once more."""
    hidden = tf.tanh(IMAGES @ theta[0])
    chosen = tf.reduce_sum(tf.nn.softmax(hidden @ theta[1]) * tf.one_hot(LABELS, 3, dtype=tf.float64), 1)
    source = tf.cos(2 * IMAGES)
    errors = (hidden @ theta[2] + theta[3] - tf.concat([source, source[:, :2]], 1)) ** 2
    weights = tf.nn.softplus(source @ phi[0] + phi[1]) if meta else 1.0
    return -tf.reduce_mean(tf.math.log(chosen)), settings.beta * tf.reduce_mean(weights * errors, 0), hidden


def gradient_step(theta, velocity, loss, settings=ODD):
    """Return theta and velocity after a step that gradients flow through."""
    with tf.GradientTape() as tape:
        tape.watch(theta)
        value = loss(theta)
    gradients = tape.gradient(value, theta, unconnected_gradients="zero")
    velocity = [
        settings.momentum * v + g + settings.weight_decay * w
        for v, g, w in zip(velocity, gradients, theta, strict=True)
    ]
    return [w - RATE * v for w, v in zip(theta, velocity, strict=True)], velocity, value


def close(found, expected, tolerance=1e-11):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * 1e-2)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_the_meta_gradient_is_that_of_the_steps_differentiated_as_they_stand(count):
    settings = dataclasses.replace(ODD, lookahead=count)
    out = iterated(settings)
    matching, path = [], []
    with tf.GradientTape() as tape:
        tape.watch(PHI)
        theta, velocity = out.new.weights, out.new.velocities
        for _ in range(count):
            theta, velocity, loss = gradient_step(theta, velocity, lambda t: tf.reduce_sum(losses_of(t, PHI)[1]))
            matching.append(loss)
            path.append((theta, velocity))
        theta, velocity, before = gradient_step(theta, velocity, lambda t: losses_of(t, PHI)[0])
        path.append((theta, velocity))
        with tf.GradientTape() as last:
            last.watch(theta)
            after = losses_of(theta, PHI)[0]
        final = last.gradient(after, theta, unconnected_gradients="zero")
    expected = tape.gradient(after, PHI, unconnected_gradients="zero")
    close(out.meta_gradients, expected)
    close(tf.nest.flatten(out.ahead.path), tf.nest.flatten(path))
    close(out.ahead.final_gradients, final)
    close([out.losses["lookahead"], out.losses["before"], out.losses["after"]], [matching, before, after])
    assert out.losses["lookahead"].dtype == tf.float64 and (np.abs(expected[0]).max() > 1e-3) == (count > 0)


@pytest.mark.parametrize("meta", [True, False])
def test_the_training_step_descends_on_both_losses_and_is_all_that_the_weights_keep(meta):
    out = iterated(meta=meta)
    _, terms, hidden = losses_of(WEIGHTS, PHI, meta=meta)

    def total(theta):
        entropy, matching, _ = losses_of(theta, PHI, meta=meta)
        return entropy + tf.reduce_sum(matching)

    theta, velocity, loss = gradient_step(WEIGHTS, VELOCITIES, total)
    close(out.new.weights + out.new.velocities, theta + velocity)
    close(out.gradients, [v - 0.8 * u - 0.03 * w for v, u, w in zip(velocity, VELOCITIES, WEIGHTS, strict=True)])
    close([out.losses["matching"]], [[tf.reduce_sum(terms[:2]), tf.reduce_sum(terms[2:])]])
    close([out.losses["cross_entropy"] + tf.reduce_sum(out.losses["matching"])], [loss])
    hits = np.argmax(hidden @ WEIGHTS[1], 1) == LABELS.numpy()
    assert 0 < float(out.losses["accuracy"]) == hits.mean() < 1
    once = 0.9 * STATISTICS[0] + tf.reduce_mean(hidden, 0)
    close(out.statistics, [once])
    assert set(out.losses) == {"cross_entropy", "matching", "accuracy"} | (
        {"lookahead", "before", "after"} if meta else set()
    )
    if not meta:
        assert out.meta_gradients is None and out.ahead is None and out.new.meta == [] and out.new.moments == ([], [])
        close(out.new.statistics, [once])


@pytest.mark.parametrize("twice", [True, False])
def test_the_moving_statistics_are_updated_twice_or_once(twice):
    out = iterated(dataclasses.replace(ODD, double_update=twice))
    again = 0.9 * out.statistics[0] + tf.reduce_mean(tf.tanh(IMAGES @ out.new.weights[0]), 0)
    close(out.ahead.statistics, [again])
    close(out.new.statistics, [again] if twice else out.statistics)


def test_the_meta_networks_take_a_step_of_adam():
    out = iterated(step=4)
    meta, moments = l2t.adam(PHI, MOMENTS, out.meta_gradients, tf.constant(4), ODD)
    close(tf.nest.flatten((out.new.meta, out.new.moments)), tf.nest.flatten((meta, moments)))


def test_without_pairs_only_the_cross_entropy_counts():
    out = iterated(meta=False, pairs=False)
    theta, velocity, entropy = gradient_step(WEIGHTS, VELOCITIES, lambda t: losses_of(t, PHI)[0])
    close(out.new.weights + out.new.velocities, theta + velocity)
    close([out.losses["cross_entropy"]], [entropy])
    assert out.losses["matching"].shape == (0,) and out.losses["matching"].dtype == tf.float64


def test_sgd_keeps_the_rate_out_of_the_velocity():
    settings = Settings(momentum=0.9, weight_decay=0.01)
    one, half, two = (tf.constant([value], tf.float64) for value in (1.0, 0.5, 2.0))
    weights, velocities = l2t.sgd([one, two], [half, one], [two, half], tf.constant(0.1, tf.float64), settings)
    close(velocities, [[0.45 + 2 + 0.01], [0.9 + 0.5 + 0.02]])
    close(weights, [[1 - 0.1 * 2.46], [2 - 0.1 * 1.42]])


def test_adams_decay_is_part_of_the_gradient():
    settings = Settings(meta_rate=0.1, meta_decay=0.25)
    values = [tf.constant([value], tf.float64) for value in (2.0, 0.0, 0.0, 0.5)]
    weights, (first, second) = l2t.adam([values[0]], ([values[1]], [values[2]]), [values[3]], tf.constant(1), settings)
    close([*first, *second, *weights], [[0.1], [0.001], [2 - 0.1 / (1 + 1e-8)]])


def test_adam_corrects_both_moments_and_adds_epsilon_after_that():
    settings = Settings(meta_rate=0.01, meta_decay=0.5)
    values = [tf.constant([value], tf.float64) for value in (1e-7, 2e-8, 9e-16, 3e-8)]
    weights, (first, second) = l2t.adam([values[0]], ([values[1]], [values[2]]), [values[3]], tf.constant(3), settings)
    gradient = 3e-8 + 0.5 * 1e-7
    mean, square = 0.9 * 2e-8 + 0.1 * gradient, 0.999 * 9e-16 + 0.001 * gradient**2
    step = 0.01 * (mean / (1 - 0.9**3)) / (math.sqrt(square / (1 - 0.999**3)) + 1e-8)
    close([*first, *second, *weights], [[mean], [square], [1e-7 - step]], 1e-10)
    assert step == pytest.approx(1.8e-3, rel=0.05) and ADAM_EPSILON == 1e-8


def test_adam_counts_in_double_precision():
    single = [tf.constant([value]) for value in (0.0, 0.0, 0.0, 1.0)]
    settings = Settings(meta_rate=1.0, meta_decay=0.0)
    weights, _ = l2t.adam([single[0]], ([single[1]], [single[2]]), [single[3]], tf.constant(1), settings)
    assert weights[0].dtype == tf.float32 and float(weights[0][0]) == pytest.approx(-1, abs=3e-7)


def test_lists_of_different_lengths_are_refused():
    one, two = [IMAGES], [IMAGES, IMAGES]
    settings, step = Settings(), tf.constant(1)
    for calls in (
        lambda: l2t.sgd(two, one, one, RATE, settings),
        lambda: l2t.sgd(one, two, one, RATE, settings),
        lambda: l2t.adam(two, (one, one), one, step, settings),
        lambda: l2t.adam(one, (two, two), one, step, settings),
        lambda: l2t.adam(one, (one, two), one, step, settings),
        lambda: l2t.adam(two, (one, one), two, step, settings),
        lambda: l2t.matching_loss(two, one),
    ):
        with pytest.raises(ValueError, match=r"zip\(\) argument \d is (longer|shorter)"):
            calls()


def test_the_cross_entropy_is_the_mean_over_the_images():
    outputs = tf.constant([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], tf.float64)
    labels = tf.constant([1, 0])
    expected = np.mean([-2 + math.log(sum(map(math.exp, (1, 2, 0.5)))), math.log(sum(map(math.exp, (0, -1, 3))))])
    close([l2t.cross_entropy(outputs, labels, True)], [expected])
    close([l2t.cross_entropy(tf.nn.softmax(outputs), labels, False)], [expected])
    nothing = tf.constant([[0.0, 1.0]], tf.float64)
    close([l2t.cross_entropy(nothing, tf.constant([0]), False)], [30 * math.log(10)])


def test_the_settings_are_the_reports():
    expected = {
        "beta": 0.5,
        "lookahead": 2,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "meta_rate": 1e-4,
        "meta_decay": 1e-4,
        "double_update": True,
    }
    assert dataclasses.asdict(Settings()) == expected and Settings(lookahead=0).lookahead == 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().beta = 1.0
    with pytest.raises(ValueError, match=r"^Expected 0 or more lookahead steps\. Received: lookahead=-1$"):
        Settings(lookahead=-1)


@pytest.mark.parametrize("options", [{}, {"what": False}, {"which": True}], ids=["ww", "where alone", "www"])
def test_the_meta_gradient_of_networks_agrees_with_finite_differences(options):
    """The training step depends on the meta-networks, too, but Algorithm 1 looks ahead from where it leads to."""
    parts = LearningToTransfer(*networks(name="float64"), PAIRS, **options).learner.parts
    old, generator = start(parts), np.random.default_rng(1)
    x, y = images(6)
    x, y, rate = tf.constant(x, tf.float64), tf.constant(y), tf.constant(0.05, tf.float64)
    out = l2t.iteration(parts, old, x, y, rate, tf.constant(1))
    features = parts.matching.source_features(x)
    batch, after_line_4 = l2t.Batch(x, y, parts.matching.goals(features)), out.new._replace(statistics=out.statistics)

    def after(meta):
        weighting = parts.meta.weights(meta, features, tf.constant(0.5 / 6, tf.float64))
        return float(l2t.lookahead(parts, after_line_4, batch, weighting, rate).losses["after"])

    direction = [tf.constant(generator.normal(size=v.shape)) for v in old.meta]
    size = 1e-4 / float(tf.linalg.global_norm(direction))
    ends = [after([v + sign * size * d for v, d in zip(old.meta, direction, strict=True)]) for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * size)
    expected = sum(float(tf.reduce_sum(g * d)) for g, d in zip(out.meta_gradients, direction, strict=True))
    assert expected == pytest.approx(slope, rel=1e-4)
    assert abs(slope) > 1e-6


def test_an_iteration_gives_the_numbers_of_the_official_code():
    """The first iteration of "what, where and which", on the networks of the report."""
    oracle = l2t_oracle.read(GOLDEN / "l2t.npz")
    batch = {name: oracle.pop(name) for name in ("x0", "y0")}
    case = l2t_oracle.Case("www_lr001", l2t_oracle.generator(GOLDEN))
    tf.config.run_functions_eagerly(True)  # tracing takes longer than one iteration
    try:
        found = case.found(batch, oracle["lr"], steps=1)
    finally:
        tf.config.run_functions_eagerly(False)
    errors = l2t_oracle.errors(found, oracle)
    assert len(errors) > 30
    assert max(errors.values()) < l2t_oracle.LIMIT, errors


def test_a_wrong_number_is_seen():
    oracle = {"it0/meta_grad/what/0/bias": np.ones(3), "it0/meta_grad/what/1/bias": np.ones(3), "lr": np.array(1.0)}
    found = {name: value.copy() for name, value in oracle.items()}
    assert l2t_oracle.errors(found, oracle) == {"it0/meta_grad/what/#/bias": 0.0}
    found["it0/meta_grad/what/1/bias"][0] += 1e-6
    assert l2t_oracle.errors(found, oracle)["it0/meta_grad/what/#/bias"] > 1e-7
    del found["it0/meta_grad/what/0/bias"]
    assert np.isnan(l2t_oracle.errors(found, oracle)["it0/meta_grad/what/#/bias"])
