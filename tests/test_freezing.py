"""What is frozen does not move, what trains does, a wrong count stops before training; and what freezing saves."""

import re

import keras
import numpy as np
import pytest
from helpers import TRAINABLE, images, labelled, randomised, tiny
from keras import layers

from tlkeras.models import squeezenet, tominet
from tlkeras.transfer import freezing
from tlkeras.transfer.freezing import relative_moves, with_old_head

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


def test_a_layer_that_has_the_name_of_a_choice_is_asked_for_by_a_list():
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(3, name="head")(keras.layers.Dense(3, name="all")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, name="last")(hidden))
    for train in ("head", "all"):
        assert freezing.trained_layers(model, [train]) == [train]
        with pytest.raises(ValueError, match=rf"^Expected a list, such as .* Received: train='{train}'$"):
            freezing.trained_layers(model, train)
    named_as_it_is = keras.Model(inputs, hidden)
    assert freezing.trained_layers(named_as_it_is, "head") == ["head"]


@pytest.mark.parametrize("train", [6, -1])
def test_numbers_of_layers_that_do_not_exist_are_refused(model, train):
    with pytest.raises(ValueError, match=rf"^Expected to train 0 to 5 of the last layers\. Received: train={train}$"):
        freezing.trained_layers(model, train)


@pytest.mark.parametrize(
    ("train", "unknown"),
    [
        ("conv_9", "['conv_9']"),
        (["dense", "rescaling"], "['rescaling']"),
        (True, "[True]"),
        ([3], "[3]"),
        (["z", "a"], "['a', 'z']"),
        ([3, "z"], "[3, 'z']"),
    ],
)
def test_unknown_layers_are_refused(model, train, unknown):
    expected = f"Expected 'all', 'head', a number, or names out of {NAMES}. Received: train={unknown}"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        freezing.trained_layers(model, train)


@pytest.mark.parametrize("train", ["all", "head", 3, ["conv_1", "conv_2"]])
def test_freeze_returns_the_count_and_marks_the_layers(model, train):
    chosen = freezing.trained_layers(model, train)
    expected = sum(TRAINABLE[name] for name in chosen)
    assert freezing.freeze(model, train, expect=expected) == freezing.count_trainable(model) == expected
    assert [layer.name for layer in model.layers if layer.weights and layer.trainable] == chosen


def test_layers_without_weights_are_never_frozen(model):
    freezing.freeze(model, 0)
    assert [layer.name for layer in model.layers if not layer.trainable] == NAMES


def test_a_model_is_compiled_for_labels_that_are_integers(model):
    freezing.freeze(model, "head")
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)
    assert (model.steps_per_execution, model.jit_compile) == (1, False)
    assert isinstance(model.loss, keras.losses.SparseCategoricalCrossentropy) and not model.loss.from_logits
    freezing.freeze(model, "head", learning_rate=0.5, steps_per_execution=3)
    assert (float(model.optimizer.learning_rate), model.steps_per_execution) == (0.5, 3)
    given = keras.optimizers.SGD(0.25)
    freezing.freeze(model, "head", learning_rate=0.5, optimizer=given)
    assert model.optimizer is given and float(given.learning_rate) == 0.25
    assert set(model.evaluate(*labelled(), verbose=0, return_dict=True)) == {"loss", "accuracy"}


def test_logits_get_the_loss_of_logits():
    model = tiny(classifier_activation=None)
    freezing.compile_classifier(model, keras.optimizers.Adam())
    assert model.loss.from_logits and model.steps_per_execution == 1


def test_a_model_that_was_frozen_as_a_whole_trains_again():
    model = tiny()
    model.trainable = False
    assert freezing.freeze(model, "head") == 39


def test_a_wrong_count_is_an_error(model):
    with pytest.raises(
        freezing.FreezingError, match=r"^Expected 1,234 trainable parameters\. Received: 39 in \['dense'\]$"
    ):
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
        (
            ["dense", "conv_1"],
            "head",
            r"^Expected only \['dense'\] to move\. Received: frozen but moved \['conv_1'\], stuck \[\]$",
        ),
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


