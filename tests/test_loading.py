"""`load` takes the first source that works, says which one it was, and never passes a stand-in off as the real data."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tlkeras import data
from tlkeras.data import cache, records, sources
from tlkeras.data.sources import Source

ARRAYS = {
    "x_train": np.arange(64, dtype=np.uint8).reshape(4, 4, 4),
    "y_train": np.array([[0], [1], [0], [1]], np.uint8),
    "x_test": np.full((2, 4, 4), 9, np.uint8),
    "y_test": np.array([1, 0], np.uint8),
}
STAND_IN = {key: value[:1] for key, value in ARRAYS.items()}


def _failing(error):
    def fetch(folder):
        raise error

    return Source("official: down", fetch)


TOY = data.DatasetRecord(
    name="toy",
    shape=(4, 4, 1),
    num_classes=2,
    sizes=((4, 2),),
    licence="CC0",
    address="https://example.invalid/toy",
    official=Source("official: toy", lambda folder: ARRAYS),
    mirrors=(Source("mirror: toy", lambda folder: ARRAYS),),
    embedded=Source("embedded: one image a split (stand-in)", lambda folder: STAND_IN),
    class_names=("ham", "spam"),
)
DOWN = _failing(sources.HttpStatusError("HTTP status 404"))
HTML = Source("mirror: page", lambda folder: {"x_train": ARRAYS["x_train"]})


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Start each test with an empty cache, a toy data set, and the network allowed (of which no test makes use)."""
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TLKERAS_PROFILE", raising=False)
    monkeypatch.delenv("TLKERAS_OFFLINE", raising=False)
    monkeypatch.setattr(sources, "_unreachable", {})
    monkeypatch.setitem(records.RECORDS, "toy", TOY)
    return tmp_path / "home"


def _replace(monkeypatch, **changes):
    monkeypatch.setitem(records.RECORDS, "toy", dataclasses.replace(TOY, **changes))


def _put(**changes):
    """Put a file into the cache by hand, without a sidecar."""
    path = cache.dataset_path("toy")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **(ARRAYS | changes))
    return path


def test_official_first_then_the_cache():
    first = data.load("toy")
    again = data.load("toy")
    assert first.x_train.shape == (4, 4, 4, 1)
    assert first.x_train.dtype == np.uint8
    assert first.y_train.shape == (4,)
    assert first.y_train.dtype == np.int32
    assert (first.num_classes, first.class_names) == (2, ("ham", "spam"))
    assert (first.source, again.source) == ("official: toy", "cache (official: toy)")
    assert not first.stand_in
    assert all(np.array_equal(getattr(first, key), getattr(again, key)) for key in cache.CONTENT)
    expected = data.fingerprint(first.x_train, first.y_train, first.x_test, first.y_test)
    assert first.fingerprint == again.fingerprint == expected
    assert first.provenance() == {
        "name": "toy",
        "source": "official: toy",
        "stand_in": False,
        "fingerprint": expected,
        "licence": "CC0",
    }
    json.dumps(first.provenance())
    assert len(repr(first)) < 200


@pytest.mark.parametrize(
    "official",
    [
        DOWN,
        HTML,
        None,
        _failing(KeyError("labels")),
        Source("counts", lambda folder: STAND_IN),
        Source("labels", lambda folder: ARRAYS | {"y_test": np.array([1, 2])}),
        Source("floats", lambda folder: ARRAYS | {"x_test": np.zeros((2, 4, 4))}),
        Source("uneven", lambda folder: ARRAYS | {"y_test": np.array([1])}),
    ],
)
def test_mirrors_when_the_official_source_fails(monkeypatch, official):
    _replace(monkeypatch, official=official)
    assert data.load("toy").source == "mirror: toy"


def test_the_stand_in_when_every_source_fails(monkeypatch, home):
    _replace(monkeypatch, official=DOWN, mirrors=(HTML,))
    with pytest.warns(data.StandInWarning, match="HTTP status 404"):
        toy = data.load("toy")
    assert toy.stand_in
    assert toy.source == "embedded: one image a split (stand-in)"
    assert not cache.dataset_path("toy").exists()  # a stand-in must not look like the real data later on


def test_every_reason_and_way_out_is_told_when_nothing_works(monkeypatch):
    _replace(monkeypatch, official=DOWN, mirrors=(HTML,))
    with pytest.raises(data.DataUnavailableError) as caught:
        data.load("toy", embedded=False)
    message = str(caught.value)
    for part in (
        "cache: no file",
        "official: down: HTTP status 404",
        "mirror: page: Expected the arrays",
        "embedded: not allowed",
        "Ways out: connect",
        TOY.address,
        "numpy.savez",
        "toy.npz",
    ):
        assert part in message
    assert message.endswith("Received: name='toy'")
    _replace(monkeypatch, official=DOWN, mirrors=(), embedded=None)
    with pytest.raises(data.DataUnavailableError, match="there is none for this data set"):
        data.load("toy")


