"""Matching and meta-networks: maps are resized as TensorFlow does, regions weigh like resized grids, answers, sizes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from l2t_helpers import PAIRS, images, networks

from tlkeras.l2t.fast import FastMatching, FastMetaNetworks
from tlkeras.l2t.matching import Matching, interpolation, region_weights, resized
from tlkeras.l2t.metanets import MetaNetworks
from tlkeras.models import resnet32, vgg9
from tlkeras.models.resnet32 import FEATURES as SOURCE
from tlkeras.models.vgg import VGG9_FEATURES as TARGET


@pytest.fixture(scope="module")
def models():
    return networks()


@pytest.mark.parametrize("sizes", [(3, 32), (3, 2), (8, 4), (4, 8), (5, 7), (6, 6), (1, 4)])
def test_resizing_is_tensorflows_without_antialiasing(sizes):
    maps = np.random.default_rng(0).normal(size=(2, sizes[0], sizes[0] + 1, 3)).astype(np.float32)
    expected = tf.image.resize(maps, (sizes[1], sizes[1]))
    np.testing.assert_allclose(resized(tf.constant(maps), sizes[1], sizes[1]), expected, atol=1e-5)
    np.testing.assert_allclose(interpolation(*sizes).sum(axis=1), 1)


def test_a_grid_of_errors_weighs_like_a_resized_image():
    generator = np.random.default_rng(0)
    grid, squares = generator.uniform(size=(3, 3)), generator.uniform(size=(4, 5))
    image = tf.image.resize(grid[None, ..., None], (4, 5))[0, ..., 0].numpy()
    by_region = region_weights(4, 5) @ squares.ravel()
    assert by_region @ grid.ravel() == pytest.approx((image * squares).mean(), rel=1e-6)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("image", "relu1")], r"layers of the source out of \['preprocessing'.*Received: \['image'\]$"),
        ([("s9", "relu1")], r"layers of the source out of \['preprocessing'.*Received: \['s9'\]$"),
        ([("s1b1", "relu9")], r"layers of the target out of .*Received: \['relu9'\]$"),
        ([("s1b1", "fc")], r"a map \(height, width, channels\).*Received: target layer 'fc' with \(3,\)$"),
        ([("pool", "relu1")], r"Received: source layer 'pool' with \(6,\)$"),
        ([PAIRS[0], PAIRS[0]], r"every pair once\. Received: \[\('s1b1', 'relu1'\)\]$"),
    ],
)
def test_unfit_pairs_are_refused(models, pairs, message):
    with pytest.raises(ValueError, match=message):
        Matching(*models, pairs)


def test_a_map_of_unknown_size_is_refused(models):
    inputs = keras.Input((None, None, 3))
    source = keras.Model(inputs, keras.layers.Conv2D(2, 3, name="conv")(inputs))
    with pytest.raises(ValueError, match=r"of known size\. Received: source layer 'conv' with \(None, None, 2\)$"):
        Matching(source, models[1], [("conv", "relu1")])


def answers(models, kinds):
    make_matching, make_meta = kinds
    matching = make_matching(*models, PAIRS, by_region=True)
    meta = make_meta(matching, what=True, where=True, which=True)
    features = matching.source_features(tf.constant(images()[0], tf.float32))
    parameters = [tf.constant(v, tf.float32) for v in meta.initial(np.random.default_rng(0))]
    return meta, parameters, features


@pytest.mark.parametrize("kinds", [(Matching, MetaNetworks), (FastMatching, FastMetaNetworks)], ids=["plain", "fast"])
def test_at_first_every_channel_and_pixel_weighs_the_same(models, kinds):
    meta, parameters, features = answers(models, kinds)
    found = meta.answers(parameters, features)
    assert [tuple(x.shape) for x in found["which"]] == [(12, 4, 9), (12, 6, 9), (12, 4, 9)]
    for pair, channels in enumerate((4, 6, 4)):
        np.testing.assert_allclose(found["what"][pair], 1 / channels, rtol=1e-6)
        np.testing.assert_allclose(found["which"][pair], 1, rtol=1e-6)
        assert float(tf.reduce_min(found["where"][pair])) >= 0 and float(tf.reduce_max(found["where"][pair])) <= 6
    weights = meta.matching.by_pair(meta.weights(parameters, features, tf.constant(0.25)))
    np.testing.assert_allclose(weights[2][:, 3, 2], 0.25 / 4 * found["where"][2][:, 0], rtol=1e-5)


def test_sizes_of_the_meta_networks_of_the_report():
    matching = Matching(resnet32(200), vgg9(10), [(m, n) for m in SOURCE for n in TARGET], by_region=True)
    meta = MetaNetworks(matching, what=True, where=True, which=True)
    sizes = {"what": 0, "where": 0, "which": 0}
    for name, value in zip(meta.names, meta.initial(np.random.default_rng(0)), strict=True):
        sizes[name.split("/")[0]] += value.size
    assert sizes == {"what": 27_440, "where": 575, "which": 1_295_280}
    assert sum(value.size for value in matching.initial_branches(np.random.default_rng(0))) == 165_424


def test_which_needs_errors_by_region(models):
    with pytest.raises(ValueError, match=r"by_region=True\. Received: by_region=False$"):
        MetaNetworks(Matching(*models, PAIRS), what=True, where=True, which=True)


def test_the_errors_are_those_of_1x1_convolutions_from_the_resized_maps(models):
    matching = Matching(*models, PAIRS)
    features = matching.source_features(tf.constant(images()[0], tf.float32))
    assert matching.names == ["s1b1 -> relu1", "s2b1 -> relu1", "s1b1 -> relu2"]
    generator = np.random.default_rng(0)
    maps = [tf.constant(generator.normal(size=(12, *shape)), tf.float32) for shape in matching.target_shapes.values()]
    branches = [tf.constant(v, tf.float32) for v in matching.initial_branches(generator)]
    found = matching.errors(maps, branches, matching.goals(features))
    for number, (source, place) in enumerate([("s1b1", 0), ("s2b1", 0), ("s1b1", 1)]):
        goal = tf.image.resize(features[source], maps[place].shape[1:3])
        mapped = tf.nn.conv2d(maps[place], branches[2 * number][None, None], 1, "SAME") + branches[2 * number + 1]
        expected = tf.reduce_mean(tf.square(mapped - goal), (1, 2))
        np.testing.assert_allclose(found[number][:, 0], expected, rtol=1e-4)
