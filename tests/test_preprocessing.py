"""Preprocessing inside a model: each mode's numbers, its input untouched, and the same network twice."""

import keras
import numpy as np
import pytest

from tlkeras.models.layers import MODES, converted, preprocessed

IMAGE = np.array([[[[255, 128, 0]]]], np.uint8)


def model_of(mode, shape=(1, 1, 3)):
    images = keras.Input(shape, name="image")
    return keras.Model(images, preprocessed(images, mode), name="model")


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("unit", [1.0, 128 / 255, 0.0]),
        ("caffe", [0 - 104.0, 128 - 117.0, 255 - 123.0]),
        ("torch", [(1 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, -0.406 / 0.225]),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_each_mode_and_its_input_untouched(mode, expected, dtype):
    images = IMAGE.astype(dtype)
    np.testing.assert_allclose(model_of(mode)(images)[0, 0, 0], expected, rtol=1e-5)
    np.testing.assert_array_equal(images, IMAGE)


def test_one_number_is_for_any_channels_and_three_are_for_three():
    np.testing.assert_allclose(model_of("unit", (1, 1, 2))(IMAGE[..., 1:])[0, 0, 0], [128 / 255, 0])
    with pytest.raises(ValueError, match=r"3 channels .* Received: shape=\(None, 4, 4, 1\)$"):
        model_of("torch", (4, 4, 1))


@pytest.mark.parametrize("mode", MODES)
def test_two_models_of_a_process_are_of_one_description(mode):
    """Or features that were cached for one would never be found for the next."""
    assert model_of(mode).get_config() == model_of(mode).get_config()


@pytest.fixture
def float64():
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("wanted", MODES)
@pytest.mark.parametrize("trained", MODES)
@pytest.mark.usefixtures("float64")
def test_a_converted_first_layer_does_the_same_to_raw_images(trained, wanted):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (2, 5, 5, 3)).astype(np.float32)
    kernel, bias = generator.normal(size=(3, 3, 3, 4)), generator.normal(size=4)

    def outputs(mode, kernel, bias):
        return keras.ops.conv(model_of(mode, (5, 5, 3))(images), kernel) + bias

    expected = outputs(trained, kernel, bias)
    np.testing.assert_allclose(
        outputs(wanted, *converted(kernel, bias, trained, wanted)), expected, rtol=1e-9, atol=1e-9
    )
