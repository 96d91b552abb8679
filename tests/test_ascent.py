"""Pictures climb, the optimum is reached where it is known, a picture has no neighbours, and nothing else moves."""

import keras
import numpy as np
import pytest
from helpers import tiny

from tlkeras.visualize import Fourier, NotFiniteError, Pixels, activation_maximization, ascent, maximize, prepare
from tlkeras.visualize import objectives as o
from tlkeras.visualize import transforms as t

KERNEL = np.array([[1.0, -2.0, 0.5], [-1.0, 3.0, -0.5], [2.0, -0.5, 1.0]], np.float32)


@pytest.fixture(scope="module")
def model():
    return tiny()


@pytest.fixture(scope="module")
def run(model):
    """The ascent of every channel of conv_2, compiled once for all tests."""
    return prepare(model, o.channel("conv_2"))


def hand_made(side=6):
    """One 3x3 filter over 6x6 pixels, no bias: its maximum is white where the kernel is positive."""
    inputs = keras.Input((side, side, 1))
    convolution = keras.layers.Conv2D(1, 3, use_bias=False, name="filter")
    model = keras.Model(inputs, convolution(inputs))
    convolution.set_weights([KERNEL[..., None, None]])
    return model


def test_pixels_and_spectra_reach_the_optimum_of_one_place():
    objective = o.channel("filter", 0)
    pixels = maximize(hand_made(3), objective)
    np.testing.assert_array_equal(pixels.images[0, ..., 0], 255 * (KERNEL > 0))
    assert pixels.after[0] == pytest.approx(255 * KERNEL[KERNEL > 0].sum())
    fourier = maximize(hand_made(3), objective, parametrization=Fourier(), steps=200)
    assert np.all(fourier.after > fourier.before) and fourier.after[0] > 0.98 * pixels.after[0]
    np.testing.assert_allclose(fourier.images, pixels.images, atol=10)


def test_the_optimum_of_a_whole_channel_is_reached():
    slope = np.zeros((6, 6))
    for row, column in np.ndindex(4, 4):
        slope[row : row + 3, column : column + 3] += KERNEL
    found = activation_maximization(hand_made(), "filter")
    preferred = np.abs(slope) > 1e-6
    np.testing.assert_array_equal(found.images[0, ..., 0][preferred], 255 * (slope > 0)[preferred])
    assert found.after[0] == pytest.approx(255 * slope[slope > 0].sum() / 16)


def test_terms_of_one_target_serve_all_pictures(model):
    objective = o.channel("conv_2", [0, 1]) + 0.5 * o.channel("conv_1", 2)
    found = maximize(model, objective, steps=20)
    assert np.all(found.after > found.before)
    assert found.images.shape == (2, 8, 8, 1) and found.images.dtype == np.float32


def test_robust_pictures_rise_too_and_are_others(model, run):
    moved = [t.jitter(1), t.scale(0.9, 1.1), t.rotate(5)]
    plain, robust = run(steps=40), maximize(model, o.channel("conv_2"), steps=40, robust_to=moved)
    assert np.all(robust.after > robust.before)
    assert np.any(plain.images != robust.images)
    np.testing.assert_array_equal(plain.before, robust.before)


def test_a_penalty_falls(model, run):
    fined = activation_maximization(model, "conv_2", penalty=10 * o.total_variation())
    plain, rough = run(), [np.abs(np.diff(found.images, axis=1)).mean() for found in (run(), fined)]
    assert rough[1] < 0.8 * rough[0] and np.all(fined.after <= plain.after)


