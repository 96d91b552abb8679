"""Moves are measured against where a layer was, and the old head answers on the new base."""

import numpy as np
import pytest
from helpers import images, randomised, tiny

from tlkeras.transfer import freezing
from tlkeras.transfer.freezing import relative_moves, with_old_head


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
    assert relative_moves(before, model)["dense"] == 1.0
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
        with pytest.raises(ValueError, match=r"alike below a layer 'dense'\. Received: "):
            with_old_head(*pair, "dense")
    with pytest.raises(ValueError, match=r"below a layer 'top'"):
        with_old_head(tiny(), tiny(), "top")