def test_what_has_nothing_to_train_need_not_move_and_what_is_frozen_by_hand_must():
    inputs = keras.Input((3,))
    normalization = layers.Normalization(name="standardisation")
    normalization.adapt(np.arange(6.0).reshape(2, 3))
    x = normalization(inputs)
    model = keras.Model(inputs, layers.Dense(3, name="last")(x))
    before = freezing.snapshot(model)
    layer = model.get_layer("last")
    layer.bias.assign(layer.bias + 1.0)
    assert freezing.prove_moves(before, model, "all") == {"standardisation": 0.0, "last": 1.0}
    normalization.trainable = False
    with pytest.raises(freezing.FreezingError, match=r"stuck \['standardisation'\]$"):
        freezing.prove_moves(before, model, "all")


def test_what_trains_at_a_rate_of_zero_is_proved_not_to_move_but_for_its_statistics():
    model = tiny()
    before, still = freezing.snapshot(model), ["conv_2", "batch_norm_2"]
    for name in ("conv_1", "batch_norm_1", "batch_norm_2", "dense"):
        variable = model.get_layer(name).weights[-1]  # of batch normalisation, the moving variance
        variable.assign(variable + 1e-6)
    moves = freezing.prove_moves(before, model, "all", still)
    assert moves["conv_2"] == 0 < moves["batch_norm_2"]
    gamma = model.get_layer("batch_norm_2").gamma
    gamma.assign(gamma + 1e-6)
    with pytest.raises(freezing.FreezingError, match=r"frozen but moved \['batch_norm_2'\], stuck \[\]$"):
        freezing.prove_moves(before, model, "all", still)


def test_a_frozen_weight_that_became_nan_has_moved(model):
    before = freezing.snapshot(model)
    kept = [array.copy() for array in before["conv_1"]]
    model.get_layer("conv_1").set_weights([np.full_like(array, np.nan) for array in kept])
    try:
        with pytest.raises(freezing.FreezingError, match=r"frozen but moved \['conv_1'\], stuck \['dense'\]$"):
            freezing.prove_moves(before, model, "head")
    finally:
        model.get_layer("conv_1").set_weights(kept)


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


def test_moves_are_relative_and_statistics_do_not_count():
    model = randomised(tiny())
    freezing.freeze(model, ["conv_1", "batch_norm_1", "dense"])
    before = freezing.snapshot(model)
    model.get_layer("conv_1").set_weights([1.5 * array for array in before["conv_1"]])
    scale, offset, mean, variance = before["batch_norm_1"]
    model.get_layer("batch_norm_1").set_weights([scale, offset, 9 * mean, 9 * variance])
    moves = relative_moves(before, model)
    assert moves == {
        "conv_1": pytest.approx(0.5),
        "batch_norm_1": 0.0,
        "conv_2": 0.0,
        "batch_norm_2": 0.0,
        "dense": 0.0,
    }


def test_a_layer_that_was_zero_has_moved_by_all_of_itself():
    model = tiny()
    freezing.freeze(model, "all")
    before = {name: [0 * array for array in arrays] for name, arrays in freezing.snapshot(model).items()}
    model.get_layer("conv_2").set_weights([0 * array + 1e-3 for array in before["conv_2"]])
    moves = relative_moves(before, model)
    assert (moves["dense"], moves["conv_2"]) == (1.0, 1.0)
    model.set_weights([0 * array for array in model.get_weights()])
    assert relative_moves(before, model)["dense"] == 0.0