OPTIONS = [
    {},
    {"parametrization": Fourier()},
    {"robust_to": [t.jitter(1), t.rotate(10)], "penalty": o.total_variation()},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_picture_is_the_same_whatever_else_is_asked_for(model, monkeypatch, options):
    monkeypatch.setattr(ascent, "WIDEST", 3)
    everything = activation_maximization(model, "conv_1", steps=8, seed=3, **options)
    assert len(everything.images) == 4  # two batches, the second one filled up
    some = activation_maximization(model, "conv_1", [3, 1, 1], steps=8, seed=3, **options)
    np.testing.assert_array_equal(some.images, everything.images[[3, 1, 1]])
    np.testing.assert_array_equal(some.activations, everything.activations[:, [3, 1, 1]])


def test_frames_change_nothing_and_end_with_the_result(run):
    plain, filmed = run(steps=10), run(steps=10, frames=4)
    assert filmed.steps == (0, 2, 5, 8, 10) and filmed.frames.shape == (4, 3, 8, 8, 1)
    np.testing.assert_array_equal(filmed.images, plain.images)
    np.testing.assert_array_equal(filmed.before, plain.before)
    np.testing.assert_array_equal(filmed.frames[0], run(steps=2).images)


def test_seeds_and_channels_start_from_their_own_noise(run):
    first, same, other = run(steps=1), run(steps=1), run(steps=1, seed=1)
    np.testing.assert_array_equal(first.images, same.images)
    pictures = [*first.images, *other.images]
    assert len(np.unique([picture.sum() for picture in pictures])) == len(pictures)


def test_the_network_is_traced_once_whatever_the_number_of_pictures_and_steps(run):
    traces = []

    class Counting(keras.layers.Layer):
        def call(self, inputs):
            traces.append(inputs.shape)
            return inputs

    base = tiny()
    counted = keras.Sequential([base.inputs[0], Counting(), base])
    traces.clear()
    narrow = prepare(counted, o.channel("conv_2"), memory=1)
    assert traces == [(1, 8, 8, 1)] * 3  # to see the sizes, in the loop, and to measure the results
    found = narrow(steps=5)
    narrow(steps=7, seed=1, frames=2)
    assert len(traces) == 3
    np.testing.assert_allclose(found.images, run(steps=5).images, atol=1e-3)  # memory bounds the batch, not the picture


def test_nested_models_and_plain_ones_give_the_same_pictures():
    flat = tiny()
    inner = keras.Sequential([keras.Input((8, 8, 1)), *flat.layers[1:4]], name="inner")
    outer_input = keras.Input((8, 8, 1))
    outer = keras.Model(outer_input, keras.Sequential([inner, *flat.layers[4:]], name="middle")(outer_input))
    for name in ("conv_2", "inner/conv_1"):
        expected = activation_maximization(flat, name.split("/")[-1], steps=5)
        found = activation_maximization(outer, name, steps=5)
        np.testing.assert_allclose(found.images, expected.images, atol=1e-3)
        np.testing.assert_allclose(found.after, expected.after, rtol=1e-5)


def test_the_softmax_is_bypassed_where_it_is_saturated_and_the_model_is_left_as_it_was():
    model = tiny()
    model.get_layer("conv_1").trainable = False
    model.get_layer("dense").set_weights([np.eye(12, 3) * 1000, np.array([0.0, 500.0, 0.0])])
    model.compile("adam", "sparse_categorical_crossentropy")

    def state():
        nodes = [(len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in model.layers]
        return model.to_json(), nodes, [layer.trainable for layer in model.layers], id(model.optimizer)

    before, weights = state(), model.get_weights()
    found = maximize(model, o.class_logit([0]) + o.channel("conv_2", 0), steps=5)
    assert found.after[0] > found.before[0] and found.after[0] > 10
    assert state() == before
    assert model.get_layer("dense").activation is keras.activations.softmax
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_pictures_and_sums_in_float32(model, run, policy):
    keras.config.set_dtype_policy(policy)
    try:
        mixed = tiny()
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(model.get_weights())
    assert mixed.get_layer("conv_2").compute_dtype == policy.removeprefix("mixed_")
    found = activation_maximization(mixed, "conv_2", steps=40)
    assert found.images.dtype == found.activations.dtype == np.float32
    np.testing.assert_allclose(found.after, run(steps=40).after, rtol=0.05)
    logits = maximize(mixed, o.class_logit([1]), steps=5)
    assert logits.after[0] > logits.before[0]


def test_a_filter_that_is_silent_at_first_is_woken():
    model = hand_made()
    inputs = keras.Input((6, 6, 1))
    late = keras.layers.ReLU(name="late")(model(inputs) - 900)  # the noise at the start excites nothing
    found = activation_maximization(keras.Model(inputs, late), "late", parametrization=Pixels(contrast=0.05))
    assert found.before[0] == 0 and found.after[0] > 100


def test_other_ranges_of_values(model):
    found = activation_maximization(model, "conv_2", value_range=(-1.0, 3.0))
    assert found.images.min() == -1 and found.images.max() == 3


def test_any_size_where_the_model_takes_any():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3, name="filters")(inputs))
    assert activation_maximization(model, "filters", size=(7, 9), steps=2).images.shape == (2, 7, 9, 3)
    with pytest.raises(ValueError, match=r"Received: size=None$"):
        activation_maximization(model, "filters")


