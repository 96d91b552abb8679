"""Files are whole or not there, two writers do not collide, and what is told once is told once."""

import hashlib
import json
import os
import threading

import numpy as np
import pytest

from tlkeras import _files


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_no_json_leaves_the_old_file(tmp_path):
    _files.write_json(tmp_path / "new" / "0.json", {"accuracy": 0.5})
    with pytest.raises(TypeError):
        _files.write_json(tmp_path / "new" / "0.json", {"accuracy": object()})
    assert names(tmp_path / "new") == ["0.json"]
    assert (tmp_path / "new" / "0.json").read_text() == '{"accuracy":0.5}\n'
    _files.write_json(tmp_path / "1.json", [float("nan"), None], indent=1)
    content = json.loads((tmp_path / "1.json").read_text())
    assert content[0] != content[0] and content[1] is None


def test_numpys_values_are_numbers_and_lists(tmp_path):
    values = {"a": np.float32(0.5), "b": [np.int64(2), np.bool_(True)], "c": np.arange(4, dtype=np.uint8).reshape(2, 2)}
    _files.write_json(tmp_path / "0.json", values)
    assert json.loads((tmp_path / "0.json").read_text()) == {"a": 0.5, "b": [2, True], "c": [[0, 1], [2, 3]]}
    with pytest.raises(TypeError, match="Received: complex"):
        _files.write_json(tmp_path / "1.json", np.array([1j]))


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "text"
    _files.write_text(path, "öld")

    def killed(source, target):
        assert source.name.endswith(".partial.text") and source.read_text(encoding="utf-8") == "new"
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        _files.write_text(path, "new")
    assert path.read_text(encoding="utf-8") == "öld" and names(tmp_path) == ["text"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError("HDF5 could not write")])
def test_an_error_of_the_disk_names_the_path(tmp_path, error):
    _files.write_text(tmp_path / "text", "old")
    with (
        pytest.raises(OSError, match=f"(No space|HDF5).*{tmp_path}/text"),
        _files.replacing(tmp_path / "text") as partial,
    ):
        partial.write_text("half")
        raise error
    assert (tmp_path / "text").read_text() == "old" and names(tmp_path) == ["text"]


def test_an_error_of_another_file_is_left_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), _files.replacing(tmp_path / "text"):
        (tmp_path / "elsewhere").read_text()


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    _files.check_writable(tmp_path / "new" / "deep")
    assert names(tmp_path / "new" / "deep") == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=f"{tmp_path}/file"):
        _files.check_writable(tmp_path / "file")


def test_what_was_told_is_not_told_again():
    assert _files.untold(["a message", "another", "a message"]) == ["a message", "another"]
    assert _files.untold(["another", "a third"]) == ["a third"]


def test_two_writers_do_not_collide_and_leftovers_are_told(tmp_path):
    path, inside = tmp_path / "a.npz", threading.Barrier(2)

    def write(value):
        with _files.replacing(path) as partial:
            np.savez(partial, value=value)
            inside.wait(10)

    threads = [threading.Thread(target=write, args=(value,)) for value in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _files.read_arrays(path)["value"] in (1, 2) and names(tmp_path) == ["a.npz"]
    (tmp_path / ".0.partial.a.npz").touch()
    (tmp_path / ".0.partial.b.npz").touch()
    assert [found.name for found in _files.leftovers(path)] == [".0.partial.a.npz"]


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_come_back(tmp_path, compressed):
    path = tmp_path / "a.npz"
    _files.write_arrays(path, {"x": np.arange(3), "layer/kernel": np.ones((2, 2))}, compressed=compressed)
    found = _files.read_arrays(path)
    assert list(found) == ["x", "layer/kernel"] and found["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut", b"text"])
def test_what_is_no_archive_is_named(tmp_path, content):
    path = tmp_path / "a.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OSError, match=rf"^Expected a whole \.npz .*Received: {path}$"):
        _files.read_arrays(path, OSError)


def test_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{}], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        _files.read_arrays(tmp_path / "a.npz")


def test_digests(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert _files.file_digest(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert _files.file_digest(tmp_path / "a", "md5") == hashlib.md5(b"abc").hexdigest()


def test_progress_is_quiet_where_nobody_looks(monkeypatch, capsys):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    assert list(_files.progress(range(3), "counting")) == [0, 1, 2]
    monkeypatch.setenv("TQDM_DISABLE", "1")
    with _files.progress(None, total=2) as bar:
        assert bar.disable
    assert capsys.readouterr().err == ""
