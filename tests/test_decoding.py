"""Every publisher's format is decoded from a small file made in the same layout; stand-ins are always the same."""

import gzip
import io
import json
import pickle
import shutil
import sys
import tarfile
import types
import zipfile

import numpy as np
import pytest
from PIL import Image

from tlkeras.data import cache, decoding, sources

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


def _idx(array):
    sizes = np.array(array.shape, ">i4").tobytes()
    return gzip.compress(b"\x00\x00\x08" + bytes([array.ndim]) + sizes + array.tobytes())


def _write_idx(folder, images, labels, prefixes=("train", "t10k")):
    folder.mkdir(parents=True)
    for prefix in prefixes:
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(_idx(images))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(_idx(labels))


def test_npz(tmp_path):
    np.savez(tmp_path / "mnist.npz", x_train=IMAGES)
    assert np.array_equal(decoding.npz(tmp_path)["x_train"], IMAGES)


def test_idx_files_in_any_sub_folder(tmp_path):
    labels = np.arange(6, dtype=np.uint8)
    _write_idx(tmp_path / "usr" / "share", IMAGES[..., 0], labels)
    arrays = decoding.idx(tmp_path)
    for split in ("train", "test"):
        assert np.array_equal(arrays[f"x_{split}"], IMAGES[..., 0])
        assert np.array_equal(arrays[f"y_{split}"], labels)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"\x00\x00\x0d\x01", mtime=0), "IDX file of bytes"),
        (gzip.compress(b"\x00\x00\x08\x01\0\0\0\5ab", mtime=0), "5 values"),
    ],
    ids=["no bytes", "too few"],
)
def test_a_wrong_idx_file_is_refused(tmp_path, content, message):
    _write_idx(tmp_path / "files", IMAGES[..., 0], np.arange(6, dtype=np.uint8))
    (tmp_path / "files" / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(ValueError, match=f"{message}.*Received: "):
        decoding.idx(tmp_path)


def _tar(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2 wrote its `str`, and numpy under its old name: so are the CIFAR files."""

    def save_old_string(self, value):
        """Write one old string."""
        content = value if isinstance(value, bytes) else value.encode()
        self.write(pickle.BINSTRING + len(content).to_bytes(4, "little") + content)

    dispatch = pickle._Pickler.dispatch | {str: save_old_string, bytes: save_old_string}


def _python2_pickle(value):
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")


def _cifar_batch(part, **labels):
    """Pickle a batch as the publisher did: one row of 3 x 32 x 32 values an image, labels as lists."""
    rows = np.ascontiguousarray(IMAGES[part].transpose(0, 3, 1, 2)).reshape(-1, 3072)
    return _python2_pickle({"data": rows} | labels)


def test_cifar10(tmp_path):
    members = {f"cifar-10-batches-py/data_batch_{i}": _cifar_batch(slice(i - 1, i), labels=[i]) for i in range(1, 6)}
    members["cifar-10-batches-py/test_batch"] = _cifar_batch(slice(5, 6), labels=[7])
    members["cifar-10-batches-py/batches.meta"] = _python2_pickle({"label_names": ["airplane", "automobile"]})
    _tar(tmp_path / "cifar-10-python.tar.gz", members)
    arrays = decoding.cifar10(tmp_path)
    assert np.array_equal(arrays["x_train"], IMAGES[:5])
    assert np.array_equal(arrays["x_test"], IMAGES[5:])
    assert arrays["y_train"].tolist() == [1, 2, 3, 4, 5]
    assert arrays["y_test"].tolist() == [7]
    assert arrays["class_names"].tolist() == ["airplane", "automobile"]


def test_cifar100_takes_the_fine_labels(tmp_path):
    members = {
        "cifar-100-python/train": _cifar_batch(slice(0, 4), fine_labels=[9, 8, 7, 6], coarse_labels=[0, 0, 0, 0]),
        "cifar-100-python/test": _cifar_batch(slice(4, 6), fine_labels=[99, 0], coarse_labels=[1, 1]),
        "cifar-100-python/meta": _python2_pickle({"fine_label_names": ["apple"], "coarse_label_names": ["fruit"]}),
    }
    _tar(tmp_path / "cifar-100-python.tar.gz", members)
    arrays = decoding.cifar100(tmp_path)
    assert np.array_equal(np.concatenate([arrays["x_train"], arrays["x_test"]]), IMAGES)
    assert arrays["y_train"].tolist() == [9, 8, 7, 6]
    assert arrays["y_test"].tolist() == [99, 0]
    assert arrays["class_names"].tolist() == ["apple"]


def test_a_folder_where_a_file_should_be_is_refused(tmp_path):
    with tarfile.open(tmp_path / "cifar-100-python.tar.gz", "w:gz") as archive:
        folder = tarfile.TarInfo("cifar-100-python/train")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    with pytest.raises(ValueError, match="regular file in the archive. Received: cifar-100-python/train"):
        decoding.cifar100(tmp_path)


@pytest.mark.parametrize("protocol", [2, 5])
def test_the_unpickler_takes_arrays_and_refuses_code(protocol):
    old = _python2_pickle(IMAGES)
    assert b"numpy.core" in old
    assert np.array_equal(decoding.NumpyUnpickler(io.BytesIO(old), encoding="bytes").load(), IMAGES)
    harmful = pickle.dumps(types.SimpleNamespace(a=print), protocol)
    with pytest.raises(pickle.UnpicklingError, match="Received: "):
        decoding.NumpyUnpickler(io.BytesIO(harmful)).load()


def test_cifar10_sheets(tmp_path):
    (tmp_path / "package").mkdir()
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        Image.fromarray(IMAGES.reshape(6, 1024, 3)).save(tmp_path / "package" / f"{name}.png")
    for name in ("train", "test"):
        (tmp_path / "package" / f"{name}_lables.json").write_text(json.dumps([[1, 2], [3, 4]]))
    arrays = decoding.cifar10_sheets(tmp_path)
    assert np.array_equal(arrays["x_train"], np.concatenate([IMAGES] * 5))
    assert np.array_equal(arrays["x_test"], IMAGES)
    assert arrays["y_test"].tolist() == [1, 2, 3, 4]


def test_stl10_is_turned_upright_and_counts_from_zero(tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    members = {"stl10_binary/class_names.txt": b"airplane\nbird\n", "stl10_binary/unlabeled_X.bin": b"not read"}
    for split in ("train", "test"):
        members[f"stl10_binary/{split}_X.bin"] = images.transpose(0, 3, 2, 1).tobytes()
        members[f"stl10_binary/{split}_y.bin"] = bytes([1, 10])
    _tar(tmp_path / "stl10_binary.tar.gz", members)
    arrays = decoding.stl10(tmp_path)
    assert np.array_equal(arrays["x_train"], images)
    assert arrays["y_test"].tolist() == [0, 9]
    assert arrays["class_names"].tolist() == ["airplane", "bird"]


def _jpeg(value):
    buffer = io.BytesIO()
    Image.new("L" if value == 90 else "RGB", (64, 64), value if value == 90 else (value,) * 3).save(buffer, "JPEG")
    return buffer.getvalue()


def test_tiny_imagenet(tmp_path):
    root = "tiny-imagenet-200/"
    with zipfile.ZipFile(tmp_path / "tiny-imagenet-200.zip", "w") as archive:
        archive.writestr(root + "wnids.txt", "n02\nn01\n")
        archive.writestr(root + "words.txt", "n01\tgoldfish\nn02\tfrog\nn03\tnot used\n")
        for wnid, value in (("n01", 90), ("n02", 200)):
            archive.writestr(f"{root}train/{wnid}/images/{wnid}_0.JPEG", _jpeg(value))
        archive.writestr(root + "val/images/val_0.JPEG", _jpeg(200))
        archive.writestr(root + "val/val_annotations.txt", "val_0.JPEG\tn02\t0\t0\t1\t1\n")
    arrays = decoding.tiny_imagenet(tmp_path)
    assert arrays["x_train"].shape == (2, 32, 32, 3)
    assert arrays["x_train"].mean((1, 2, 3)).round().tolist() == [90, 200]
    assert arrays["y_train"].tolist() == [0, 1]
    assert arrays["y_test"].tolist() == [1]
    assert arrays["class_names"].tolist() == ["n01|goldfish", "n02|frog"]


def test_emnist_of_tfds_is_turned_upright_and_counts_from_zero(tmp_path, monkeypatch):
    images = IMAGES[:, :28, :28, :1]
    part = {"image": images.swapaxes(1, 2), "label": np.array([1, 2, 3, 24, 25, 26])}
    asked = []

    def load(name, **options):
        asked.append((name, options["split"], options["batch_size"], options["data_dir"]))
        return [part, part]

    stub = types.SimpleNamespace(load=load, as_numpy=lambda parts: parts)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", stub)
    monkeypatch.setattr(sources, "answer", lambda url: 404)
    with pytest.raises(sources.HttpStatusError, match="HTTP status 404"):
        decoding.emnist_tfds(tmp_path)
    assert asked == []
    monkeypatch.setattr(sources, "answer", lambda url: 200)
    arrays = decoding.emnist_tfds(tmp_path)
    assert asked == [("emnist/letters", ["train", "test"], -1, str(tmp_path))]
    assert np.array_equal(arrays["x_test"], images)
    assert arrays["y_train"].tolist() == [0, 1, 2, 23, 24, 25]


def test_emnist_of_nist_is_turned_upright_and_counts_from_zero(tmp_path):
    images, labels = IMAGES[:, :28, :28, 0], np.array([1, 2, 3, 24, 25, 26], np.uint8)
    prefixes = ("emnist-letters-train", "emnist-letters-test", "emnist-byclass-train")
    _write_idx(tmp_path / "made" / "gzip", images.swapaxes(1, 2), labels, prefixes)
    with zipfile.ZipFile(tmp_path / "gzip.zip", "w") as archive:
        for path in (tmp_path / "made").rglob("*.gz"):
            archive.write(path, path.relative_to(tmp_path / "made"))
    shutil.rmtree(tmp_path / "made")
    arrays = decoding.emnist_zip(tmp_path)
    assert np.array_equal(arrays["x_train"], images)
    assert arrays["y_test"].tolist() == [0, 1, 2, 23, 24, 25]


def test_a_tree_of_images_in_an_archive(tmp_path):
    layout = {"parts": ("train", "val"), "labels": ("ants", "bees")}
    names = [f"{part}/{label}/0.jpg" for part in layout["parts"] for label in layout["labels"]]
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for name in ["photographs/" + name for name in names[1:]] + ["__MACOSX/train/ants/0.jpg"]:
            archive.writestr(name, b"image")
    with pytest.raises(sources.WrongContentError, match="no folder in the archive"):
        decoding.image_folders(tmp_path, **layout)
    with zipfile.ZipFile(tmp_path / "archive.zip", "a") as archive:
        archive.writestr("photographs/train/ants/0.jpg", b"image")
    root = decoding.image_folders(tmp_path, **layout)
    assert root.name == "photographs" and all((root / name).read_bytes() == b"image" for name in names)


@pytest.fixture(scope="module")
def digits_folder(own_world):
    """Return the folder in which the embedded digits are parsed once for all tests: that takes seconds."""
    decoding.digits(own_world / "datasets")
    return own_world / "datasets"


def test_embedded_digits_are_balanced_and_always_the_same(digits_folder):
    arrays = decoding.digits(digits_folder)
    assert arrays["x_train"].shape == (4000, 28, 28, 1)
    assert np.bincount(arrays["y_train"]).tolist() == [400] * 10
    assert np.bincount(arrays["y_test"]).tolist() == [100] * 10
    everything = np.concatenate([arrays["x_train"], arrays["x_test"]]).reshape(5000, -1)
    assert len(np.unique(everything, axis=0)) == 5000
    assert cache.content_fingerprint(arrays) == "9d247c82cd48e214"


def test_embedded_digits_are_parsed_once_and_made_again_when_damaged(digits_folder, tmp_path, monkeypatch):
    folder = tmp_path / "datasets"
    folder.mkdir()
    for name in ("mnist_embedded.npz", "mnist_embedded.npz.json"):
        shutil.copy2(digits_folder / name, folder)
    small = {key: value[:10] for key, value in decoding.digits(folder).items()}
    monkeypatch.setattr(decoding, "_split_digits", lambda: small)
    assert len(decoding.digits(folder)["x_train"]) == 4000
    (folder / "mnist_embedded.npz").write_bytes(b"damaged")
    assert len(decoding.digits(folder)["x_train"]) == 10
    (folder / "mnist_embedded.npz.json").unlink()
    monkeypatch.setattr(decoding, "_split_digits", lambda: small | {"y_train": small["y_train"] * 0})
    assert decoding.digits(folder)["y_train"].tolist() == [0] * 10


def test_embedded_digits_need_no_folder_that_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(decoding, "_split_digits", lambda: {"x_train": np.zeros(3)})
    assert list(decoding.digits(tmp_path / "file")) == ["x_train"]


@pytest.mark.parametrize(("size", "num_classes"), [(32, 10), (32, 200), (96, 10)])
def test_patches_of_a_class_differ_and_no_test_patch_is_a_training_patch(size, num_classes):
    arrays = decoding.patches(size, num_classes, train=4, test=2)
    assert arrays["x_train"].shape == (4 * num_classes, size, size, 3)
    assert arrays["x_train"].dtype == np.uint8
    assert np.bincount(arrays["y_test"]).tolist() == [2] * num_classes
    assert len(set(arrays["class_names"].tolist())) == num_classes
    train, test = ({image.tobytes() for image in arrays[key]} for key in ("x_train", "x_test"))
    assert not train & test
    assert cache.content_fingerprint(arrays) == cache.content_fingerprint(decoding.patches(size, num_classes, 4, 2))
