"""Weight files of others: fetched with their checksum, read strictly, refused when they are not what is on record."""

import dataclasses
import hashlib

import h5py
import numpy as np
import pytest

from tlkeras.data import DamagedFileError, home
from tlkeras.models import backbones, squeezenet, weights

SMALL = ((4, 8), (4, 8))


def write_legacy_h5(path, model, skip=("conv10",)):
    """Write a made file as Keras 1 did: '/' in layer names, tensors under names of their own."""
    generator = np.random.default_rng(0)
    layers = [layer for layer in model.layers if layer.weights and layer.name not in skip]
    with h5py.File(path, "w") as file:
        old = [layer.name.replace("_", "/", 1) for layer in layers]
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
    made = dataclasses.replace(backbones.RECORDS["squeezenet"], sha256=digest, urls=(source.as_uri(),))
    monkeypatch.setattr(backbones, "RECORDS", {"squeezenet": made})
    return made


def test_fetched_once_and_loaded_strictly(record, monkeypatch):
    model = squeezenet(10, weights=None, fires=SMALL)
    loaded = backbones.load(model, "squeezenet", new_layers=("conv10",))
    assert str(loaded) == "ok: 14 of 14 tensors loaded; new layers: conv10"
    assert weights.file_sha256(home() / "weights" / record.file) == record.sha256
    monkeypatch.setenv("TLKERAS_OFFLINE", "1")
    assert backbones.fetch("squeezenet").exists()


def test_no_source_works(record, monkeypatch):
    monkeypatch.setenv("TLKERAS_OFFLINE", "1")
    with pytest.raises(backbones.WeightsUnavailableError, match="switched off"):
        backbones.fetch("squeezenet")


def test_a_wrong_download_is_refused_and_nothing_is_kept(record, monkeypatch):
    monkeypatch.setattr(backbones, "RECORDS", {"squeezenet": dataclasses.replace(record, sha256="0" * 64)})
    with pytest.raises(backbones.WeightsUnavailableError, match="expected SHA-256"):
        backbones.fetch("squeezenet")
    assert not (home() / "weights" / record.file).exists()


def test_a_tampered_cache_file_is_refused(record):
    path = backbones.fetch("squeezenet")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedFileError, match="delete it"):
        backbones.fetch("squeezenet")


def test_a_truncated_file_and_another_architecture_leave_the_model_alone(tmp_path):
    source = write_legacy_h5(tmp_path / "whole.h5", squeezenet(10, weights=None, fires=SMALL))
    (tmp_path / "half.h5").write_bytes(source.read_bytes()[:2000])
    with pytest.raises(weights.WeightFileError, match="Keras 1 or 2"):
        backbones.read_legacy_h5(tmp_path / "half.h5")
    other = squeezenet(10, weights=None, fires=((4, 8), (6, 8)))
    before = weights.fingerprint(other)
    with pytest.raises(weights.WeightFileError, match="shape"):
        weights.assign(other, backbones.read_legacy_h5(source), new_layers=("conv10",))
    assert weights.fingerprint(other) == before


def test_unknown_name():
    with pytest.raises(ValueError, match="Received: 'lenet'"):
        backbones.fetch("lenet")
