"""Pictures climb, the optimum is found where it is known, a picture has no neighbours, nothing moves."""

import keras
import numpy as np
import pytest
from helpers import randomised, tiny

from tlkeras.visualize import Fourier, Pixels, activation_maximization, ascent, maximize, prepare
from tlkeras.visualize import objectives as o
from tlkeras.visualize import transforms as t

KERNEL = np.array([[1.0, -2.0, 0.5], [-1.0, 3.0, -0.5], [2.0, -0.5, 1.0]], np.float32)
OBJECTIVES = {
    "channel": o.channel("conv_2", [0, 1, 2]),
    "neuron": o.neuron("conv_1", [(4, 4, 0), (2, 3, 1), (5, 3, 1)]),
    "class": o.class_logit([0, 1, 2]),
    "direction": o.direction("conv_1", [[1, -1, 0, 0], [0, 0, 1, 2]]),
    "sum": o.channel("conv_2", [0, 1]) + 0.5 * o.channel("conv_1", 2),
}


@pytest.fixture(scope="module")
def model():
    return tiny()


def hand_made():
    """One 3x3 filter over 6x6 pixels, no bias: what maximises it is white where the kernel is positive."""
    inputs = keras.Input((6, 6, 1))
    convolution = keras.layers.Conv2D(1, 3, use_bias=False, name="filter")
    model = keras.Model(inputs, convolution(inputs))
    convolution.set_weights([KERNEL[..., None, None]])
    return model


def test_the_optimum_of_a_neuron_is_found():
    found = maximize(hand_made(), o.neuron("filter", [(1, 2, 0)]))
    np.testing.assert_array_equal(found.images[0, 1:4, 2:5, 0], 255 * (KERNEL > 0))
    assert found.after[0] == pytest.approx(255 * KERNEL[KERNEL > 0].sum())


def test_the_optimum_of_a_whole_channel_is_found():
    slope = np.zeros((6, 6))
    for row, column in np.ndindex(4, 4):
        slope[row : row + 3, column : column + 3] += KERNEL
    found = activation_maximization(hand_made(), "filter")
    preferred = np.abs(slope) > 1e-6
    np.testing.assert_array_equal(found.images[0, ..., 0][preferred], 255 * (slope > 0)[preferred])
    assert found.after[0] == pytest.approx(255 * slope[slope > 0].sum() / 16)


def test_fourier_and_pixels_agree_on_the_optimum():
    objective = o.neuron("filter", [(1, 2, 0)])
    pixels = maximize(hand_made(), objective)
    fourier = maximize(hand_made(), objective, parametrization=Fourier(), steps=200)
    assert fourier.after[0] > 0.98 * pixels.after[0]
    np.testing.assert_allclose(fourier.images[0, 1:4, 2:5], pixels.images[0, 1:4, 2:5], atol=10)


FREE = Pixels(bounded=False)
CASES = [*((name, Pixels()) for name in OBJECTIVES), ("channel", Fourier()), ("neuron", Fourier()), ("sum", FREE)]


@pytest.mark.parametrize("name, parametrization", CASES)
def test_every_objective_rises(model, name, parametrization):
    found = maximize(model, OBJECTIVES[name], steps=20, parametrization=parametrization)
    assert np.all(found.after > found.before)
    assert found.images.shape == (len(found.targets), 8, 8, 1) and found.images.dtype == np.float32


def test_robust_pictures_rise_too_and_are_others(model):
    moved = [t.pad(1), t.jitter(1), t.scale(0.9, 1.1), t.rotate(5)]
    plain, robust = (maximize(model, o.channel("conv_2"), steps=40, robust_to=changes) for changes in ([], moved))
    assert np.all(robust.after > robust.before)
    assert np.all(plain.images != robust.images, where=False) and np.any(plain.images != robust.images)
    np.testing.assert_array_equal(plain.before, robust.before)