@pytest.mark.parametrize("embedded", [None, True])
def test_smoke_uses_the_stand_in_even_when_the_data_are_there(monkeypatch, embedded):
    data.load("toy")
    monkeypatch.setenv("TLKERAS_PROFILE", "smoke")
    assert data.load("toy", embedded=embedded).stand_in
    assert data.load("toy", embedded=False).source.startswith("cache")


def test_smoke_and_offline_ask_no_source(monkeypatch):
    asked = []
    _replace(monkeypatch, official=Source("official: toy", asked.append), embedded=None)
    for variable, value in (("TLKERAS_PROFILE", "smoke"), ("TLKERAS_OFFLINE", "1")):
        monkeypatch.setenv(variable, value)
        with pytest.raises(data.DataUnavailableError, match="Ways out: unset TLKERAS_OFFLINE"):
            data.load("toy")
        with pytest.raises(data.DataUnavailableError, match="network: switched off"):
            data.load("toy", embedded=False)
        monkeypatch.delenv(variable)
    assert asked == []


def test_offline_uses_cache_then_stand_in(monkeypatch):
    monkeypatch.setenv("TLKERAS_OFFLINE", "1")
    with pytest.warns(data.StandInWarning, match="switched off"):
        assert data.load("toy").stand_in
    _put()
    assert data.load("toy").source == "cache"


def test_a_file_put_there_by_hand_is_used_and_named(monkeypatch):
    path = _put(class_names=np.array(["egg", "bacon"]), fold_indices=np.arange(3))
    toy = data.load("toy")
    assert (toy.source, toy.class_names) == ("cache", ("egg", "bacon"))
    assert list(toy.extras) == ["fold_indices"]
    assert cache.sidecar_path(path).exists()
    _replace(monkeypatch, editions={toy.fingerprint: "half of it"})
    assert data.load("toy").source == "cache (half of it)"
    assert data.status("toy")[0]["source"] == "half of it"


@pytest.mark.parametrize("damage", ["cut", "other bytes", "other labels", "other counts"])
def test_a_damaged_file_is_fetched_again_or_refused(monkeypatch, damage):
    good = data.load("toy")
    path = cache.dataset_path("toy")
    if damage.startswith("other l"):
        _put(y_test=np.array([0, 0], np.uint8))
    elif damage.startswith("other c"):
        _put(**STAND_IN)
    else:
        path.write_bytes(path.read_bytes()[:-100] if damage == "cut" else b"<html></html>")
    monkeypatch.setenv("TLKERAS_OFFLINE", "1")
    with pytest.raises(data.DamagedFileError, match=r"Delete it and toy\.npz\.json"):
        data.load("toy")
    monkeypatch.delenv("TLKERAS_OFFLINE")
    _replace(monkeypatch, official=DOWN, mirrors=())
    with pytest.raises(data.DamagedFileError, match="could not be fetched again: official: down: HTTP status 404"):
        data.load("toy")
    monkeypatch.setitem(records.RECORDS, "toy", TOY)
    assert data.load("toy").source == "official: toy"
    assert data.load("toy").fingerprint == good.fingerprint


def test_a_folder_that_cannot_be_written(monkeypatch, home):
    home.write_text("a file in the way")
    toy = data.load("toy")
    assert toy.source.startswith("official: toy (in memory only, not cached: ")
    assert toy.x_train.shape == (4, 4, 4, 1)


def test_a_read_only_cache(monkeypatch):
    def refuse(*args):
        raise PermissionError("read-only file system")

    _put()
    monkeypatch.setattr(os, "replace", refuse)
    assert data.load("toy").source == "cache"
    assert data.load("toy").source == "cache"
    cache.dataset_path("toy").unlink()
    assert "in memory only, not cached: read-only file system" in data.load("toy").source


def test_two_processes_fetch_once(home, tmp_path):
    script = f"""
import dataclasses, sys, time
sys.path.insert(0, {os.path.dirname(__file__)!r})
import test_loading
from tlkeras import data
from tlkeras.data import datasets
def fetch(folder):
    with open({str(tmp_path / "fetches")!r}, "a") as file:
        file.write("x")
    time.sleep(0.5)
    return test_loading.ARRAYS
official = data.sources.Source("official: slow", fetch)
datasets.RECORDS["toy"] = dataclasses.replace(test_loading.TOY, official=official)
print(data.load("toy").source)
"""
    command = [sys.executable, "-c", script]
    root = os.path.dirname(os.path.dirname(__file__))
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(2)]
    printed = sorted(process.communicate()[0].strip() for process in processes)
    assert printed == ["cache (official: slow)", "official: slow"]
    assert (tmp_path / "fetches").read_text() == "x"
