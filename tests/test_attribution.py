"""Attribution where the answer is known: a bright square, linear models, completeness; and bad input is named."""

import keras
import numpy as np
import pytest
from helpers import images, tiny
from keras import layers

from tlkeras import graph
from tlkeras.transfer import freezing
from tlkeras.visualize import attribution as module
from tlkeras.visualize import grad_cam, integrated_gradients

SQUARE = (slice(4, 10), slice(9, 15))


def scene(square=SQUARE, background=60):
    """Return one 20x20 image, a bright square on grey noise."""
    image = np.random.default_rng(0).integers(background - 10, background + 10, (1, 20, 20, 1)).astype(np.uint8)
    image[(0, *square)] = 250
    return image


def detector(activation="softmax", nested=False, frozen=False, outputs=2):
    """Return a network that fires for a bright square of about 5 pixels: class 1 is "there is one", class 0 is not.

    A single output is that of class 1.
    """
    inputs = keras.Input((20, 20, 1))
    x = layers.Rescaling(1 / 255, name="rescaling")(inputs)
    x = layers.Conv2D(1, 5, padding="same", activation="relu", name="bright")(x)
    base = keras.Model(inputs, x, name="base")
    if nested:
        outer = keras.Input((20, 20, 1))
        inputs, x = outer, base(outer, training=False)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(inputs, layers.Dense(outputs, activation=activation, name="head")(x))
    base.get_layer("bright").set_weights([np.full((5, 5, 1, 1), 1 / 25), np.array([-0.5])])
    model.get_layer("head").set_weights([np.array([[-30.0, 30.0][-outputs:]]), np.array([1.0, -1.0][-outputs:])])
    model.trainable = not frozen
    return model


def outside(square=SQUARE, margin=2):
    """Return a mask `(20, 20)` of what lies more than `margin` pixels beside the square."""
    mask = np.ones((20, 20), bool)
    mask[tuple(slice(side.start - margin, side.stop + margin) for side in square)] = False
    return mask


@pytest.mark.parametrize("square", [SQUARE, (slice(12, 18), slice(3, 9))])
def test_heat_lies_in_the_square(square):
    heat = grad_cam(detector(), scene(square), classes=1)
    assert heat.shape == (1, 20, 20) and heat.dtype == np.float32
    assert heat.max() == 1 and heat.min() == 0
    assert not heat[0][outside(square)].any()
    assert heat[0][square].sum() > 0.95 * heat.sum() and heat[0][square].max() == 1


def test_nothing_speaks_for_the_other_class_and_nothing_fires_without_a_square():
    assert not grad_cam(detector(), scene(), classes=0).any()
    assert not grad_cam(detector(), np.full((1, 20, 20, 1), 60, np.uint8), classes=1).any()


def test_integrated_gradients_lie_in_the_square():
    found = integrated_gradients(detector(), scene(), classes=1, steps=16, samples=4)
    assert found.shape == (1, 20, 20) and found.dtype == np.float32
    assert found[0][SQUARE].sum() > 0.8 * np.abs(found).sum()
    assert np.abs(found[0][outside(margin=4)]).max() < 0.01 * found.max()


@pytest.mark.parametrize("attribution", [grad_cam, integrated_gradients])
@pytest.mark.parametrize("changes", [{"activation": None}, {"nested": True}, {"nested": True, "frozen": True}])
def test_logits_softmax_nested_and_frozen_models_give_the_same(attribution, changes):
    square = np.concatenate([scene(), scene((slice(1, 7), slice(1, 7)))])
    expected = attribution(detector(), square, classes=1)
    np.testing.assert_allclose(attribution(detector(**changes), square, classes=1), expected, atol=1e-5)


def test_a_saturated_softmax_hides_nothing():
    model = detector()
    model.get_layer("head").set_weights([np.array([[-3e4, 3e4]]), np.zeros(2)])
    assert float(model(scene())[0, 1]) == 1  # whose gradient is 0
    assert integrated_gradients(model, scene(), classes=1).max() > 1


def test_a_linear_model_is_shared_out_exactly():
    model = keras.Sequential([keras.Input((4, 5, 3)), layers.Flatten(), layers.Dense(3)])
    given, baseline = images(2, shape=(4, 5, 3)), images(1, seed=1, shape=(4, 5, 3))[0]
    slopes = model.layers[-1].get_weights()[0].reshape(4, 5, 3, 3)
    expected = ((given.astype(np.float32) - baseline) * slopes[..., [2, 0]].transpose(3, 0, 1, 2)).sum(-1)
    found = integrated_gradients(model, given, classes=[2, 0], steps=1, noise=0, baseline=baseline)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("baseline", [0.0, 127.5, np.arange(64.0).reshape(8, 8, 1)])