def test_every_picture_has_one_place_and_it_is_that_of_its_channel():
    channels = [5, 1, 9, 1, 6]
    places = ascent.places(np.array(channels)[:, None], 4)
    assert sorted(places[places >= 0].tolist()) == [0, 1, 2, 3, 4]
    for index, channel in enumerate(channels):
        assert np.argwhere(places == index)[0, 1] == channel % 4
    assert ascent.places(np.arange(8)[:, None], 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_memory_sets_the_width(model):
    forward = o.activations(model, "conv_2")
    (shape,), widest = ascent.measure([forward], (8, 8, 1), 2**30)
    assert shape == (1, 4, 4, 3) and widest == ascent.WIDEST
    values = 64 * 2 + 256 * 3 + 64 * 5 + 48 * 3  # image and scaled, conv_1, pooled and normalised, conv_2
    assert 3 <= ascent.measure([forward], (8, 8, 1), 5 * 4 * ascent.COPIES * values)[1] <= 8
    assert ascent.measure([forward], (8, 8, 1), 1)[1] == 1


def of_three_numbers():
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Identity()(inputs))


def of_whole_numbers():
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    return keras.Model(inputs, keras.layers.Conv2D(2, 3, name="filters")(keras.layers.Rescaling(1 / 255)(inputs)))


def climb(layer="conv_2", channels=None, **options):
    return lambda model: activation_maximization(model, layer, channels, **options)


BAD = {
    "unknown layer": (climb("conv_3"), r"such as .*conv_2.*Received: layer=.conv_3.$"),
    "channel out of range": (climb(channels=[0, 3]), r"Received: \[\[0\], \[3\]\]$"),
    "negative channel": (climb(channels=-1), r"below \[3\]\. Received: \[\[-1\]\]$"),
    "no channels": (climb("dense"), r"channels of .*Received: \(None, 3\)$"),
    "no channels asked for": (climb(channels=[]), r"Received: \[\]$"),
    "half a channel": (climb(channels=0.5), r"Received: 0\.5$"),
    "class out of range": (lambda m: maximize(m, o.class_logit(3)), r"Expected classes.*Received: \[\[3\]\]$"),
    "a penalty alone": (lambda m: maximize(m, o.total_variation()), r"Received: penalties alone$"),
    "targets that differ": (lambda m: maximize(m, o.channel("conv_1") + o.channel("conv_2")), r"Received: 3$"),
    "another size": (climb(size=9), r"Received: size=9$"),
    "an empty range": (climb(value_range=(1, 1)), r"value_range=\(1, 1\)$"),
    "no memory": (climb(memory=0), r"Received: memory=0$"),
    "not built": (lambda _: activation_maximization(keras.Sequential([]), "conv_2"), "functional or Sequential"),
    "whole numbers": (
        lambda _: activation_maximization(of_whole_numbers(), "filters"),
        r"model of float images.*keras\.models\.clone_model.*Received: dtype=uint8$",
    ),
    "no images": (lambda _: activation_maximization(of_three_numbers(), "input"), r"Received: \(None, 3\)$"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_are_named(model, name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call(model)


def test_the_model_that_the_refusal_of_whole_numbers_proposes_has_pictures():
    model = of_whole_numbers()
    twin = keras.models.clone_model(model, input_tensors=keras.Input((8, 8, 3)))
    twin.set_weights(model.get_weights())
    found = activation_maximization(twin, "filters", steps=5)
    assert np.all(found.after > found.before + 0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, r"Received: steps=0, frames=1$"),
        ({"steps": 2, "frames": 3}, r"frames=3$"),
        ({"seed": 2**31}, r"Received: seed=2147483648$"),
    ],
)
def test_bad_runs_are_named(run, options, message):
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_weights_that_are_not_a_number_are_named():
    model = tiny()
    kernel, bias = model.get_layer("conv_2").get_weights()
    bias[1] = np.nan
    model.get_layer("conv_2").set_weights([kernel, bias])
    with pytest.raises(NotFiniteError, match=r"Received: NaN or infinity in \['conv_2/bias'\]$"):
        activation_maximization(model, "conv_2", steps=2)


def test_pictures_that_are_not_a_number_are_named():
    inputs = keras.Input((6, 6, 1))
    root = keras.layers.Conv2D(2, 1, name="root")(keras.ops.sqrt(inputs - 1000))
    with pytest.raises(NotFiniteError, match=r"Received: NaN or infinity for targets \[\[1\]\]$"):
        activation_maximization(keras.Model(inputs, root), "root", 1, steps=2)
