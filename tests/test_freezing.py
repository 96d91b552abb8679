"""What is frozen does not move, what trains does, and a wrong count stops before training."""

import keras
import numpy as np
import pytest
from helpers import TRAINABLE, images, labelled, tiny

from tlkeras.transfer import freezing

NAMES = list(TRAINABLE)


@pytest.fixture(scope="module")
def model():
    return tiny()


@pytest.fixture(scope="module")
def trained():
    """Snapshots of one model: new, after the head alone trained, after all trained, after the first layer alone did."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Dense(3, name="first")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, name="last")(x))
    shots = [freezing.snapshot(model)]
    for train in ("head", "all", ["first"]):
        freezing.freeze(model, train, learning_rate=0.01)
        model.fit(*labelled(shape=(3,)), batch_size=12, verbose=0)
        shots.append(freezing.snapshot(model))
    return shots


def moved(before, after):
    same = {name: all(map(np.array_equal, arrays, after[name])) for name, arrays in before.items()}
    return [name for name, equal in same.items() if not equal]


@pytest.mark.parametrize(
    ("train", "names"),
    [
        ("all", NAMES),
        ("head", ["dense"]),
        (0, []),
        (2, ["batch_norm_2", "dense"]),
        (5, NAMES),
        ("conv_2", ["conv_2"]),
        (["dense", "conv_1"], ["conv_1", "dense"]),
        (("conv_1",), ["conv_1"]),
        ([], []),
    ],
)
def test_trained_layers_come_in_model_order(model, train, names):
    assert freezing.trained_layers(model, train) == names


@pytest.mark.parametrize("train", [6, -1, "conv_9", ["dense", "rescaling"], True, [3]])
def test_unknown_layers_are_refused(model, train):
    with pytest.raises(ValueError, match=r"^Expected .* Received: train="):
        freezing.trained_layers(model, train)


@pytest.mark.parametrize("train", ["all", "head", 3, ["conv_1", "conv_2"]])
def test_freeze_returns_the_count_and_marks_the_layers(model, train):
    chosen = freezing.trained_layers(model, train)
    expected = sum(TRAINABLE[name] for name in chosen)
    assert freezing.freeze(model, train, expect=expected) == freezing.count_trainable(model) == expected
    assert [layer.name for layer in model.layers if layer.weights and layer.trainable] == chosen


def test_a_model_that_was_frozen_as_a_whole_trains_again():
    model = tiny()
    model.trainable = False
    assert freezing.freeze(model, "head") == 39


def test_a_wrong_count_is_an_error(model):
    with pytest.raises(freezing.FreezingError, match=r"^Expected 1,234 trainable .*Received: 39 in \['dense'\]$"):
        freezing.freeze(model, "head", expect=1234)


def test_the_base_stays_bit_identical_while_the_head_trains(trained):
    assert moved(trained[0], trained[1]) == ["last"]


def test_unfreezing_after_a_fit_trains_again(trained):
    assert moved(trained[1], trained[2]) == ["first", "norm", "last"]


def test_freezing_after_a_fit_freezes(trained):
    assert moved(trained[2], trained[3]) == ["first"]


def test_prove_moves_tells_how_far():
    model = tiny()
    before = freezing.snapshot(model)
    layer = model.get_layer("dense")
    layer.bias.assign(layer.bias + np.array([0.5, -2.0, 0.0]))
    moves = freezing.prove_moves(before, model, "head")
    assert moves == {**dict.fromkeys(NAMES, 0.0), "dense": 2.0}
    assert freezing.largest_moves(before, model) == moves


@pytest.mark.parametrize(
    ("change", "train", "message"),
    [
        (["dense", "conv_1"], "head", r"to move\. Received: frozen but moved \['conv_1'\], stuck \[\]$"),
        (["dense"], ["dense", "conv_2"], r"frozen but moved \[\], stuck \['conv_2'\]$"),
        (["batch_norm_1"], "head", r"frozen but moved \['batch_norm_1'\], stuck \['dense'\]$"),
    ],
    ids=["leak", "stuck", "both"],
)
def test_prove_moves_catches(model, change, train, message):
    before = freezing.snapshot(model)
    for name in change:
        variable = model.get_layer(name).weights[-1]  # of batch normalisation, the moving variance
        variable.assign(variable + 1e-6)
    with pytest.raises(freezing.FreezingError, match=message):
        freezing.prove_moves(before, model, train)


def test_a_snapshot_is_a_copy():
    model = tiny()
    before = freezing.snapshot(model)
    kept = {name: [array.copy() for array in arrays] for name, arrays in before.items()}
    model.set_weights([weight + 1 for weight in model.get_weights()])
    assert moved(kept, before) == []
    assert set(moved(before, freezing.snapshot(model))) == set(NAMES)


def test_frozen_batch_normalisation_ignores_the_training_mode(model):
    freezing.freeze(model, "head")
    before = freezing.snapshot(model)
    np.testing.assert_allclose(model(images(), training=True), model(images(), training=False), rtol=1e-6)
    assert moved(before, freezing.snapshot(model)) == []
