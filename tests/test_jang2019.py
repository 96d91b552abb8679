"""The official source network: read out of a made checkpoint of its form, fetched once, loaded strictly."""

import dataclasses
import functools
from collections import OrderedDict

import numpy as np
import pytest
import torch_writer

from tlkeras.data import DamagedFileError, sources
from tlkeras.models import readers, records, resnet32, weights

THEIRS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def checkpoint(path, model):
    """Write the weights of a model as the official code does, with what else it keeps."""
    state = OrderedDict()
    names = {ours.replace("/", "_"): theirs for ours, theirs in readers._layers().items()}
    for name, variable in weights.tensor_names(model).items():
        layer, part = name.split("/")
        array = np.asarray(variable)
        array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        key = f"{names[layer]}.{THEIRS.get(part, {'kernel': 'weight'}.get(part, part))}"
        state[key] = torch_writer.Tensor(key, np.ascontiguousarray(array))
    state["bn1.num_batches_tracked"] = torch_writer.Tensor("count", np.array(7, "<i8"))
    state["alphas.0"] = torch_writer.Tensor("alphas", np.zeros(3, "<f4"))
    return torch_writer.write(path, {"epoch": 104, "w": state, "best": 49.3}, "sequence")


@pytest.fixture
def official(tmp_path, monkeypatch):
    """A record of a made checkpoint in place of the real one, and an empty cache; returns the donor of its weights."""
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TLKERAS_PROFILE", raising=False)
    torch_writer.pretend_torch(monkeypatch)
    donor = resnet32(200)
    for layer in donor.layers:  # fresh statistics and biases would equal those of the network that is loaded
        layer.set_weights([value + np.float32(0.25) for value in layer.get_weights()])
    path = checkpoint(tmp_path / "model_best.pth.tar", donor)
    arrays = readers.resnet32_from_checkpoint(path)
    np.savez(tmp_path / "tensors.npz", **arrays)
    checksum = records.tensors_sha256(tmp_path / "tensors.npz")
    read = functools.partial(records.tensors_file, lambda folder: readers.resnet32_from_checkpoint(path))
    record = dataclasses.replace(
        records.RECORDS["resnet32"], checksum=checksum, sources=(sources.Source("official: made", read),)
    )
    monkeypatch.setattr(records, "RECORDS", {"resnet32": record})
    return donor


def test_every_tensor_of_the_checkpoint_arrives(official, monkeypatch):
    wanted = weights.tensor_names(official)
    model = resnet32(200, weights="official")
    for name, variable in weights.tensor_names(model).items():
        np.testing.assert_array_equal(np.asarray(variable), np.asarray(wanted[name]))
    monkeypatch.setenv("TLKERAS_OFFLINE", "1")  # from the cache
    other = resnet32(10, weights="official")  # of other classes: its dense layer stays new
    np.testing.assert_array_equal(other.get_layer("s3b5_conv2").kernel, np.asarray(wanted["s3b5_conv2/kernel"]))
    assert other.get_layer("fc").kernel.shape == (64, 10)


def test_other_tensors_than_on_record_are_refused(official):
    path = records.fetch("resnet32")
    tensors = weights.read(path)
    np.savez(path, **{**tensors, "src/fc/bias": tensors["src/fc/bias"] + 1})
    with pytest.raises(DamagedFileError, match="delete it"):
        resnet32(200, weights="official")


def test_a_checkpoint_of_another_network_is_refused(tmp_path, monkeypatch):
    torch_writer.pretend_torch(monkeypatch)
    path = torch_writer.write_arrays(tmp_path / "other.pth", {"fc.weight": np.zeros((2, 3), "<f4")})
    with pytest.raises(weights.WeightFileError, match="Expected a layer conv1 in"):
        readers.resnet32_from_checkpoint(path)


def test_all_layers_of_the_network_have_a_name_there():
    names = {ours.replace("/", "_") for ours in readers._layers()}
    model = resnet32(200)
    assert names == {layer.name for layer in model.layers if layer.weights}
    assert readers._layers()["s2b1/down_bn"] == "block3.downsample.1"
    assert readers._layers()["s3b5/conv2"] == "blocks6.3.conv2"
