"""Hostile archives and pickles: refused by name, nothing written outside, no small file fills the memory."""

import gzip
import io
import pickle
import stat
import tarfile
import tempfile
import types
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch_writer

from tlkeras import _files
from tlkeras.data import decoding, untrusted
from tlkeras.models import readers, weights

OUTSIDE = ["../outside.txt", "a/../../outside.txt", "/tlkeras_outside.txt", "..\\outside.txt", "C:/outside.txt"]


def zipped(path, *members):
    """Write a zip archive of a sound file and of members (name, mode, content)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("package/word.txt", "hello")
        for name, mode, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def tarred(path, *members):
    """Write a tar archive of a sound file and of members (name, type, content)."""
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, content in (("package/word.txt", tarfile.REGTYPE, b"hello"), *members):
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), "/etc/passwd"
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "deep" / "er"


def refused(path, folder, name):
    """Assert that an archive is refused by the name of a member, and that nothing at all was unpacked."""
    before = sorted(folder.parents[1].rglob("*"))
    with pytest.raises(untrusted.UnsafeArchiveError) as caught:
        untrusted.unpack(path, folder)
    assert repr(name) in str(caught.value).partition("Received: ")[2]
    assert sorted(folder.parents[1].rglob("*")) == before


@pytest.mark.parametrize("write", [zipped, tarred])
def test_sound_archives_are_unpacked(tmp_path, folder, write):
    path = write(tmp_path / "sound")
    untrusted.unpack(path, folder)
    assert (folder / "package/word.txt").read_text() == "hello"
    untrusted.unpack(path, tmp_path / "part", containing="other")
    assert not (tmp_path / "part/package").exists()


@pytest.mark.parametrize("name", OUTSIDE)
def test_members_outside_of_the_folder_are_refused(tmp_path, folder, name):
    refused(zipped(tmp_path / "made.zip", (name, 0, b"out")), folder, name)
    refused(tarred(tmp_path / "made.tar", (name, tarfile.REGTYPE, b"out")), folder, name)


@pytest.mark.parametrize("kind", ["SYMTYPE", "LNKTYPE", "CHRTYPE", "BLKTYPE", "FIFOTYPE"])
def test_links_and_devices_in_tar_are_refused(tmp_path, folder, kind):
    refused(tarred(tmp_path / "made.tar", ("package/odd", getattr(tarfile, kind), b"")), folder, "package/odd")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO])
def test_links_and_devices_in_zip_are_refused(tmp_path, folder, kind):
    refused(zipped(tmp_path / "made.zip", ("package/odd", kind | 0o777, b"/etc/passwd")), folder, "package/odd")


def test_without_the_filter_of_later_pythons_the_same_is_refused(tmp_path, folder, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter", raising=False)  # as in Python 3.11.2
    refused(tarred(tmp_path / "made.tar", ("../outside.txt", tarfile.REGTYPE, b"out")), folder, "../outside.txt")
    if hasattr(tarfile.TarFile, "extraction_filter"):
        monkeypatch.setattr(tarfile.TarFile, "extraction_filter", staticmethod(lambda member, path: member))
    untrusted.unpack(tarred(tmp_path / "sound.tar"), folder)
    assert (folder / "package/word.txt").read_text() == "hello"


# Bombs


@pytest.fixture
def small_limit(monkeypatch):
    monkeypatch.setattr(_files, "ALWAYS_BYTES", 100_000)
    return b"\0" * 3_000_000


def bombs(tmp_path, zeros):
    """Return, by name, a function that reads a file of 3 kB with 3 MB of zeros in it."""
    tarred(tmp_path / "bomb.tar", ("train", tarfile.REGTYPE, zeros))
    zipped(tmp_path / "bomb.zip", ("package/zeros", 0, zeros))
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(zeros))
    np.savez_compressed(tmp_path / "bomb.npz", x=np.frombuffer(zeros, np.uint8))
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", zeros)
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.attrs["layer_names"] = ["conv1"]
        file.create_group("conv1").attrs["weight_names"] = ["W"]
        file["conv1"].create_dataset("W", (1000, 1000), "f4", compression="gzip", chunks=(100, 100))
    return {
        "tar": lambda: untrusted.unpack(tmp_path / "bomb.tar", tmp_path / "out"),
        "tar, read": lambda: untrusted.tar_contents(tmp_path / "bomb.tar", ["train"]),
        "zip": lambda: untrusted.unpack(tmp_path / "bomb.zip", tmp_path / "out"),
        "gz": lambda: untrusted.read_gzip(tmp_path / "bomb.gz"),
        "npz": lambda: _files.read_arrays(tmp_path / "bomb.npz"),
        "pth": lambda: readers.read_torch(tmp_path / "bomb.pth"),
        "h5": lambda: readers.read_legacy_h5(tmp_path / "bomb.h5"),
    }


@pytest.mark.parametrize("kind", ["tar", "tar, read", "zip", "gz", "npz", "pth", "h5"])
def test_a_small_bomb_is_refused(tmp_path, small_limit, kind):
    with pytest.raises(ValueError, match=r"Expected at most 0 MiB of \d+ bytes\. Received: \d MiB"):
        bombs(tmp_path, small_limit)[kind]()
    assert not (tmp_path / "out").exists()


def test_what_is_well_packed_is_no_bomb():
    _files.check_expansion(10 << 20, 200 << 20)  # 20 to 1
    _files.check_expansion(1, _files.ALWAYS_BYTES)
    with pytest.raises(ValueError, match="at most 500 MiB"):
        _files.check_expansion(10 << 20, (500 << 20) + 1)


def test_a_pickle_that_asks_for_memory_is_refused():
    huge = pickle.PROTO + b"\x02" + pickle.NONE + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f" + pickle.STOP
    with pytest.raises(ValueError, match=r"memo entries one after the other\. Received: number 2147483647"):
        decoding.NumpyUnpickler(io.BytesIO(huge))
    with pytest.raises(ValueError, match="expected 9223372036854775807 bytes|exceeds"):
        decoding.NumpyUnpickler(
            io.BytesIO(pickle.PROTO + b"\x05" + pickle.BYTEARRAY8 + b"\xff" * 7 + b"\x7f" + pickle.STOP)
        )


def test_a_tensor_that_repeats_its_storage_for_ever_is_refused(tmp_path, monkeypatch):
    torch_writer.pretend_torch(monkeypatch)
    repeated = np.lib.stride_tricks.as_strided(np.zeros(1, "<f4"), (1 << 20, 1 << 20), (0, 0))
    state = {"w": torch_writer.Tensor("0", repeated, np.zeros(1, "<f4"))}
    with pytest.raises(weights.WeightFileError, match="at most 256 MiB of"):
        readers.read_torch(torch_writer.write(tmp_path / "made.pth", state, "archive"))


def test_a_list_that_holds_itself_over_and_over_is_refused(tmp_path, monkeypatch):
    torch_writer.pretend_torch(monkeypatch)
    nested: list = []
    for _ in range(60):
        nested = [nested, nested]
    with pytest.raises(weights.WeightFileError, match="more than 100000 values"):
        readers.read_torch(torch_writer.write(tmp_path / "made.pth", {"w": nested}, "archive"))


# Code


HARM = Path(tempfile.gettempdir(), "tlkeras_harm.txt")


class Harm:
    def __reduce__(self):
        return open, (str(HARM), "w")


def test_pickled_code_is_refused_by_name(tmp_path, monkeypatch):
    torch_writer.pretend_torch(monkeypatch)
    path = tmp_path / "harm.npz"
    np.savez(path, x=np.array([Harm()], object))
    with pytest.raises(ValueError, match=f"allow_pickle.*Received: {path}$"):
        _files.read_arrays(path)
    for layout in ("archive", "sequence"):
        with pytest.raises(weights.WeightFileError, match=r"Received: (_?io|builtins)\.open"):
            readers.read_torch(torch_writer.write(tmp_path / "harm.pth", {"w": Harm()}, layout))
    for value in (Harm(), types.SimpleNamespace(), np.float64, np.ma.masked_array):
        with pytest.raises(pickle.UnpicklingError, match=r"plain values and numpy arrays\. Received: "):
            decoding.NumpyUnpickler(io.BytesIO(pickle.dumps(value))).load()
    assert not HARM.exists()


# HDF5


def legacy(path, make):
    """Write a weight file whose one kernel is what `make` puts into the layer's group."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["conv1"]
        layer = file.create_group("conv1")
        layer.attrs["weight_names"] = ["conv1/W"]
        make(layer.create_group("conv1"))
    return path


