"""Recalibrated statistics are those of the images, and nothing else of the model changes."""

import keras
import numpy as np
import pytest
from helpers import images, randomised, tiny

from tlkeras.transfer import recalibrate

STATISTICS = ("moving_mean", "moving_variance")


@pytest.fixture
def model():
    """Return two normalisations, of pixels and of features: the first sees the images themselves."""
    pixels = keras.Input((4, 4, 2))
    x = keras.layers.BatchNormalization(name="first", momentum=0.9)(pixels)
    x = keras.layers.Dense(3, activation="relu", name="between")(x)
    x = keras.layers.BatchNormalization(name="second")(x)
    return randomised(keras.Model(pixels, x))


@pytest.fixture
def pixels():
    return images(10, shape=(4, 4, 2)).astype(np.float32)


def statistics(model, name):
    layer = model.get_layer(name)
    return np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)


def test_one_batch_gives_exactly_its_mean_and_variance(model, pixels):
    assert recalibrate(model, pixels) == 2
    mean, variance = statistics(model, "first")
    np.testing.assert_allclose(mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, pixels.var(axis=(0, 1, 2)), rtol=1e-4)


def test_a_deeper_layer_sees_normalised_inputs_afterwards(model, pixels):
    recalibrate(model, pixels)
    second = model.get_layer("second")
    outputs = np.asarray(model(pixels, training=False)).reshape(-1, 3)
    np.testing.assert_allclose(outputs.mean(axis=0), second.beta, atol=1e-3)
    np.testing.assert_allclose(outputs.std(axis=0), second.gamma, rtol=1e-2)
    np.testing.assert_allclose(outputs, np.asarray(model(pixels, training=True)).reshape(-1, 3), atol=1e-3)


def test_several_batches_give_their_average(model, pixels):
    recalibrate(model, pixels, batch_size=5)
    mean, variance = statistics(model, "first")
    halves = pixels[:5], pixels[5:]
    np.testing.assert_allclose(mean, np.mean([half.mean(axis=(0, 1, 2)) for half in halves], axis=0), rtol=1e-5)
    np.testing.assert_allclose(variance, np.mean([half.var(axis=(0, 1, 2)) for half in halves], axis=0), rtol=1e-4)


def test_no_batch_is_much_smaller_than_the_others(model, pixels):
    recalibrate(model, pixels, batch_size=9)  # 5 + 5, not 9 + 1
    expected = statistics(model, "first")
    recalibrate(model, pixels, batch_size=5)
    np.testing.assert_array_equal(statistics(model, "first"), expected)


def test_old_statistics_leave_no_trace(model, pixels):
    recalibrate(model, pixels, batch_size=5)
    expected = model.get_weights()
    for name in ("first", "second"):
        layer = model.get_layer(name)
        layer.moving_mean.assign(layer.moving_mean + 1000)
        layer.moving_variance.assign(layer.moving_variance * 1000)
    recalibrate(model, pixels, batch_size=5)
    for old, new in zip(expected, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_nothing_but_moving_statistics_changes():
    model = randomised(tiny())
    model.get_layer("batch_norm_1").trainable = False
    before = {weight.path: np.array(weight) for weight in model.weights}
    assert recalibrate(model, images()) == 2
    changed = {weight.path for weight in model.weights if not np.array_equal(before[weight.path], weight)}
    assert changed == {path for path in before if path.endswith(STATISTICS)}
    assert [model.get_layer(f"batch_norm_{i}").trainable for i in (1, 2)] == [False, True]
    assert [model.get_layer(f"batch_norm_{i}").momentum for i in (1, 2)] == [0.99, 0.99]


def test_settings_are_restored_after_an_error(model):
    model.get_layer("second").trainable = False
    with pytest.raises(ValueError):
        recalibrate(model, images(4, shape=(3, 3, 5)))
    layers = model.get_layer("first"), model.get_layer("second")
    assert [(layer.momentum, layer.trainable) for layer in layers] == [(0.9, True), (0.99, False)]


@pytest.mark.parametrize("count", [0, 1])
def test_one_image_is_not_enough(model, pixels, count):
    with pytest.raises(ValueError, match=rf"at least 2 images\. Received: {count}$"):
        recalibrate(model, pixels[:count])


def test_a_model_without_normalisation_is_left_alone():
    pixels = keras.Input((2,))
    assert recalibrate(keras.Model(pixels, keras.layers.Dense(2)(pixels)), np.full((4, 2), 9, np.uint8)) == 0