def test_attributions_add_up_to_the_difference_of_logits(baseline):
    model, given = tiny(classifier_activation=None), images(3)
    found = integrated_gradients(model, given, classes=2, steps=400, noise=0, baseline=baseline)
    there, start = model(given.astype(np.float32)), model(np.broadcast_to(baseline, given.shape).astype(np.float32))
    np.testing.assert_allclose(found.sum((1, 2)), (there - start)[:, 2], rtol=0.01, atol=1e-3)


def test_the_predicted_class_is_the_default():
    model, given = tiny(seed=3), images(12)
    predicted = np.argmax(model(given), axis=1)
    assert len(set(predicted)) > 1
    np.testing.assert_array_equal(grad_cam(model, given), grad_cam(model, given, classes=predicted))
    options = {"steps": 2, "samples": 1}
    found = integrated_gradients(model, given, **options)
    np.testing.assert_array_equal(found, integrated_gradients(model, given, predicted, **options))


@pytest.mark.parametrize("activation", ["sigmoid", None])
@pytest.mark.parametrize("attribution", [grad_cam, integrated_gradients])
def test_a_single_output_tells_two_classes_apart(attribution, activation):
    single = detector(outputs=1, activation=activation)
    two = detector(activation=None)
    given = np.concatenate([scene(), np.full((1, 20, 20, 1), 250, np.uint8)])
    for classes in (None, 0, 1, [1, 0]):
        np.testing.assert_allclose(attribution(single, given, classes), attribution(two, given, classes), atol=1e-5)
    np.testing.assert_array_equal(attribution(single, given), attribution(single, given, [0, 1]))
    with pytest.raises(ValueError, match=r"labels in 0..1. Received: min=2, max=2$"):
        attribution(single, given, 2)


def test_noise_is_seeded_and_the_company_does_not_matter():
    model, given = tiny(), images(4)
    found = integrated_gradients(model, given, classes=1, seed=5)
    np.testing.assert_array_equal(integrated_gradients(model, given, classes=1, seed=5), found)
    np.testing.assert_allclose(integrated_gradients(model, given[2:3], classes=1, seed=5)[0], found[2], atol=1e-5)
    assert not np.allclose(integrated_gradients(model, given, classes=1, seed=6), found, atol=1e-4)


def test_memory_is_bounded_by_smaller_batches(monkeypatch):
    def short(*arguments):
        return integrated_gradients(*arguments, steps=4, samples=2)

    model, given, sizes = tiny(), images(5), []
    expected = [attribution(model, given) for attribution in (grad_cam, short)]
    whole = module.batch_size(model, (8, 8, 1))
    monkeypatch.setattr(module, "BATCH_BYTES", 2 * module.BATCH_BYTES // whole)
    logits = graph.logits

    def counted(*args):
        run = logits(*args)
        return lambda batch, *watch: (sizes.append(batch.shape[0]), run(batch, *watch))[1]

    monkeypatch.setattr(graph, "logits", counted)
    for attribution, heat in zip((grad_cam, short), expected, strict=True):
        np.testing.assert_allclose(attribution(model, given), heat, atol=1e-5)
    assert {size for size in sizes if size} <= {1, 2}
    monkeypatch.setattr(module, "BATCH_BYTES", 1)
    assert module.batch_size(model, (8, 8, 1)) == 1


def test_the_model_stays_as_it_was():
    model = detector(nested=True)
    freezing.freeze(model, "head")
    before = freezing.snapshot(model), [layer.trainable for layer in model.layers], model.to_json()
    nodes = [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    grad_cam(model, scene())
    integrated_gradients(model, scene())
    assert freezing.largest_moves(before[0], model) == {"base": 0, "head": 0}
    assert ([layer.trainable for layer in model.layers], model.to_json()) == before[1:]
    assert model.get_layer("head").activation is keras.activations.softmax
    assert [len(layer._inbound_nodes) for layer in model._flatten_layers()] == nodes


def test_dropout_is_off_and_statistics_stay():
    inputs = keras.Input((8, 8, 1))
    x = layers.BatchNormalization(name="norm")(layers.Dropout(0.5)(layers.Conv2D(3, 3, name="conv")(inputs)))
    x = layers.Dropout(0.9)(layers.Flatten()(x), training=True)
    model = keras.Model(inputs, layers.Dense(3)(x))
    before = model.get_layer("norm").get_weights()
    heat = grad_cam(model, images(2), classes=0, layer="norm")
    np.testing.assert_array_equal(grad_cam(model, images(2), classes=0, layer="norm"), heat)
    np.testing.assert_array_equal(model.get_layer("norm").get_weights(), before)


def test_half_precision():
    policy = keras.dtype_policies.DTypePolicy("mixed_bfloat16")
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu", dtype=policy)(layers.Rescaling(1 / 255, dtype=policy)(inputs))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", dtype=policy)(layers.Flatten(dtype=policy)(x)))
    for attribution in (grad_cam, integrated_gradients):
        found = attribution(model, images(2), classes=1)
        assert found.dtype == np.float32 and np.isfinite(found).all() and found.any()


