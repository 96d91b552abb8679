"""The peers' losses are those of their papers, computed by hand in NumPy; and each trains on every backend."""

import keras
import numpy as np
import pytest
from keras import ops
from l2t_helpers import ALIKE, images, networks

from tlkeras.l2t import LearningToTransfer, Settings, peers
from tlkeras.l2t.matching import interpolation

PAIRS = {
    "at": [("s1b1", "relu1"), ("s2b1", "relu2")],
    "sp": [("s2b1", "relu2")],
    "vid": [("s1b1", "relu1"), ("s2b1", "relu2")],
    "semckd": [(source, target) for source in ("s1b1", "s2b1") for target in ("relu1", "relu2")],
    "lwf": [("s2b1", "relu2")],
}


@pytest.fixture(scope="module")
def scene():
    """Both networks, a batch, and their maps by layer, float64."""
    source, target = networks()
    x, _ = images(5)
    x = x.astype(np.float32)
    maps = {}
    for model, names in ((source, ("s1b1", "s2b1")), (target, ("relu1", "relu2"))):
        found = keras.Model(model.inputs[0], [model.get_layer(name).output for name in names])(x, training=False)
        maps |= {name: ops.convert_to_numpy(value).astype(float) for name, value in zip(names, found, strict=True)}
    return source, target, x, maps


def found(name, scene, seed=0):
    """Return the mean of each pair's error over the batch, and the branches."""
    source, target, x, maps = scene
    matching = peers.PEERS[name](source, target, PAIRS[name])
    branches = matching.initial_branches(np.random.default_rng(seed))
    features = [ops.convert_to_tensor(maps[layer].astype(np.float32)) for layer in matching.target_shapes]
    goals = matching.goals(matching.source_features(ops.convert_to_tensor(x)))
    errors = matching.errors(features, [ops.convert_to_tensor(b.astype(np.float32)) for b in branches], goals)
    assert [tuple(error.shape) for error in errors] == [(5, 1, 1)] * len(PAIRS[name])
    return [float(ops.mean(error)) for error in errors], branches


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def shrunk(x, side):
    matrix = interpolation(x.shape[1], side)
    return np.einsum("ih,jw,bhwc->bijc", matrix, matrix, x)


def test_attention_transfer(scene):
    maps = scene[3]
    wanted = []
    for source, target in PAIRS["at"]:
        q = [unit((maps[name] ** 2).mean(3).reshape(5, -1)) for name in (target, source)]
        wanted.append(((q[0] - q[1]) ** 2).mean())
    assert found("at", scene)[0] == pytest.approx(wanted, rel=1e-4)


def test_similarity_preserving(scene):
    flat = [scene[3][name].reshape(5, -1) for name in ("s2b1", "relu2")]
    matrices = [unit(x @ x.T) for x in flat]
    assert found("sp", scene)[0] == pytest.approx([((matrices[1] - matrices[0]) ** 2).sum() / 5**2], rel=1e-4)


def test_variational_information(scene):
    errors, branches = found("vid", scene)
    wanted = []
    for number, (source, target) in enumerate(PAIRS["vid"]):
        first, second, third, raw = branches[4 * number : 4 * number + 4]
        variance = np.log1p(np.exp(raw)) + 1e-5
        assert variance == pytest.approx(5.0)
        mean = np.maximum(np.maximum(scene[3][target] @ first, 0) @ second, 0) @ third
        wanted.append((((scene[3][source] - mean) ** 2 / variance + np.log(variance)) / 2).mean())
    assert errors == pytest.approx(wanted, rel=1e-4)


def embedded(x, kernel, bias, second, second_bias):
    rows = np.zeros((5, 128))
    rows[:, :5] = x.reshape(5, -1) @ x.reshape(5, -1).T
    return unit(np.maximum(rows @ kernel + bias, 0) @ second + second_bias)


def test_semantic_calibration(scene):
    maps, (errors, branches) = scene[3], found("semckd", scene)
    layers = ["relu1", "relu2", "s1b1", "s2b1"]
    said = {name: embedded(maps[name], *branches[8 + 4 * k : 12 + 4 * k]) for k, name in enumerate(layers)}
    wanted = []
    for number, (source, target) in enumerate(PAIRS["semckd"]):
        scores = np.stack([(said[target] * said[name]).sum(1) for name in ("s1b1", "s2b1")], 1)
        attention = softmax(scores)[:, ("s1b1", "s2b1").index(source)]
        mapped = maps[target] @ branches[2 * number] + branches[2 * number + 1]
        squares = (mapped - shrunk(maps[source], mapped.shape[1])) ** 2
        wanted.append((attention * squares.mean((1, 2, 3))).mean() / 2)
    assert errors == pytest.approx(wanted, rel=1e-3)


def test_learning_without_forgetting(scene):
    source, _, x, maps = scene
    errors, (kernel, bias) = found("lwf", scene)
    said = [ops.convert_to_numpy(source(x, training=False)), maps["relu2"].mean((1, 2)) @ kernel + bias]
    wanted = -(softmax(said[0] / 2) * np.log(softmax(said[1] / 2))).sum(1).mean()
    assert errors == pytest.approx([wanted], rel=1e-4)


@pytest.mark.parametrize("name", peers.PEERS)
def test_each_trains(name):
    """It lowers its own loss, also with a last batch that is smaller."""
    source, target = networks()
    settings = Settings(beta=1.0)
    learner = LearningToTransfer(source, target, PAIRS[name], **ALIKE, settings=settings, matching=peers.PEERS[name])
    history = learner.fit(*images(), epochs=6, batch_size=7, learning_rate=0.02)
    assert min(history["matching"]) < history["matching"][0]
    assert np.isfinite(history["loss"]).all()
    assert learner.described["matching"] == peers.PEERS[name].__name__


def test_learning_without_forgetting_takes_one_pair(scene):
    with pytest.raises(ValueError, match=r"Expected one pair of layers\. Received: 2"):
        peers.LearningWithoutForgetting(*scene[:2], PAIRS["at"])


def test_random_weights_that_stay_take_no_lookahead():
    source, target = networks()
    learner = LearningToTransfer(source, target, PAIRS["semckd"], settings=Settings(meta_rate=0.0))
    before = learner.transfer_weights(images()[0].astype(np.float32))
    history = learner.fit(*images(), epochs=1, batch_size=6, learning_rate=0.01)
    after = learner.transfer_weights(images()[0].astype(np.float32))
    assert "lookahead" not in history
    assert all(np.array_equal(a, b) for name in before for a, b in zip(before[name], after[name], strict=True))
    with pytest.raises(ValueError, match=r"Expected a rate of at least 0\. Received: meta_rate=-1"):
        Settings(meta_rate=-1)


def test_the_rate_rises_before_it_falls():
    source, target = networks()
    learner = LearningToTransfer(source, target, [], **ALIKE)
    rates = learner.fit(*images(), epochs=4, batch_size=6, learning_rate=0.1, warm_up=2)["learning_rate"]
    assert rates == pytest.approx([0.05, *(0.05 * (1 + np.cos(np.pi * np.arange(1, 4) / 4)))])