def test_hdf5_takes_nothing_from_another_file(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["W"] = np.ones(3, "f4")
    (tmp_path / "secret.bin").write_bytes(b"12345678")
    virtual = h5py.VirtualLayout((3,), "f4")
    virtual[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "W", (3,))

    def link(group):
        group["W"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "W")

    def soft(group):
        group["W"] = h5py.SoftLink("/conv1/conv1/other")

    def storage(group):
        group.create_dataset("W", (2,), "f4", external=[(str(tmp_path / "secret.bin"), 0, 8)])

    for make in (link, soft, storage, lambda group: group.create_virtual_dataset("W", virtual)):
        with pytest.raises(weights.WeightFileError, match=r"in the file itself.*Received: .*made\.h5$"):
            readers.read_legacy_h5(legacy(tmp_path / "made.h5", make))
    for odd in (np.array([b"text"]), np.arange(3)):
        with pytest.raises(weights.WeightFileError, match="expected floats"):
            readers.read_legacy_h5(
                legacy(tmp_path / "made.h5", lambda group, odd=odd: group.create_dataset("W", data=odd))
            )
    found = readers.read_legacy_h5(
        legacy(tmp_path / "made.h5", lambda group: group.create_dataset("W", data=np.ones(3, "f4")))
    )
    assert list(found) == ["conv1/bias"]