def test_the_last_map_that_no_pooling_makes_is_the_default():
    model = detector(nested=True)
    heat, coarser = (grad_cam(model, scene(), 1, layer) for layer in (None, "pool"))
    for name in ("bright", "base"):
        np.testing.assert_array_equal(grad_cam(model, scene(), 1, name), heat)
    assert heat.any() and np.any(coarser != heat)


def test_images_of_any_size_where_the_model_takes_them():
    inputs = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3, strides=2, activation="relu")(inputs))
    model = keras.Model(inputs, layers.Dense(2)(x))
    assert grad_cam(model, images(2, shape=(9, 13, 3))).shape == (2, 9, 13)


def two_with_one_name():
    inputs = keras.Input((8, 8, 1))
    inner = [keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(1, 3, padding="same", name="same")])]
    x = layers.Conv2D(1, 3, padding="same", name="same")(inner[0](inputs))
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


def side_branch():
    inputs = keras.Input((8, 8, 1))
    maps = layers.Conv2D(1, 3, name="side")(inputs)
    shape = keras.ops.sign(keras.ops.mean(maps, axis=(1, 2)))
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(inputs)) + keras.ops.stop_gradient(shape))


NOT_A_NUMBER = np.where(np.arange(64).reshape(1, 8, 8, 1) == 5, np.nan, 1.0)
BAD = {
    "unknown layer": (tiny, {"layer": "conv_9"}, r"such as \[.*'conv_1'.*layer='conv_9'$"),
    "layer without a map": (tiny, {"layer": "dense"}, r"spatial map .*Received: layer='dense'"),
    "map of one pixel": (
        lambda: flat(1),
        {"images": images(1, shape=(2, 2, 1)), "layer": "conv"},
        "more than one pixel",
    ),
    "no map at all": (lambda: keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3)]), {}, "map"),
    "two layers of one name": (
        two_with_one_name,
        {"layer": "same"},
        r"one layer; \[.*/same', 'same'\] have this one.*'same'$",
    ),
    "layer beside the way": (side_branch, {"layer": "side"}, "leads to the output. Received: layer='side'"),
    "class too high": (tiny, {"classes": 3}, r"labels in 0..2. Received: min=3, max=3"),
    "class below 0": (tiny, {"classes": -1}, r"labels in 0..2. Received: min=-1"),
    "class of no number": (tiny, {"classes": 0.5}, "labels of integers"),
    "classes of others": (tiny, {"classes": [0, 1]}, r"one for each of 1 images. Received: \(2,\)"),
    "NaN": (tiny, {"images": NOT_A_NUMBER}, r"finite values. Received: NaN or infinity in images \[0\]"),
    "other size": (
        tiny,
        {"images": images(1, shape=(9, 8, 1))},
        r"shape \(n, 8, 8, 1\). Received: shape=\(1, 9, 8, 1\)",
    ),
    "one image alone": (tiny, {"images": images(1)[0]}, r"Received: shape=\(8, 8, 1\)"),
    "no images": (tiny, {"images": images(0)}, "Received: 0 images"),
    "text": (tiny, {"images": np.full((1, 8, 8, 1), "a")}, "integers or floats"),
    "no classifier": (lambda: keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(1, 3)]), {}, "classes"),
    "no model": (lambda: "TomiNet", {}, "functional model"),
}


def flat(side):
    x = keras.Input((2 * side, 2 * side, 1))
    return keras.Model(x, layers.Dense(3)(layers.Flatten()(layers.Conv2D(2, 2, strides=2, name="conv")(x))))


@pytest.mark.parametrize(("model", "arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_of_grad_cam(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        grad_cam(model(), **{"images": images(1), **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "Received: steps=0"),
        ({"samples": 0}, "samples=0"),
        ({"noise": -0.1}, "noise=-0.1"),
        ({"noise": np.nan}, "noise=nan"),
        ({"baseline": np.zeros((7, 8, 1))}, r"fits \(1, 8, 8, 1\). Received: shape=\(7, 8, 1\)"),
        ({"baseline": np.nan}, "baseline of finite values"),
        ({"images": NOT_A_NUMBER}, "NaN or infinity in images"),
        ({"classes": 7}, "Received: min=7"),
    ],
)
def test_bad_input_of_integrated_gradients(arguments, message):
    with pytest.raises(ValueError, match=message):
        integrated_gradients(tiny(), **{"images": images(1), **arguments})


def test_a_model_without_a_gradient_is_named():
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(keras.ops.stop_gradient(inputs))), name="blocked")
    with pytest.raises(ValueError, match="differentiable in its input. Received: 'blocked'$"):
        integrated_gradients(model, images(1), classes=1)
