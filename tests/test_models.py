"""What every network must be: the contract of the builders, checked for each of them alike."""

import inspect
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import taken_home
from helpers import randomised

from tlkeras import graph, models
from tlkeras.models import records, weights
from tlkeras.transfer.phases import LayerwiseAdam

# The smallest network that each builder makes, in milliseconds.
SMALL = {
    "tominet": {"filters": (4, 3), "input_shape": (8, 8, 1)},
    "squeezenet": {"fires": ((4, 8), (4, 8)), "input_shape": (32, 32, 3)},
    "alexnet": {"filters": (3, 4, 5, 4, 3), "input_shape": (63, 63, 3)},
    "vgg16": {"blocks": ((2, 2), (3, 3), (4, 4, 4), (3, 3, 3), (3, 3, 3)), "input_shape": (32, 32, 3)},
    "vgg9": {"blocks": ((4,), (4, 5)), "input_shape": (8, 8, 3)},
    "resnet32": {"filters": (4, 6), "blocks": 1, "input_shape": (8, 8, 3)},
}
OURS = ("vgg9", "resnet32")  # have a layer that is not Keras' own, and go home as `portable` copies
SIGNATURE = ["num_classes", "input_shape", "weights", "new_head", "preprocessing", "classifier_activation"]
SHIPPED = [
    (network, name)
    for network, facts in records.NETWORKS.items()
    for name, file in facts.weights.items()
    if file not in records.RECORDS
]

every_network = pytest.mark.parametrize("name", SMALL)


def small(name, num_classes=3, **options):
    return getattr(models, name)(num_classes, **{**SMALL[name], **options})


def pictures(name, count=2, seed=0):
    shape = SMALL[name]["input_shape"]
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)


def test_every_network_has_its_facts():
    assert set(records.NETWORKS) == set(SMALL)


@every_network
def test_the_signature_is_one(name):
    parameters = inspect.signature(getattr(models, name)).parameters
    assert list(parameters)[:6] == SIGNATURE
    assert parameters["num_classes"].default is parameters["weights"].default.__class__ or (
        parameters["weights"].default is None and parameters["new_head"].default is None
    )
    assert parameters["classifier_activation"].default == "softmax"
    assert all(p.kind is p.KEYWORD_ONLY for p in list(parameters.values())[2:])


@every_network
def test_a_flat_classifier_with_a_named_head(name):
    model = small(name)
    head = records.NETWORKS[name].head
    assert model.output_shape == (None, 3)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert [layer.name for layer in model.layers if layer.weights][-1] == head
    assert all("/" not in layer.name for layer in model.layers)


