"""What only saves time: the fast way and the plain one agree, and each operation is the one that it stands for."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from l2t_helpers import ALIKE, PAIRS, dtype, images, networks, start

from tlkeras.l2t import LearningToTransfer
from tlkeras.l2t.algorithm import iteration
from tlkeras.l2t.fast import FastMatching, derivatives, winograd
from tlkeras.l2t.fast import matching as distances
from tlkeras.l2t.fast.network import folded
from tlkeras.models import vgg9
from tlkeras.models.batch_normalization import BatchNormalization

MATCHED = [*PAIRS, ("s2b1", "relu3")]
METHODS = {"scratch": ([], ALIKE), "ufm": (MATCHED, ALIKE), "ww": (MATCHED, {}), "www": (MATCHED, {"which": True})}


@pytest.fixture(scope="module")
def models():
    """Return a source and a target with maps and channels that winograd suits, in float64."""
    source, _ = networks(name="float64")
    with dtype("float64"):
        target = vgg9(3, (8, 8, 3), classifier_activation=None, blocks=((5,), (32, 33)))
    return source, target


def outcome(models, method, *, fast, count=2):
    """Return what iterations lead to, and see on the way."""
    pairs, asked = METHODS[method]
    parts = LearningToTransfer(*models, pairs, **asked, fast=fast).learner.parts
    state, (x, y) = start(parts), images(6)
    for step in range(count):
        rate = tf.constant(0.05, tf.float64)
        out = iteration(parts, state, tf.constant(x, tf.float64), tf.constant(y), rate, tf.constant(step + 1))
        state = out.new
    facts = [out.new, out.losses, out.gradients, out.statistics, out.meta_gradients or []]
    return tf.nest.flatten(facts + ([out.ahead.path, out.ahead.final_gradients] if out.ahead else []))


@pytest.mark.parametrize("method", METHODS)
def test_the_fast_way_and_the_plain_one_agree(models, method):
    found, plain = (outcome(models, method, fast=fast) for fast in (True, False))
    assert len(found) == len(plain) > 20
    for one, other in zip(found, plain, strict=True):
        assert float(tf.norm(one - other)) <= 1e-9 * max(float(tf.norm(other)), 1e-6)


def test_pairs_are_grouped_by_the_targets_layer_and_come_apart_again():
    matching = FastMatching(*networks(), PAIRS)
    assert [(group.target, group.pairs, group.channels) for group in matching.groups] == [
        ("relu1", (0, 1), (4, 6)),
        ("relu2", (2,), (4,)),
    ]
    parts = [tf.fill((2, 1, channels), float(number)) for number, channels in enumerate((4, 6, 4))]
    back = matching.by_pair(matching.joined(parts))
    assert all(np.array_equal(a, b) for a, b in zip(back, parts, strict=True))
    features = matching.source_features(tf.constant(images()[0], tf.float32))
    assert [tuple(goal.maps.shape) for goal in matching.goals(features)] == [(12, 64, 11), (12, 16, 4)]


GENERATOR = np.random.default_rng(0)


def normal(*shape, dtype="float64"):
    return tf.constant(GENERATOR.normal(size=shape), dtype)


def looks(function, values, directions):
    """Return the errors, the gradients of a curved loss, and what their product with `directions` is worth for each."""
    with tf.GradientTape() as outer:
        outer.watch(values)
        with tf.GradientTape() as inner:
            inner.watch(values)
            errors = function(*values)
            loss = tf.reduce_sum(tf.sin(errors))
        gradients = inner.gradient(loss, values)
    return [errors, *gradients, *outer.gradient(gradients, values, directions)]


def test_both_kinds_of_distance_are_the_mean_squared_distance():
    values, goal = [normal(2, 6, 3), normal(3, 4), normal(4)], normal(2, 6, 4)
    directions = [normal(*value.shape) for value in values]
    plain = looks(
        lambda x, kernel, bias: tf.reduce_mean((x @ kernel + bias - goal) ** 2, 1, keepdims=True), values, directions
    )
    places = looks(lambda *v: distances.by_places(*v, distances.Goal(goal), None), values, directions)
    products = looks(lambda *v: distances.by_products(*v, distances.with_products(goal)), values, directions)
    assert plain[0].shape == (2, 1, 4)
    for wanted, first, second in zip(plain, places, products, strict=True):
        np.testing.assert_allclose(first, wanted, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(second, wanted, rtol=1e-10, atol=1e-10)


def test_regions_weigh_the_places():
    values, goal, regions = [normal(2, 6, 3), normal(3, 4), normal(4)], normal(2, 6, 4), normal(5, 6)
    found = distances.by_places(*values, distances.Goal(goal), regions)
    squares = (values[0] @ values[1] + values[2] - goal) ** 2
    np.testing.assert_allclose(found, tf.einsum("rp,npc->nrc", regions, squares), rtol=1e-12)


def test_in_single_precision_products_lose_little_where_the_goal_is_nearly_met():
    x, kernel, bias = normal(2, 1024, 8), normal(8, 16), normal(16)
    goal = x @ kernel + bias + 0.1 * normal(2, 1024, 16)
    exact = distances.by_places(x, kernel, bias, distances.Goal(goal), None)
    single = [tf.cast(value, tf.float32) for value in (x, kernel, bias, goal)]
    found = distances.by_products(*single[:3], distances.with_products(single[3]))
    assert float(exact[0, 0, 0]) == pytest.approx(0.01, rel=0.2)
    np.testing.assert_allclose(found, exact, rtol=1e-2)


WEIGHTS = tf.constant(np.random.default_rng(1).uniform(size=(4, 5)))


def value_and_derivatives(function, x, direction):
    """Return value, gradient of a curved loss, and its product with the Hessian."""
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = function(x)
            loss = tf.reduce_sum(tf.sin(value))
        first = inner.gradient(loss, x)
    return value, first, outer.gradient(first, x, direction)


def pools(size):
    return (lambda x: derivatives.max_pool(x, size)), (lambda x: tf.nn.max_pool2d(x, size, size, "VALID"))


@pytest.mark.parametrize(
    ("ours", "plain", "shape"),
    [
        (derivatives.relu, tf.nn.relu, (3, 4)),
        (*pools((2, 2)), (2, 4, 6, 3)),
        (*pools((2, 2)), (2, 5, 7, 3)),
        (*pools((3, 1)), (1, 6, 4, 2)),
        (derivatives.mean_square, lambda x: tf.reduce_mean(x * x, axis=1, keepdims=True), (2, 5, 3)),
        (lambda x: derivatives.weighted_squares(x, WEIGHTS), lambda x: WEIGHTS @ (x * x), (2, 5, 3)),
        (derivatives.gram, lambda x: tf.einsum("npi,npj->nij", x, x), (2, 5, 3)),
    ],
)
def test_written_out_derivatives_are_the_operations(ours, plain, shape):
    generator = np.random.default_rng(0)
    x, direction = (tf.constant(generator.normal(size=shape)) for _ in range(2))
    for mine, theirs in zip(
        value_and_derivatives(ours, x, direction), value_and_derivatives(plain, x, direction), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)


def test_of_equal_values_one_is_chosen_as_tensorflow_does():
    x = tf.zeros((1, 2, 2, 1), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = derivatives.max_pool(x, (2, 2))
    np.testing.assert_array_equal(tf.reshape(tape.gradient(outputs, x), -1), [1, 0, 0, 0])


def shaken(model):
    """Give every variable of batch normalisation another value."""
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            for variable in layer.variables:
                variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    return model


def agrees(model, names, inputs):
    """Return the types of the layers of the folded model, after a look at its outputs."""
    expected = keras.Model(model.inputs[0], [model.get_layer(name).output for name in names])(inputs, training=False)
    twin = folded(model, names)
    pairs = zip(keras.tree.flatten(twin(inputs, training=False)), keras.tree.flatten(expected), strict=True)
    for found, wanted in pairs:
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    return [type(layer).__name__ for layer in twin.layers]


def test_a_residual_network_is_folded_whole():
    source = shaken(networks(name="float64")[0])
    left = agrees(source, ["s1b1", "s2b1"], images()[0].astype(float))
    assert left.count("_Folded") == sum(isinstance(layer, layers.BatchNormalization) for layer in source.layers) > 4
    assert "BatchNormalization" not in left and "Conv2D" not in left


def test_a_folded_network_follows_the_models_variables():
    source = networks()[0]
    inputs = images()[0].astype(np.float32)
    twin = folded(source, ["s1b1"])
    before = np.asarray(keras.tree.flatten(twin(inputs))[0])
    shaken(source)
    after = np.asarray(keras.tree.flatten(twin(inputs))[0])
    assert np.abs(after - before).max() > 0.1
    expected = keras.Model(source.input, source.get_layer("s1b1").output)(inputs, training=False)
    np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-4)


def normalized(convolution, normalization, *, also=False, sequential=False, training=None):
    inputs = keras.Input((6, 6, 3), dtype="float64")
    if sequential:
        return shaken(keras.Sequential([inputs, convolution, normalization]))
    x = convolution(inputs)
    y = normalization(x) if training is None else normalization(x, training=training)
    y = layers.Add(name="both", dtype="float64")([x, y]) if also else y
    return shaken(keras.Model(inputs, y))


@pytest.mark.parametrize(
    ("convolution", "normalization", "options", "is_folded"),
    [
        ({}, {}, {}, True),
        ({}, {}, {"sequential": True}, True),
        ({"use_bias": False, "strides": 2}, {"scale": False, "center": False}, {}, True),
        ({"groups": 3, "filters": 6}, {}, {}, True),
        ({"activation": "relu"}, {}, {}, False),
        ({}, {}, {"also": True}, False),
        ({}, {}, {"training": False}, True),
        ({}, {}, {"training": True}, False),
        ({}, {"axis": 1}, {}, False),
    ],
)
@pytest.mark.parametrize("kind", [layers.BatchNormalization, BatchNormalization])
def test_what_cannot_be_folded_stays(kind, convolution, normalization, options, is_folded):
    convolution = layers.Conv2D(**({"filters": 4, "kernel_size": 3, "dtype": "float64", "name": "conv"} | convolution))
    model = normalized(convolution, kind(name="bn", dtype="float64", **normalization), **options)
    inputs = np.random.default_rng(0).normal(size=(2, 6, 6, 3))
    name = "both" if options.get("also") else "bn"
    assert ("_Folded" in agrees(model, [name], inputs)) is is_folded


def test_a_convolution_that_is_a_feature_stays():
    convolution = layers.Conv2D(4, 3, dtype="float64", name="conv")
    model = normalized(convolution, BatchNormalization(name="bn", dtype="float64"))
    inputs = np.random.default_rng(0).normal(size=(2, 6, 6, 3))
    assert "_Folded" not in agrees(model, ["conv", "bn"], inputs)


def test_layers_that_are_called_twice_stay():
    convolution = layers.Conv2D(3, 3, padding="same", dtype="float64", name="conv")
    normalization = BatchNormalization(name="bn", dtype="float64")
    inputs = keras.Input((6, 6, 3), dtype="float64")
    x = normalization(convolution(normalization(convolution(inputs))))
    model = shaken(keras.Model(inputs, layers.Activation("relu", name="end", dtype="float64")(x)))
    assert "_Folded" not in agrees(model, ["end"], np.random.default_rng(0).normal(size=(2, 6, 6, 3)))


def drawn(height, width, channels=3, filters=2, seed=0):
    generator = np.random.default_rng(seed)
    shapes = (2, height, width, channels), (3, 3, channels, filters)
    return [tf.constant(generator.normal(size=shape)) for shape in shapes]


def convolution(images, kernel):
    return tf.nn.conv2d(images, kernel, 1, "SAME")


def both_derivatives(convolve, images, kernel, direction):
    """Return the gradient of a loss that is not linear in the outputs, and its product with the Hessian."""
    with tf.GradientTape() as outer:
        outer.watch([images, kernel])
        with tf.GradientTape() as inner:
            inner.watch([images, kernel])
            loss = tf.reduce_sum(tf.sin(convolve(images, kernel)))
        first = inner.gradient(loss, [images, kernel])
    return first, outer.gradient(first, [images, kernel], direction)


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (2, 2), (2, 1), (4, 4), (3, 5), (7, 2), (8, 8), (6, 8), (16, 16), (9, 14)]
)
def test_winograds_is_the_convolution(height, width):
    images, kernel = drawn(height, width)
    np.testing.assert_allclose(winograd.convolve(images, kernel), convolution(images, kernel), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("side", [2, 4, 5, 10])
def test_winograds_derivatives_are_the_convolutions(side):
    images, kernel = drawn(side, side)
    direction = drawn(side, side, seed=1)
    ours, plain = (both_derivatives(f, images, kernel, direction) for f in (winograd.convolve, convolution))
    for mine, theirs in zip(tf.nest.flatten(ours), tf.nest.flatten(plain), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)


def test_winograd_loses_little_in_single_precision():
    images, kernel = (tf.cast(x, tf.float32) for x in drawn(8, 8, 64, 64))
    exact = convolution(tf.cast(images, tf.float64), tf.cast(kernel, tf.float64)).numpy()
    found = winograd.convolve(images, kernel).numpy()
    assert found.dtype == np.float32
    assert np.abs(found - exact).max() < 1e-4 * np.abs(exact).max()


def test_winograd_takes_any_number_of_images_in_a_graph():
    _, kernel = drawn(4, 4)
    run = tf.function(
        lambda x: winograd.convolve(x, kernel), input_signature=[tf.TensorSpec((None, 4, 4, 3), "double")]
    )
    for count in (1, 5):
        images = tf.random.stateless_normal((count, 4, 4, 3), (0, count), dtype=tf.float64)
        np.testing.assert_allclose(run(images), convolution(images, kernel), atol=1e-12)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"strides": 2}, (None, 8, 8, 64)),
        ({"dilation_rate": 2}, (None, 8, 8, 64)),
        ({"padding": "valid"}, (None, 8, 8, 64)),
        ({"kernel_size": 5}, (None, 8, 8, 64)),
        ({"groups": 2}, (None, 8, 8, 64)),
        ({"filters": 8}, (None, 8, 8, 64)),
        ({"dtype": "mixed_float16"}, (None, 8, 8, 64)),
        ({}, (None, 8, 8, 3)),
        ({}, (None, 32, 32, 64)),
        ({}, (None, None, None, 64)),
    ],
)
def test_winograd_leaves_other_layers_alone(options, shape):
    layer = keras.layers.Conv2D(**{"filters": 64, "kernel_size": 3, "padding": "same", **options})
    assert not winograd.suits(layer, shape)


def test_winograd_suits_small_maps_of_many_channels():
    layer = keras.layers.Conv2D(64, 3, padding="same")
    assert winograd.suits(layer, (None, 8, 8, 32)) and winograd.suits(layer, (None, 2, 4, 64))
