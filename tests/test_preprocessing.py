"""The preprocessing layer: each mode's numbers, its input untouched, and saved with the model."""

import keras
import numpy as np
import pytest

from tlkeras.models.layers import MODES, Preprocessing, converted

IMAGE = np.array([[[[255, 128, 0]]]], np.uint8)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("unit", [1.0, 128 / 255, 0.0]),
        ("caffe", [0 - 104.0, 128 - 117.0, 255 - 123.0]),
        ("torch", [(1 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, -0.406 / 0.225]),
    ],
)
def test_each_mode(mode, expected):
    np.testing.assert_allclose(Preprocessing(mode)(IMAGE)[0, 0, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_float_input_is_not_overwritten(mode):
    images = IMAGE.astype(np.float32)
    Preprocessing(mode)(images)
    np.testing.assert_array_equal(images, IMAGE)


def test_survives_saving(tmp_path):
    inputs = keras.Input((1, 1, 3))
    model = keras.Model(inputs, Preprocessing("caffe")(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(IMAGE), model(IMAGE))


def test_unknown_mode_and_wrong_channels():
    with pytest.raises(ValueError, match="Received: mode='bgr'"):
        Preprocessing("bgr")
    with pytest.raises(ValueError, match="3 channels"):
        Preprocessing("unit")(np.zeros((1, 4, 4, 1), np.float32))


@pytest.mark.parametrize("wanted", MODES)
@pytest.mark.parametrize("trained", MODES)
def test_a_converted_first_layer_does_the_same_to_raw_images(trained, wanted):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (2, 5, 5, 3)).astype(np.float32)
    kernel, bias = generator.normal(size=(3, 3, 3, 4)), generator.normal(size=4)

    def outputs(mode, kernel, bias):
        return keras.ops.conv(Preprocessing(mode, dtype="float64")(images), kernel) + bias

    expected = outputs(trained, kernel, bias)
    np.testing.assert_allclose(
        outputs(wanted, *converted(kernel, bias, trained, wanted)), expected, rtol=1e-9, atol=1e-9
    )