@every_network
def test_raw_images_of_any_type_in_probabilities_or_logits_out(name):
    keras.utils.set_random_seed(0)
    probabilities = small(name)
    logits = small(name, classifier_activation=None)
    logits.set_weights(probabilities.get_weights())
    images = pictures(name)
    before, outputs = images.copy(), np.asarray(probabilities(images))
    np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(outputs, keras.ops.softmax(logits(images)), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(outputs, probabilities(images.astype(np.float32)))
    np.testing.assert_array_equal(images, before)
    assert graph.has_logits(logits) and not graph.has_logits(probabilities)


@every_network
def test_preprocessing_travels_with_the_model_or_is_left_out(name):
    raw = small(name)
    bare = small(name, preprocessing=None)
    bare.set_weights(raw.get_weights())
    (layer,) = [layer for layer in raw.layers if layer.name in ("preprocessing", "rescaling")]
    images = pictures(name)
    ready = keras.Model(raw.input, layer.output)(images)
    np.testing.assert_allclose(raw(images), bare(ready), rtol=1e-4, atol=1e-6)


@every_network
@pytest.mark.parametrize(
    ("arguments", "received"),
    [
        ({"num_classes": 1}, "num_classes=1"),
        ({"num_classes": 2.5}, "num_classes=2.5"),
        ({"num_classes": True}, "num_classes=True"),
        ({"input_shape": (64, 3)}, "input_shape=(64, 3)"),
        ({"input_shape": (None, None, 3)}, "input_shape=(None, None, 3)"),
        ({"input_shape": (1, 64, 3)}, "input_shape=(1, 64, 3)"),
        ({"input_shape": (64, 64, 0)}, "input_shape=(64, 64, 0)"),
        ({"input_shape": 64}, "input_shape=64"),
        ({"weights": "coco"}, "weights='coco'"),
        ({"preprocessing": "bgr"}, "preprocessing='bgr'"),
        ({"classifier_activation": "tanh"}, "classifier_activation='tanh'"),
    ],
)
def test_bad_arguments_are_named(name, arguments, received):
    with pytest.raises(ValueError) as caught:
        small(name, **arguments)
    assert str(caught.value).endswith(f"Received: {received}")


@every_network
def test_sides_below_the_smallest_are_refused(name):
    facts = records.NETWORKS[name]
    channels = facts.channels or 1
    with pytest.raises(ValueError, match=rf"sides from {facts.smallest} up"):
        getattr(models, name)(3, (facts.smallest - 1, 64, channels))


@every_network
def test_weights_that_do_not_exist_for_these_numbers_leave_a_named_error(name):
    for known, file in records.NETWORKS[name].weights.items():
        if file not in records.RECORDS:  # shipped ones fit the network of the default sizes alone
            with pytest.raises(weights.WeightFileError):
                small(name, weights=known)


@pytest.mark.parametrize(("network", "name"), SHIPPED)
def test_shipped_weights_load_strictly_with_the_head_or_without(network, name):
    record = weights.record(records.NETWORKS[network].weights[name])
    head, build = records.NETWORKS[network].head, getattr(models, network)
    model = build(7)
    loaded = records.load(model, network, name)
    assert loaded.new_layers == (head,) and loaded.sha256 == record["sha256"]
    assert len(loaded.tensors) == sum(len(layer.weights) for layer in model.layers if layer.name != head)
    file = weights.read(weights.PRETRAINED / record["file"])
    if f"{head}/kernel" not in file:
        with pytest.raises(weights.WeightFileError):
            records.load(build(7), network, name, new_head=False)
        return
    classes = file[f"{head}/kernel"].shape[-1]
    whole, new = (build(classes, weights=name, new_head=new_head) for new_head in (None, True))
    kernels = [model.get_layer(head).get_weights()[0] for model in (whole, new)]
    np.testing.assert_array_equal(kernels[0], file[f"{head}/kernel"].astype(np.float32))
    assert not np.array_equal(*kernels)


def test_unknown_networks_and_weights_are_named():
    with pytest.raises(ValueError, match=r"Received: \('tominet', 'imagenet'\)$"):
        records.load(small("tominet"), "tominet", "imagenet")
    with pytest.raises(ValueError, match=r"Received: 'lenet'$"):
        records.fetch("lenet")


@pytest.mark.parametrize("network", ["squeezenet", "resnet32"])
def test_a_stand_in_is_named_as_such(network):
    found = records.best_available(network)  # tests have neither a network nor a cache
    facts = records.NETWORKS[network]
    assert found.stand_in and found.name == facts.stand_in
    assert found.fingerprint == weights.record(facts.weights[found.name])["sha256"][:16]


def test_where_there_is_no_stand_in_the_error_says_what_was_tried():
    with pytest.raises(records.WeightsUnavailableError, match="alexnet_imagenet_conv.npz"):
        records.best_available("alexnet")


@every_network
def test_a_model_saved_and_loaded_predicts_the_same(name, tmp_path):
    model = small(name)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model(pictures(name)), again(pictures(name)))


@every_network
def test_a_portable_copy_is_of_keras_alone_with_weights_of_its_own(name, tmp_path):
    model = randomised(small(name, classifier_activation=None))
    model.compile(LayerwiseAdam(1e-3))
    copy = models.portable(model)
    copy.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        assert b"tlkeras" not in file.read("config.json")
    assert [(layer.name, layer.trainable) for layer in copy.layers] == [(x.name, x.trainable) for x in model.layers]
    before = np.asarray(model(pictures(name)))
    np.testing.assert_array_equal(before, copy(pictures(name)))
    randomised(copy, seed=1)
    np.testing.assert_array_equal(before, model(pictures(name)))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Save every network, and let a process without tlkeras predict; return the folder, and our own predictions."""
    folder, expected = tmp_path_factory.mktemp("home"), {}
    for name in SMALL:
        keras.utils.set_random_seed(0)
        model = small(name)
        images = pictures(name).astype(np.float32)
        model(images, training=True)  # moves the statistics
        (models.portable(model) if name in OURS else model).save(folder / f"{name}.keras")
        model.export(folder / name, verbose=False)
        with warnings.catch_warnings():  # Keras asks NumPy 2 for `np.object`
            warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
            model.export(folder / f"{name}.onnx", format="onnx", verbose=False)
        np.save(folder / f"{name}.npy", images)
        expected[name] = model.predict(images, verbose=0)
    subprocess.run([sys.executable, Path(taken_home.__file__), folder], check=True, cwd=folder, capture_output=True)
    return folder, expected


@every_network
@pytest.mark.parametrize("kind", taken_home.OPENERS)
def test_a_network_taken_home_predicts_the_same(name, kind, home):
    folder, expected = home
    np.testing.assert_allclose(np.load(folder / f"{name}_{kind}.npy"), expected[name], rtol=1e-5, atol=1e-6)
