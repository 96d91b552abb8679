"""A phase refuses what it cannot be; a multiplier scales the step of its layer and of no other."""

import dataclasses

import keras
import numpy as np
import pytest
from helpers import labelled, tiny

from tlkeras.transfer import Phase, finetune, phases, two_phases
from tlkeras.transfer.freezing import compile_classifier, freeze, largest_moves, snapshot
from tlkeras.transfer.phases import LayerwiseAdam, optimizer_for

HEAD = Phase("head", "head", 3, 0.01)


@pytest.mark.parametrize(
    "change",
    [{"epochs": 0}, {"learning_rate": 0.0}, {"learning_rate": -1e-3}, {"schedule": "linear"}, {"drop_every": 0}],
)
def test_bad_phases_are_refused(change):
    with pytest.raises(
        ValueError, match=r"a schedule out of \('constant', 'cosine', 'step'\)\. Received: \{'name': 'head'"
    ):
        dataclasses.replace(HEAD, **change)


def test_the_smallest_phase_and_what_it_is_by_default():
    phase = Phase("p", "all", 1, 1e-12, drop_every=1)
    assert dataclasses.asdict(Phase("p", "all", 1, 1e-12)) == {
        "name": "p",
        "train": "all",
        "epochs": 1,
        "learning_rate": 1e-12,
        "schedule": "constant",
        "expect": None,
        "augment": True,
        "drop_every": 7,
        "multipliers": None,
        "pull": None,
        "decay": None,
        "mixup": 0.0,
    }
    assert phase.drop_every == 1


def test_two_phases_are_those_of_the_report():
    assert two_phases() == (Phase("head", "head", 35, 1e-3), Phase("all", "all", 15, 1e-3 / 10))
    assert two_phases(2, 3, 0.5) == (Phase("head", "head", 2, 0.5), Phase("all", "all", 3, 0.05))


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.01] * 7),
        ("cosine", [0.005 * (1 + np.cos(np.pi * step / 12)) for step in range(7)]),
        ("step", [0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.001]),  # two epochs of three steps at each rate
    ],
)
def test_the_rate_of_every_step(schedule, rates):
    phase = Phase("p", "all", 4, 0.01, schedule, drop_every=2)
    optimizer = optimizer_for(phase, steps=3)
    assert type(optimizer) is keras.optimizers.Adam
    found = []
    for step in range(7):
        optimizer.iterations.assign(step)
        found.append(float(optimizer.learning_rate))
    assert found == pytest.approx(rates)


def test_multipliers_ask_for_the_optimizer_that_has_them():
    optimizer = optimizer_for(Phase("p", "all", 2, 0.01, multipliers={"dense": 0.5}), steps=3)
    assert isinstance(optimizer, LayerwiseAdam)
    assert (optimizer.multipliers, float(optimizer.learning_rate)) == ({"dense": 0.5}, pytest.approx(0.01))


BATCH = labelled(8)


def moved(optimizer, steps=1):
    """Return how each weight of `tiny` moved."""
    model = tiny()
    compile_classifier(model, optimizer)
    before = snapshot(model)
    for _ in range(steps):
        model.train_on_batch(*BATCH)
    return {
        name: [new - old for new, old in zip(arrays, before[name], strict=True)]
        for name, arrays in snapshot(model).items()
    }


@pytest.fixture(scope="module")
def plain():
    return moved(keras.optimizers.Adam(0.01))


def test_a_tenth_of_the_rate_is_a_tenth_of_the_first_step(plain):
    found = moved(LayerwiseAdam(0.01, {"conv_1": 0.1}))
    for name, arrays in plain.items():
        for own, other in zip(found[name], arrays, strict=True):
            expected = 0.1 * other if name == "conv_1" else other
            np.testing.assert_allclose(own, expected, rtol=1e-3, atol=1e-7)


