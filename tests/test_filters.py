"""The report of each filter: activations beside noise and real images, the dead ones, the images that excite most."""

import weakref

import keras
import numpy as np
import pytest
from helpers import images, tiny

from tlkeras import visualize
from tlkeras.visualize import filters, objectives

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
def run(model):
    """The ascent of channels 2, 1 and 0 of conv_2, compiled once for all tests."""
    return visualize.prepare(model, objectives.channel("conv_2", [2, 1, 0]))


@pytest.fixture(scope="module")
def pictures(run):
    return run()


@pytest.fixture(scope="module")
def rows(model, pictures):
    return visualize.filter_rows(model, "conv_2", pictures, REAL, nearest=4)


def test_responses_are_means_of_the_layer(model):
    part = keras.Model(model.input, model.get_layer("conv_2").output)
    expected = part.predict(REAL.astype(np.float32), verbose=0).mean((1, 2))
    np.testing.assert_allclose(visualize.responses(model, "conv_2", REAL), expected, rtol=1e-5)
    np.testing.assert_allclose(visualize.responses(model, "conv_2", REAL, memory=1), expected, rtol=1e-5)


def test_only_the_batch_that_runs_is_there_as_floats(model, monkeypatch):
    batches, alive = [], []
    compiled = filters.backend.compiled

    def watched(function, network):
        run = compiled(function, network)

        def counted(batch):
            batches.append(weakref.ref(batch))
            alive.append(sum(reference() is not None for reference in batches))
            return run(batch)

        return counted

    monkeypatch.setattr(filters.backend, "compiled", watched)
    visualize.responses(model, "conv_2", REAL[:4], memory=1)
    assert alive == [1] * 4


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


@pytest.mark.parametrize(
    ("layer", "bad", "message"),
    [
        ("conv_2", REAL[:0], "at least one image. Received: 0 images"),
        ("conv_2", REAL[0], r"Received: shape=\(8, 8, 1\)"),
        ("conv_2", REAL[:, :4], r"Received: shape=\(20, 4, 8, 1\)"),
        ("conv_2", np.full((1, 8, 8, 1), np.nan), r"NaN or infinity in images \[0\]"),
        ("dense", REAL, r"Received: \(None, 3\)$"),
    ],
)
def test_images_and_layers_that_do_not_fit_are_named(model, layer, bad, message):
    with pytest.raises(ValueError, match=message):
        visualize.responses(model, layer, bad)


def test_pictures_of_something_else_are_named(model, pictures):
    one = visualize.maximize(model, objectives.channel("conv_2", 0), steps=1)
    with pytest.raises(ValueError, match="same channels"):
        visualize.carried_over(model, "conv_2", one, pictures)


def test_pictures_are_carried_over(model, run, pictures):
    other, dead, same = visualize.carried_over(model, "conv_2", pictures, pictures)
    assert [row["filter"] for row in (other, dead, same)] == [2, 1, 0]
    assert same["kept"] == pytest.approx(1) and same["alike"] == pytest.approx(1, abs=1e-5) and dead["kept"] is None
    assert 0 < visualize.carried_over(model, "conv_2", run(steps=1), pictures)[2]["kept"] < 0.9
