"""Cut where it changes nothing, never serve features of anything else; averaged maps are the means of each block."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import images, randomised, tiny
from keras import layers

from tlkeras.models import squeezenet
from tlkeras.transfer import FeatureCache, evaluation, features, freeze
from tlkeras.transfer.features import block_features, split

INPUTS = images(6, shape=(4, 4, 2))


def conv(name, frozen=True):
    return layers.Conv2D(2, 3, padding="same", name=name, trainable=not frozen)


def classifier(inputs, x):
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="head")(layers.Flatten(name="flat")(x)))


def pixels():
    return keras.Input((4, 4, 2), name="pixels")


def cut_of(model):
    """Return the last layer before the cut, None without one; check that the halves do what the whole does."""
    halves = split(model)
    if halves is None:
        return None
    base, head = halves
    np.testing.assert_allclose(head(base(INPUTS)), model(INPUTS), rtol=1e-5)
    assert {id(weight) for weight in base.weights + head.weights} == {id(weight) for weight in model.weights}
    return base.layers[-1].name


def test_a_flat_model_is_cut_before_the_first_trained_layer():
    model = randomised(tiny())
    for train, last in (("head", "flatten_6"), (2, "max_pool_2"), (3, "batch_norm_1"), (4, "max_pool_1")):
        freeze(model, train)
        base, head = split(model)
        assert base.layers[-1].name == last
        np.testing.assert_allclose(head(base(images())), model(images()), rtol=1e-5)
        np.testing.assert_allclose(head(base(images(), training=True), training=False), model(images()), rtol=1e-5)


@pytest.mark.parametrize("train", ["all", 5, ["conv_1"], ["conv_1", "dense"]])
def test_nothing_is_cached_when_nothing_frozen_comes_first(train):
    model = tiny()
    freeze(model, train)
    assert split(model) is None


def test_a_model_without_trained_layers_is_cut_before_its_last():
    model = tiny()
    freeze(model, 0)
    assert split(model)[0].layers[-1].name == "flatten_6"


def test_splitting_again_gives_the_same_cut():
    inputs = pixels()
    stem = conv("stem")(inputs)
    model = classifier(inputs, layers.Concatenate()([stem, conv("last", frozen=False)(conv("side")(stem))]))
    assert [cut_of(model) for _ in range(3)] == ["stem"] * 3  # the head calls "side" anew each time
    model.get_layer("last").trainable = False
    assert cut_of(model) == "flat"


def test_the_cut_is_before_dropout_and_augmentation():
    inputs = pixels()
    assert cut_of(classifier(inputs, layers.Dropout(0.5)(conv("frozen")(inputs)))) == "frozen"
    inputs = pixels()
    assert cut_of(classifier(inputs, conv("frozen")(layers.RandomFlip()(inputs)))) is None
    inputs = pixels()
    nested = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)])
    assert cut_of(classifier(inputs, conv("frozen")(nested(inputs)))) is None


@pytest.mark.parametrize("scale", [True, False])
def test_normalisation_is_static_only_when_it_is_frozen(scale):
    inputs = pixels()
    norm = layers.BatchNormalization(name="norm", center=scale, scale=scale)
    model = randomised(classifier(inputs, norm(conv("frozen")(inputs))))
    assert cut_of(model) == "frozen"
    norm.trainable = False
    assert cut_of(model) == "flat"


def residual(inputs, frozen, merge):
    stem = conv("stem")(inputs)
    x = conv("last", frozen=frozen)(conv("first")(stem))
    return classifier(inputs, merge(stem, x))


MERGES = {
    "concatenate": lambda one, other: layers.Concatenate()([one, other]),
    "add": lambda one, other: layers.Add()([one, other]),
    "plus": lambda one, other: one + other,
}


@pytest.mark.parametrize("merge", MERGES.values(), ids=MERGES)
def test_branches_are_cut_only_where_all_paths_meet(merge):
    assert cut_of(residual(pixels(), frozen=False, merge=merge)) == "stem"
    assert cut_of(residual(pixels(), frozen=True, merge=merge)) == "flat"


def test_there_is_no_cut_beside_a_shortcut_from_the_image():
    inputs = pixels()
    x = conv("last", frozen=False)(conv("first")(inputs))
    assert cut_of(classifier(inputs, layers.Concatenate()([inputs, x]))) is None


def test_a_layer_used_twice_is_seen_in_both_places():
    inputs, shared = pixels(), conv("shared", frozen=False)
    model = classifier(inputs, layers.Add()([shared(conv("frozen")(inputs)), shared(inputs)]))
    assert cut_of(model) is None
    inputs, shared = pixels(), conv("shared", frozen=False)
    assert cut_of(classifier(inputs, shared(shared(conv("frozen")(inputs))))) == "frozen"


def test_a_layer_that_another_model_uses_too_is_no_obstacle():
    frozen = conv("frozen")
    classifier(other := pixels(), frozen(other))
    inputs = pixels()
    assert cut_of(classifier(inputs, frozen(inputs))) == "flat"


def test_a_sequential_model_is_split_too():
    parts = [pixels(), conv("frozen"), layers.Flatten(name="flat"), layers.Dense(3, name="head")]
    assert cut_of(keras.Sequential(parts)) == "flat"
    assert cut_of(keras.Sequential([pixels(), layers.RandomFlip(), *parts[1:]])) is None


def small(scale=1 / 255, seed=0, activation="relu"):
    inputs = keras.Input((2, 2, 1), name="pixels")
    x = layers.Flatten(name="flat")(layers.Rescaling(scale, name="rescaling")(inputs))
    return randomised(keras.Model(inputs, layers.Dense(2, activation, name="dense")(x)), seed)


PIXELS = images(5, shape=(2, 2, 1))


@pytest.fixture(scope="module")
def base():
    return small()


def test_features_are_computed_once(base):
    cache = FeatureCache()
    first = cache.features(base, PIXELS, copy=False)
    np.testing.assert_allclose(first, base(PIXELS), rtol=1e-6)
    assert cache.features(base, PIXELS.copy(), copy=False) is first
    assert cache.features(small(), PIXELS, copy=False) is first  # the same network, built again
    assert (cache.hits, cache.misses) == (2, 1)


def test_what_is_written_into_features_does_not_reach_the_cache(base):
    cache = FeatureCache()
    for _ in range(3):  # computed, then kept
        found = cache.features(base, PIXELS)
        np.testing.assert_allclose(found, base(PIXELS), rtol=1e-6)
        found -= found.mean(axis=0)


def test_large_maps_run_in_small_batches_with_the_same_result(base, monkeypatch):
    whole = FeatureCache().features(base, PIXELS)
    assert features.inference_batch(base) == 1000
    monkeypatch.setattr(features, "MAP_BYTES", 2 * 4 * 4)  # two images of four float32 numbers
    assert features.inference_batch(base) == 2
    np.testing.assert_allclose(FeatureCache().features(base, PIXELS), whole, rtol=1e-6)
    monkeypatch.setattr(features, "MAP_BYTES", 1)
    assert features.inference_batch(base) == 1


def of_sides(*sides):
    inputs = keras.Input((*sides, 1))
    x = layers.Conv2D(2, 3, strides=2, name="conv")(inputs)
    x = layers.UpSampling2D(4, name="large")(layers.BatchNormalization(name="norm")(x))
    return keras.Model(inputs, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D(name="mean")(x)))


def test_sides_that_a_model_leaves_open_are_those_of_the_images(monkeypatch):
    anything, sizes = of_sides(None, None), []
    assert features.inference_batch(anything, shape=(400, 300, 1)) == 17  # of 796 x 596 x 2 numbers each
    for shape in ((400, 300, 1), (9, 9, 1)):
        assert features.inference_batch(anything, shape=shape) == features.inference_batch(of_sides(*shape[:2]))
    assert features.inference_batch(of_sides(9, 9), shape=(400, 300, 1)) == 1000
    monkeypatch.setattr(features, "MAP_BYTES", 2 * 4 * 16 * 16 * 2)  # two maps of 9 x 9 images, four times 4 x 4
    pictures, labels = images(5, shape=(9, 9, 1)), np.zeros(5, np.int32)
    FeatureCache().features(anything, pictures, lambda batch: (sizes.append(len(batch)), anything(batch))[1])
    sizes += [len(batch[0]) for batch in evaluation.Evaluator(anything).batches(pictures, labels)]
    assert sizes == [2, 2, 1] * 2
    np.testing.assert_allclose(
        block_features(anything, ["norm"], pictures)["norm"],
        keras.ops.mean(keras.Model(anything.input, anything.get_layer("norm").output)(pictures), (1, 2)),
        rtol=1e-4,
    )


@pytest.fixture
def eager(monkeypatch):
    """Compute features without tracing a graph: these tests ask when, not how, they are computed."""
    monkeypatch.setattr(keras.Model, "predict", lambda self, images, **options: np.asarray(self(images)))


CHANGES = {
    "images": lambda: (small(), images(5, seed=1, shape=(2, 2, 1))),
    "one pixel": lambda: (small(), np.where(np.arange(20).reshape(PIXELS.shape) == 7, 255 - PIXELS, PIXELS)),
    "fewer images": lambda: (small(), PIXELS[:4]),
    "type of the images": lambda: (small(), PIXELS.astype(np.float32)),
    "weights": lambda: (small(seed=1), PIXELS),
    "preprocessing": lambda: (small(scale=1 / 127.5), PIXELS),
    "architecture": lambda: (small(activation="tanh"), PIXELS),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_change_is_a_miss(base, eager, change):
    cache = FeatureCache()
    cache.features(base, PIXELS)
    other, pictures = change()
    np.testing.assert_allclose(cache.features(other, pictures), other(pictures))
    assert (cache.hits, cache.misses) == (0, 2)


def test_the_same_layers_wired_otherwise_are_a_miss(eager):
    cache, found = FeatureCache(), []
    for shortcut in (0, 1):
        inputs = keras.Input((2, 2, 1), name="pixels")
        steps = [layers.Dense(1, name="first")(inputs)]
        steps.append(layers.Dense(1, name="second")(steps[0]))
        steps.append(layers.Dense(1, name="third")(steps[1]))
        wired = randomised(keras.Model(inputs, layers.Add(name="add")([steps[2], steps[shortcut]])))
        found.append(cache.features(wired, PIXELS))
        np.testing.assert_allclose(found[-1], wired(PIXELS), rtol=1e-5)  # compiled against eager
    assert cache.misses == 2
    assert not np.allclose(*found)


def test_the_oldest_features_go_first(base, eager):
    one, two, three = (images(5, seed=seed, shape=(2, 2, 1)) for seed in range(3))
    cache = FeatureCache(max_bytes=2 * base(one).numpy().nbytes)
    for pictures in (one, two, one, three):  # "two" was used longest ago when "three" needs its place
        cache.features(base, pictures)
    assert (cache.hits, cache.misses) == (1, 3)
    cache.features(base, one)
    cache.features(base, three)
    assert (cache.hits, cache.misses) == (3, 3)
    cache.features(base, two)
    assert (cache.hits, cache.misses) == (3, 4)


def test_features_larger_than_the_cache_are_computed_and_neither_kept_nor_in_the_way(base, eager):
    small, large = images(2, shape=(2, 2, 1)), images(5, shape=(2, 2, 1))
    cache = FeatureCache(max_bytes=base(small).numpy().nbytes)
    for pictures in (small, large, small, large, small):
        np.testing.assert_allclose(cache.features(base, pictures), base(pictures))
    assert (cache.hits, cache.misses) == (2, 3)


def test_the_process_shares_one_cache():
    assert isinstance(features.SHARED, FeatureCache)


@pytest.mark.parametrize("count", [1, 5, 8])
def test_parts_of_a_batch_that_run_side_by_side_give_what_the_whole_gives(monkeypatch, count):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "3")
    model = squeezenet(4, weights=None, fires=((2, 3),) * 8, resolution=40)
    batch = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)
    found = features.compiled_forward(model)(tf.constant(batch))
    np.testing.assert_allclose(found, model(batch), rtol=1e-5, atol=1e-6)


def test_every_block_gives_the_means_of_its_map(monkeypatch):
    model = randomised(tiny())
    found = block_features(model, ["conv_1", "batch_norm_2"], images())
    assert {name: values.shape for name, values in found.items()} == {"conv_1": (12, 4), "batch_norm_2": (12, 3)}
    wanted = model.get_layer("conv_1")(images() / np.float32(255)).numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(found["conv_1"], wanted, rtol=1e-4)
    monkeypatch.setattr(features, "MAP_BYTES", 1)  # one image at a time
    (alone,) = block_features(model, ["batch_norm_2"], images()).values()
    np.testing.assert_allclose(alone, found["batch_norm_2"], rtol=1e-4)


def test_features_of_a_network_of_half_precision_are_float32():
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(2, 3, name="conv", dtype="mixed_float16")(inputs)
    x = layers.GlobalAveragePooling2D(name="mean", dtype="mixed_float16")(x)
    model = keras.Model(inputs, layers.Dense(3)(x))
    base = keras.Model(inputs, x)
    found = FeatureCache().features(base, images())
    assert base.compute_output_spec(inputs).dtype == "float16" and found.dtype == np.float32
    np.testing.assert_allclose(found, base(images()), rtol=2e-3)
    assert block_features(model, ["conv"], images())["conv"].dtype == np.float32


@pytest.mark.parametrize("names", [[], ["conv_3"], ["conv_1", "dense"]])
def test_layers_without_a_map_are_refused(names):
    with pytest.raises(ValueError, match=r"names of layers with maps.* Received: "):
        block_features(tiny(), names, images())