def test_zero_leaves_the_layer_bit_identical():
    found = moved(LayerwiseAdam(0.01, {"conv_1": 0.0}), steps=3)
    assert not any(array.any() for array in found["conv_1"])
    assert any(array.any() for array in found["conv_2"])


def test_a_phase_may_hold_a_layer_still():
    phase = Phase("p", "all", 1, 0.01, multipliers={"conv_1": 0, "batch_norm_1": 0, "dense": 0.5})
    history = finetune(tiny(), BATCH, None, [phase], seed=0)
    assert history.moved["p"]["conv_1"] == 0 < history.moved["p"]["conv_2"]


def test_without_multipliers_it_is_adam(plain):
    found = moved(LayerwiseAdam(0.01))
    for name, arrays in plain.items():
        for own, other in zip(found[name], arrays, strict=True):
            np.testing.assert_array_equal(own, other)


def test_scaled_gradients_make_the_same_steps_and_a_scaled_rate_does_not():
    model = tiny()
    before = snapshot(model)
    found = phases.moves_when_scaled(model, *BATCH, "conv_1", factor=0.1)
    assert found["gradients scaled"] == pytest.approx(found["as it is"], rel=0.02)
    assert found["rate scaled"] == pytest.approx(0.1 * found["as it is"], rel=0.2)
    assert set(largest_moves(before, model).values()) == {0.0}


def test_it_is_saved_and_loaded_with_its_multipliers(tmp_path):
    model = tiny()
    compile_classifier(model, LayerwiseAdam(0.01, {"conv_1": 0.1}))
    model.train_on_batch(*BATCH)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, LayerwiseAdam)
    assert dict(loaded.optimizer.multipliers) == {"conv_1": 0.1}
    for each in (model, loaded):
        each.train_on_batch(*BATCH)
    for own, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-6)
    config = keras.optimizers.serialize(LayerwiseAdam(0.01, {"conv_1": 0.1}))
    assert keras.optimizers.deserialize(config).multipliers == {"conv_1": 0.1}


def test_graded_rates_fall_by_the_same_factor():
    model = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(4, name=f"dense_{n}") for n in range(3))])
    assert phases.graded(model, 0.01) == pytest.approx({"dense_0": 0.01, "dense_1": 0.1, "dense_2": 1.0})


def test_a_phase_with_multipliers_moves_the_first_layers_less():
    moves = {}
    for name, first in (("same", 1.0), ("graded", 0.01)):
        model = tiny()
        multipliers = phases.graded(model, first) if first < 1 else None
        history = finetune(model, BATCH, None, [Phase("all", "all", 1, 1e-3, multipliers=multipliers)], seed=0)
        moves[name] = history.moved["all"]
    assert moves["graded"]["conv_1"] == pytest.approx(0.01 * moves["same"]["conv_1"], rel=0.05)
    assert moves["graded"]["dense"] == pytest.approx(moves["same"]["dense"], rel=0.05)


@pytest.mark.parametrize("multipliers", [{"conv_1": -0.1}, {"conv_1": float("nan")}, {"conv_1": float("inf")}])
def test_bad_multipliers_are_refused(multipliers):
    with pytest.raises(ValueError, match=r"finite multipliers of at least 0.*Received: \{'conv_1'"):
        LayerwiseAdam(0.01, multipliers)


def test_weight_decay_is_refused():
    with pytest.raises(ValueError, match=r"no weight decay\. Received: \{\}, weight_decay=0.1$"):
        LayerwiseAdam(0.01, weight_decay=0.1)


@pytest.mark.parametrize("train", ["all", "head"])
def test_multipliers_of_layers_that_do_not_train_are_refused(train):
    name = "conv_9" if train == "all" else "conv_1"
    model = tiny()
    with pytest.raises(ValueError, match=rf"trained layers, out of .*'dense'.*Received: \['{name}'\]$"):
        freeze(model, train, optimizer=LayerwiseAdam(0.01, {name: 0.1}))