def test_the_old_head_is_put_on_the_new_base():
    source, tuned = randomised(tiny(num_classes=5), seed=1), randomised(tiny(num_classes=3), seed=2)
    kept = source.get_weights()
    both = with_old_head(tuned, source, "dense")
    for layer in both.layers:
        wanted = source if layer.name == "dense" else tuned
        for found, expected in zip(layer.get_weights(), wanted.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(found, expected)
    for found, expected in zip(source.get_weights(), kept, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_without_fine_tuning_nothing_is_lost():
    source, tuned = randomised(tiny(num_classes=5)), tiny()
    for name in ("conv_1", "batch_norm_1", "conv_2", "batch_norm_2"):
        tuned.get_layer(name).set_weights(source.get_layer(name).get_weights())
    np.testing.assert_array_equal(with_old_head(tuned, source, "dense")(images()), source(images()))


def test_another_network_is_refused():
    other = tiny()
    other.get_layer("conv_1").name = "first"
    for pair in ((other, tiny()), (tiny(), other)):
        with pytest.raises(
            ValueError, match=r"^Expected two networks that are alike below a layer 'dense'\. Received: \["
        ):
            with_old_head(*pair, "dense")
    wider = tominet(3, (8, 8, 1), filters=(4, 5))
    with pytest.raises(ValueError, match=r"Received: \['batch_norm_1', .*\] and \['batch_norm_1', .*, 'dense'\]$"):
        with_old_head(wider, tiny(), "dense")
    with pytest.raises(ValueError, match=r"below a layer 'top'"):
        with_old_head(tiny(), tiny(), "top")


@pytest.fixture(scope="module")
def counted():
    """Three layers of 2 * 9 * 1 * 2 * 36 = 1296, 2 * 2 * 3 * 36 = 432 and 2 * 3 * 5 = 30 operations."""
    inputs = keras.Input((6, 6, 1))
    x = layers.Conv2D(2, 3, padding="same", name="wide")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(3, 1, name="narrow")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(5, name="head")(x))


def test_each_layer_counts_its_multiplications_and_additions(counted):
    assert freezing.forward_flops(counted) == {"wide": 1296, "narrow": 432, "head": 30}


def test_channels_that_are_convolved_one_by_one_count_as_well():
    inputs = keras.Input((6, 6, 3))
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(inputs)
    x = layers.SeparableConv2D(5, 3, strides=2, padding="same", depth_multiplier=2, name="separable")(x)
    x = layers.Conv2D(10, 1, groups=5, name="grouped")(x)
    model = keras.Model(inputs, x)
    assert freezing.forward_flops(model) == {
        "depthwise": 2 * 36 * 9 * 3 * 2,
        "separable": 2 * 9 * (9 * 6 * 2 + 12 * 5),
        "grouped": 2 * 9 * 10,
    }
    assert freezing.training_flops(model, ["separable"], images=1, epochs=1, cached=False) == (
        3888 + 2 * 3024 + 2 * 180
    )


@pytest.mark.parametrize(
    ("train", "cached", "expected"),
    [
        ("all", False, 10 * 4 * (2 * 1296 + 3 * 432 + 3 * 30)),
        ("head", False, 10 * 4 * (1296 + 432 + 2 * 30)),
        ("head", True, 10 * (1296 + 432 + 4 * 2 * 30)),
        (["narrow"], True, 10 * (1296 + 4 * (2 * 432 + 2 * 30))),  # the frozen head passes a gradient on
        (["norm", "narrow", "head"], False, 10 * 4 * (1296 + 2 * 432 + 3 * 30)),
        (0, True, 10 * (1296 + 432 + 30)),
    ],
)
def test_training_counts_what_runs_forward_and_backward(counted, train, cached, expected):
    assert freezing.training_flops(counted, train, images=10, epochs=4, cached=cached) == expected


def test_squeezenet_at_its_usual_size_costs_what_its_authors_say():
    model = squeezenet(1000, (224, 224, 3), weights=None)
    assert sum(freezing.forward_flops(model).values()) / 2 == pytest.approx(
        0.35e9, rel=0.05
    )  # 2.4x below v1.0's 0.83e9
