"""The report of each filter: activations beside noise and real images, the dead ones, the images that excite most."""

import numpy as np
import pytest
from helpers import images, tiny

from tlkeras import visualize
from tlkeras.visualize import objectives

REAL = images(20, seed=3)


@pytest.fixture(scope="module")
def model():
    """A network whose channel 1 of conv_2 is dead."""
    model = tiny()
    kernel, bias = model.get_layer("conv_2").get_weights()
    bias[1] = -1e6
    model.get_layer("conv_2").set_weights([kernel, bias])
    return model


@pytest.fixture(scope="module")
def rows(model):
    pictures = visualize.activation_maximization(model, "conv_2", [2, 1, 0])
    return visualize.filter_rows(model, "conv_2", pictures, REAL, nearest=4)


def test_responses_are_means_of_the_layer(model):
    import keras

    part = keras.Model(model.input, model.get_layer("conv_2").output)
    expected = part.predict(REAL.astype(np.float32), verbose=0).mean((1, 2))
    np.testing.assert_allclose(visualize.responses(model, "conv_2", REAL), expected, rtol=1e-5)
    np.testing.assert_allclose(visualize.responses(model, "conv_2", REAL, memory=1), expected, rtol=1e-5)


def test_a_row_for_each_filter_in_the_order_asked_for(model, rows):
    assert [row["filter"] for row in rows] == [2, 1, 0]
    real = visualize.responses(model, "conv_2", REAL)
    for row in rows:
        own = real[:, row["filter"]]
        assert row["real"] == pytest.approx(own.max())
        assert row["nearest"] == tuple(np.argsort(-own, kind="stable")[:4])
        assert row["over_real"] == pytest.approx(row["after"] - row["real"])
        assert row["over_noise"] == pytest.approx(row["after"] - row["noise"])


def test_dead_filters_are_named_and_the_others_beat_noise_and_real_images(rows):
    assert [row["dead"] for row in rows] == [False, True, False]
    assert rows[1]["after"] == rows[1]["real"] == 0
    for row in (rows[0], rows[2]):
        assert row["after"] > row["before"] and row["over_noise"] > 0 and row["over_real"] > 0


def test_bad_requests_are_named(model):
    logits = visualize.maximize(model, objectives.neuron("conv_2", [(0, 0, 0)]), steps=1)
    with pytest.raises(ValueError, match=r"pictures of channels\. Received: targets of shape \(1, 3\)$"):
        visualize.filter_rows(model, "conv_2", logits, REAL)
    for bad in (REAL[:0], REAL[0], REAL[:, :4]):
        with pytest.raises(ValueError, match="Received: (shape|size)="):
            visualize.responses(model, "conv_2", bad)
    with pytest.raises(ValueError, match=r"Received: \(None, 3\)$"):
        visualize.responses(model, "dense", REAL)


def test_what_is_carried_over(model):
    pictures = visualize.activation_maximization(model, "conv_2")
    same, dead, other = visualize.carried_over(model, "conv_2", pictures, pictures)
    assert [row["filter"] for row in (same, dead, other)] == [0, 1, 2]
    assert same["kept"] == pytest.approx(1) and same["alike"] == pytest.approx(1, abs=1e-5) and dead["kept"] is None
    early = visualize.activation_maximization(model, "conv_2", steps=1)
    assert 0 < visualize.carried_over(model, "conv_2", early, pictures)[0]["kept"] < 0.9
    with pytest.raises(ValueError, match="same channels"):
        visualize.carried_over(
            model, "conv_2", visualize.activation_maximization(model, "conv_2", 0, steps=1), pictures
        )
