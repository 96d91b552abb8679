"""A disk that is full or read-only, and folders of odd names: the path is named, and what was there stays whole."""

import contextlib
import errno
import os
import resource
from pathlib import Path

import helpers
import keras
import numpy as np
import pytest
from toy_report import Toy

from tlkeras import __main__ as command_line
from tlkeras import _files, data
from tlkeras.data import cache, sources
from tlkeras.experiments import environment, journal, runs
from tlkeras.models import weights
from tlkeras.own_images import backbones
from tlkeras.transfer import callbacks

ODD_NAME = "mit Leerzeichen, ünï & 漢字 'quoted'"


@contextlib.contextmanager
def full_disk(after: int = 0):
    """Let no file grow beyond `after` bytes, which fails as a full disk does: in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(environment, "bounded_memory", contextlib.nullcontext)
    monkeypatch.setattr(environment, "_device", lambda: "none")
    return Toy()


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


ARRAYS = {name: np.zeros((200, 8, 8, 1) if name[0] == "x" else 200, np.uint8) for name in cache.CONTENT}
WRITERS = {
    "json": ("0.json", lambda path, n: _files.write_json(path, [n] * 2000)),
    "arrays": ("a.npz", lambda path, n: _files.write_arrays(path, {"x": np.full(2000, n)})),
    "data set": ("toy.npz", lambda path, n: cache.save(path, {**ARRAYS, "n": np.full(2000, n)}, "made")),
    "features": ("f.npz", lambda path, n: backbones._keep(path, {str(n): np.full(2000, n)})),
    "model": ("m.keras", lambda path, n: _saved(path, helpers.tiny(n))),
    "checkpoint": ("c.weights.h5", lambda path, n: _best_epoch(path, helpers.tiny(n))),
    "shipped weights": ("w.npz", lambda path, n: weights.save(helpers.tiny(n), path, {"n": n})),
}


def _saved(path, model):
    with _files.replacing(path) as partial:
        model.save(partial)


def _best_epoch(path, model):
    best = callbacks.BestCheckpoint(path)
    best.set_model(model)
    best.on_epoch_end(0, {"val_accuracy": 0.5})


@pytest.mark.parametrize(("name", "write"), WRITERS.values(), ids=WRITERS)
def test_on_a_full_disk_the_old_file_stays_and_the_path_is_named(tmp_path, name, write):
    path = tmp_path / "deep" / name
    path.parent.mkdir()
    write(path, 1)
    before = contents(path.parent)
    told = contextlib.nullcontext() if name == "f.npz" else pytest.raises(OSError, match=f"{path.parent}")
    with told, full_disk(after=500):  # features are only kept to save time
        write(path, 2)
    assert contents(path.parent) == before
    write(path, 2)
    assert contents(path.parent).keys() == before.keys() and contents(path.parent) != before


def test_a_study_on_a_full_disk_stops_with_the_path_and_goes_on_later(toy, store):
    runs.study(toy.report, "short", seeds=1)
    before = contents(store)
    with full_disk(after=100), pytest.raises(OSError, match=f"{store}/toy/short/.*/1.json"):
        runs.study(toy.report, "short", seeds=3, must_store=True)
    assert contents(store) == before
    assert len(runs.study(toy.report, "short", seeds=3, must_store=True)) == 3 == len(contents(store))
    with full_disk(after=100), pytest.warns(UserWarning, match=f"not stored .*{store}/toy/long/.*/0.json"):
        assert len(runs.study(toy.report, "long", seeds=1)) == 1, "a run that was computed is not lost"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_store_that_cannot_be_written_is_told_before_anything_is_computed(toy, store, monkeypatch, number):
    def refuse(path, *args, **options):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(command_line, "REPORTS", {"toy": toy.report})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        with pytest.raises(OSError, match=f"{store}"):
            runs.study(toy.report, must_store=True)
        assert toy.calls == []
        with pytest.warns(UserWarning, match=f"not stored .*{store}"):
            assert len(runs.study(toy.report, "short", seeds=1)) == 1


def test_the_command_stops_before_it_computes(toy, store, monkeypatch, capsys):
    store.write_text("a file in the way")
    monkeypatch.setattr(command_line, "REPORTS", {"toy": toy.report})
    monkeypatch.setattr(command_line.startup, "quiet_start", lambda: None)
    assert command_line.main(["run", "toy"]) == 2 and toy.calls == []
    assert str(store) in capsys.readouterr().err and store.read_text() == "a file in the way"


def test_a_folder_where_a_file_should_be(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path))
    monkeypatch.setenv("TLKERAS_PROFILE", "quick")
    monkeypatch.setattr(sources, "obtain", _without_network(sources.obtain))
    for name in ("mnist.npz", "mnist.npz.json", "mnist_embedded.npz"):
        (tmp_path / "datasets" / name).mkdir(parents=True)
    with pytest.raises(data.DamagedFileError, match=f"{tmp_path}/datasets/mnist.npz"):
        data.load("mnist")
    assert len(data.load("mnist", embedded=True).x_train) == 4000
    with pytest.raises(IsADirectoryError):
        _files.write_text(tmp_path / "datasets" / "mnist.npz", "text")
    assert data.verify()[tmp_path / "datasets" / "mnist.npz"]


def _without_network(obtain):
    return lambda path, sources, **options: obtain(path, (), **options)


def test_homes_and_stores_of_any_name(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path / ODD_NAME))
    monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path / ODD_NAME / "results"))
    assert data.load("mnist").stand_in and (tmp_path / ODD_NAME / "datasets" / "mnist_embedded.npz").exists()
    assert runs.study(toy.report, must_store=True) == runs.load_runs(toy.report, "smoke")
    assert journal.folder(tmp_path / "results").is_relative_to(tmp_path / ODD_NAME)
    model = helpers.tiny()
    _saved(tmp_path / ODD_NAME / "m.keras", model)
    assert keras.models.load_model(tmp_path / ODD_NAME / "m.keras").count_params() == model.count_params()


def test_without_a_home(monkeypatch):
    monkeypatch.delenv("TLKERAS_HOME")
    monkeypatch.delenv("HOME", raising=False)
    assert cache.home().is_absolute()  # the user's, as the system has it

    def unknown(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    with pytest.raises(RuntimeError, match="Expected TLKERAS_HOME"):
        cache.home()
    monkeypatch.setattr(command_line, "REPORTS", {})
    assert command_line.main(["data"]) == 2


def test_ctrl_c_in_a_cell_leaves_a_usable_kernel_and_store(toy, store, monkeypatch):
    def interrupted(settings, seed):
        if seed == 1:
            raise KeyboardInterrupt
        return Toy.run(toy, settings, seed)

    with monkeypatch.context() as patch:
        patch.setattr(toy, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            runs.study(toy.report, "short", seeds=3)
    assert len(contents(store)) == 1 and journal.entries(store) == []
    assert [run.seed for run in runs.study(toy.report, "short", seeds=3)] == [0, 1, 2]
