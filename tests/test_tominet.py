"""TomiNet has the report's layers and parameter counts, takes raw pixels, and gets the weights that are shipped."""

import hashlib

import numpy as np
import pytest

from tlkeras import data
from tlkeras.models import tominet, weights
from tlkeras.transfer.evaluation import evaluate

SOURCES = {"fashion_mnist": 10, "letters": 26, "cyrillic_letters": 42, "mnist": 10}
NAMES = [
    *("image", "rescaling", "conv_1", "max_pool_1", "batch_norm_1", "conv_2", "max_pool_2", "batch_norm_2"),
    *("flatten_6", "dense"),
]


@pytest.mark.parametrize(("num_classes", "parameters"), [(9, 12_201), (10, 12_986)])
def test_the_report_prints_these_counts(num_classes, parameters):
    model = tominet(num_classes)
    assert model.count_params() == parameters
    assert sum(np.prod(weight.shape) for weight in model.non_trainable_weights) == 96
    assert model.output_shape == (None, num_classes)
    assert [layer.name for layer in model.layers] == NAMES
    assert model.name == "TomiNet"


def test_layer_names_follow_the_blocks():
    names = [layer.name for layer in tominet(3, (8, 8, 1), filters=(4, 3, 2)).layers]
    assert names == [*NAMES[:8], "conv_3", "max_pool_3", "batch_norm_3", "flatten_6", "dense"]


@pytest.mark.parametrize("input_shape", [(3, 28, 1), (4, 4, 1)])
def test_images_that_the_poolings_leave_nothing_of_are_refused(input_shape):
    with pytest.raises(ValueError, match=r"input_shape=\(., .*, 1\)$"):
        tominet(10, input_shape, filters=(4, 4, 4))


@pytest.mark.parametrize(("num_classes", "count", "new"), [(10, 12, "dense"), (26, 14, "none")])
def test_letters_go_as_far_as_they_fit(num_classes, count, new):
    model = tominet(num_classes)
    loaded = weights.load_pretrained(model, "tominet_letters", head="dense")
    assert str(loaded) == f"ok: {count} of {count} tensors loaded; new layers: {new}"
    by_name, file = tominet(num_classes, weights="letters"), weights.read(weights.PRETRAINED / "tominet_letters.npz")
    for name in loaded.tensors:
        np.testing.assert_array_equal(weights.tensor_names(by_name)[name], file[name])


@pytest.mark.parametrize(("source", "num_classes"), SOURCES.items())
def test_shipped_weights_are_those_of_their_record(source, num_classes):
    record = weights.record(f"tominet_{source}")
    content = (weights.PRETRAINED / record["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == record["sha256"]
    model = tominet(num_classes)
    loaded = weights.load_pretrained(model, f"tominet_{source}", head="dense")
    assert (loaded.new_layers, loaded.sha256) == ((), record["sha256"])
    assert record["parameters"] == model.count_params()
    assert record["settings"]["dataset"] == record["data"]["name"] == source
    assert not record["data"]["stand_in"]
    assert len(record["class_names"]) == num_classes
    assert record["test_accuracy"] > 0.9
    assert len(content) < 200_000


def test_no_other_tominet_is_shipped():
    names = {f"tominet_{source}.{kind}" for source in SOURCES for kind in ("json", "npz")}
    assert {path.name for path in weights.PRETRAINED.glob("tominet_*")} == names


def test_shipped_digits_know_the_embedded_digits():
    digits = data.load("mnist", embedded=True)
    assert evaluate(tominet(10, weights="mnist"), digits.x_test, digits.y_test)[1] > 0.95
