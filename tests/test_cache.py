"""A cached file is either exactly what was written, or it is noticed."""

import os
import shutil

import filelock
import numpy as np
import pytest

from tlkeras.data import cache

ARRAYS = {
    "x_train": np.arange(64, dtype=np.uint8).reshape(4, 4, 4, 1),
    "y_train": np.array([0, 1, 0, 1], np.int32),
    "x_test": np.full((2, 4, 4, 1), 9, np.uint8),
    "y_test": np.array([1, 0], np.int32),
    "class_names": np.array(["ham", "spam"]),
}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "datasets" / "toy.npz"
    cache.save(file, ARRAYS, "official: somewhere")
    return file


def test_home_is_the_environment_variable_or_in_the_user_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path))
    assert cache.home() == tmp_path
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TLKERAS_HOME", "here")  # commands of other programs run elsewhere
    assert cache.home() == tmp_path / "here"
    monkeypatch.delenv("TLKERAS_HOME")
    assert cache.home().parts[-2:] == (".cache", "tlkeras")


def test_fingerprint_sees_dtype_shape_bytes_and_order():
    a, b = np.arange(6, dtype=np.uint8), np.arange(6, dtype=np.int32)
    prints = [cache.fingerprint(x) for x in (a, b, a.reshape(2, 3), a[::-1])]
    prints += [cache.fingerprint(a, b), cache.fingerprint(b, a)]
    assert len(set(prints)) == 6
    assert all(len(text) == 16 and int(text, 16) >= 0 for text in prints)
    assert cache.fingerprint(a.reshape(2, 3).T) == cache.fingerprint(a.reshape(2, 3).T.copy())
    assert cache.fingerprint(np.empty((0, 3))) != cache.fingerprint(np.empty((0, 4)))
    assert cache.fingerprint(a) == "5651f86a0cf64410"


def test_fingerprint_refuses_objects():
    with pytest.raises(ValueError, match="Received: dtype=object"):
        cache.fingerprint(np.array([{}]))


def test_what_was_saved_is_read_and_nothing_else_is_left(path):
    arrays = cache.read(path)
    assert all(np.array_equal(arrays[key], ARRAYS[key]) for key in ARRAYS)
    known = cache.verify(path, arrays)
    assert known["source"] == "official: somewhere"
    assert known["fingerprint"] == cache.content_fingerprint(ARRAYS)
    assert sorted(item.name for item in path.parent.iterdir()) == ["toy.npz", "toy.npz.json"]


def test_a_file_without_sidecar_gets_one(path):
    cache.sidecar_path(path).unlink()
    known = cache.verify(path, cache.read(path))
    assert known["source"] == ""
    assert cache.read_sidecar(path) == known


def test_a_file_that_was_only_touched_or_copied_is_sound(path):
    os.utime(path, ns=(1, 1))
    assert cache.verify(path, cache.read(path))["source"] == "official: somewhere"
    assert cache.read_sidecar(path)["stamp"][1] == 1


def test_altered_content_is_noticed(path):
    sidecar = cache.sidecar_path(path).read_text()
    cache.save(path, ARRAYS | {"y_test": np.array([1, 1], np.int32)}, "another")
    cache.sidecar_path(path).write_text(sidecar)
    with pytest.raises(cache.DamagedFileError, match="fingerprint.*Delete it and toy.npz.json.*Received: path="):
        cache.verify(path, cache.read(path))


def test_a_swapped_file_with_the_right_time_stamp_is_found_where_it_is_always_hashed(path):
    stamp = path.stat().st_mtime_ns
    arrays = {**ARRAYS, "x_train": ARRAYS["x_train"][::-1].copy()}
    np.savez(path, **arrays)
    os.utime(path, ns=(stamp, stamp))
    cache.verify(path, cache.read(path))
    with pytest.raises(cache.DamagedFileError, match="its content has the fingerprint"):
        cache.verify(path, cache.read(path), always=True)


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x93NUMPY not really", b"PK\x03\x04 cut off"])
def test_other_content_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(cache.DamagedFileError, match="not a whole .npz file"):
        cache.read(path)


def test_a_pickle_inside_is_refused(path):
    np.savez(path, x_train=np.array([{}], dtype=object))
    with pytest.raises(cache.DamagedFileError, match="pickle"):
        cache.read(path)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_no_cut_and_no_changed_byte_passes_for_the_original(path, write):
    write(path, **ARRAYS)
    cache.sidecar_path(path).unlink()
    original = path.read_bytes()
    cache.verify(path, cache.read(path))
    stamp = path.stat().st_mtime_ns
    generator = np.random.default_rng(0)
    for position in generator.integers(0, len(original), 300):
        flipped = bytearray(original)
        flipped[position] ^= 1 << int(generator.integers(8))
        for content in (bytes(flipped), original[:position]):
            path.write_bytes(content)
            os.utime(path, ns=(stamp, stamp))  # the worst case: size and time look right
            _read_sound_or_refuse(path)


def _read_sound_or_refuse(path):
    """Read the file; what comes back without an error must be the original, names of arrays included."""
    try:
        arrays = cache.read(path)
    except cache.DamagedFileError:
        return
    missing = set(ARRAYS) - set(arrays)  # the caller notices that an array is missing
    assert missing or all(np.array_equal(arrays[key], ARRAYS[key]) for key in ARRAYS)


def test_a_broken_sidecar_counts_as_none(path):
    for text in ("", "[]", "{", '{"stamp": 1}'):
        cache.sidecar_path(path).write_text(text)
        assert cache.verify(path, cache.read(path))["fingerprint"] == cache.content_fingerprint(ARRAYS)


def test_a_failed_write_leaves_the_old_file_and_no_other(path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        cache.save(path, ARRAYS, "again")
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 2


def test_the_lock_clears_what_a_killed_process_left(path):
    path.with_name(".0123.partial.toy.npz").write_bytes(b"half")
    folder = path.with_name(".4567.partial.toy.npz") / "train"
    folder.mkdir(parents=True)
    (folder / "0.jpg").write_bytes(b"half")
    with cache.locked(path) as writable:
        assert writable
        assert not list(path.parent.glob("*.partial.*"))
    assert path.exists()


def test_work_is_done_beside_the_file_where_that_can_be_written(path):
    with cache.working_folder(path) as folder:
        assert os.path.dirname(folder) == str(path.parent) and folder.endswith(".partial.toy.npz")
    assert not os.path.exists(folder)
    with cache.working_folder(path, beside=False) as folder:
        assert os.path.dirname(folder) != str(path.parent)


def test_no_lock_where_the_folder_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with cache.locked(tmp_path / "file" / "datasets" / "toy.npz") as writable:
        assert not writable


def test_a_moved_cache_still_works(path, tmp_path):
    shutil.copytree(path.parent, tmp_path / "moved")
    moved = tmp_path / "moved" / "toy.npz"
    assert cache.verify(moved, cache.read(moved))["source"] == "official: somewhere"


def test_a_lock_that_another_process_keeps_is_told_and_nothing_is_fetched_twice(path, monkeypatch):
    monkeypatch.setattr(cache, "_LOCK_SECONDS", 0.01)
    with (
        filelock.FileLock(f"{path}.lock"),
        pytest.raises(cache.LockedError, match=rf"another process has been fetching.*Received: {path}\.lock$"),
        cache.locked(path),
    ):
        pytest.fail("it is not ours")