@pytest.mark.parametrize(
    "penalty, measured",
    [
        (o.total_variation(), lambda images: np.abs(np.diff(images, axis=1)).mean()),
        (o.energy(), lambda images: ((images - 127.5) ** 2).mean()),
        (o.out_of_range(), lambda images: np.maximum(0, np.abs(images - 127.5) - 127.5).mean()),
    ],
)
def test_what_is_penalised_falls(model, penalty, measured):
    parametrization = Pixels(bounded=False)
    plain = activation_maximization(model, "conv_2", parametrization=parametrization)
    fined = activation_maximization(model, "conv_2", parametrization=parametrization, penalty=10 * penalty)
    assert measured(fined.images) < 0.8 * measured(plain.images)


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
    for channels in ([3], [2, 1, 1]):
        some = activation_maximization(model, "conv_1", channels, steps=8, seed=3, **options)
        np.testing.assert_array_equal(some.images, everything.images[channels])
        np.testing.assert_array_equal(some.activations, everything.activations[:, channels])


def test_frames_change_nothing_and_end_with_the_result(model):
    run = prepare(model, o.channel("conv_2"))
    plain, filmed = run(steps=10), run(steps=10, frames=4)
    assert filmed.steps == (0, 2, 5, 8, 10) and filmed.frames.shape == (4, 3, 8, 8, 1)
    np.testing.assert_array_equal(filmed.images, plain.images)
    np.testing.assert_array_equal(filmed.before, plain.before)
    again = run(steps=2)
    np.testing.assert_array_equal(filmed.frames[0], again.images)


def test_seeds_and_channels_start_from_their_own_noise(model):
    run = prepare(model, o.channel("conv_2"))
    first, same, other = run(steps=1), run(steps=1), run(steps=1, seed=1)
    np.testing.assert_array_equal(first.images, same.images)
    pictures = [*first.images, *other.images]
    assert len(np.unique([picture.sum() for picture in pictures])) == len(pictures)


def test_memory_bounds_the_batch_not_the_picture(model):
    wide, narrow = (activation_maximization(model, "conv_2", steps=5, memory=memory) for memory in (2**29, 1))
    np.testing.assert_allclose(wide.images, narrow.images, atol=1e-3)


def test_the_network_is_traced_once_whatever_the_number_of_pictures_and_steps():
    calls = []

    class Counting(keras.layers.Layer):
        def call(self, inputs):
            calls.append(inputs.shape)
            return inputs

    base = tiny()
    model = keras.Sequential([base.inputs[0], Counting(), base])
    calls.clear()
    run = prepare(model, o.channel("conv_2"), memory=1)
    assert calls == [(1, 8, 8, 1)] * 3  # to see the sizes, in the loop, and to measure what was reached
    run(steps=3)
    run(steps=7, seed=1, frames=2)
    assert len(calls) == 3


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


def test_the_softmax_is_bypassed_where_it_is_saturated():
    model = randomised(tiny())
    model.get_layer("dense").set_weights([np.eye(12, 3) * 1000, np.array([0.0, 500.0, 0.0])])
    found = maximize(model, o.class_logit([0]), steps=5)
    assert found.after[0] > found.before[0] and found.after[0] > 10


def test_the_model_is_left_as_it_was():
    model = tiny()
    model.get_layer("conv_1").trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")

    def state():
        nodes = [(len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in model.layers]
        return model.to_json(), nodes, [layer.trainable for layer in model.layers], id(model.optimizer)

    before, weights = state(), model.get_weights()
    for objective in OBJECTIVES.values():
        maximize(model, objective, steps=2)
    assert state() == before
    assert model.get_layer("dense").activation is keras.activations.softmax
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_pictures_and_sums_in_float32(policy):
    full = tiny()
    keras.config.set_dtype_policy(policy)
    try:
        mixed = tiny()
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(full.get_weights())
    assert mixed.get_layer("conv_2").compute_dtype == policy.removeprefix("mixed_")
    found = activation_maximization(mixed, "conv_2", steps=40)
    assert found.images.dtype == found.activations.dtype == np.float32
    expected = activation_maximization(full, "conv_2", steps=40)
    np.testing.assert_allclose(found.after, expected.after, rtol=0.05)
    logits = maximize(mixed, o.class_logit([1]), steps=5)
    assert logits.after[0] > logits.before[0]


def test_a_filter_that_is_silent_at_first_is_woken():
    model = hand_made()
    inputs = keras.Input((6, 6, 1))
    late = keras.layers.ReLU(name="late")(model(inputs) - 900)  # noise of the start excites nothing
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
