"""Image files as people have them, alone and in trees split/class/image, to RGB arrays.

Any mode becomes upright RGB; a file that holds no picture is named with the reason, and never stops the others.
"""

import hashlib
import io
import os
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tlkeras import _files

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM")
_SYSTEMS = ("__MACOSX", "@eaDir")  # folders of macOS and of Synology's disk stations
_WHOLE = "all"  # the split of a tree without splits
_WHITE = 65535  # of 16 bits
_DARKEST = 4096  # of 16 bits; what stays below all over is of a camera that has 12, or 8
_SMALLEST = 8  # pixels; smaller ones are placeholders and counters of web pages


class NotAnImageError(ValueError):
    """A file holds no picture that could be used; the message is the reason, in a few words."""


def decode_image(content: bytes, short_side: int | None = None) -> np.ndarray:
    """Decode an image file by its content, whatever its name.

    Grey values are repeated, CMYK is converted, transparency is laid on white, 16 bits become 8, and the rotation that
    a camera wrote down is carried out.

    Args:
        content: the bytes of the file.
        short_side: pixels to which a larger image is shrunk (antialiased); None leaves all as they are.

    Returns:
        uint8 RGB, `(height, width, 3)`.

    Raises:
        NotAnImageError: a format that is not read, a damaged or truncated file, fewer than 8 pixels on a side, so many
            that they look like an attack, or values whose range is anybody's guess: floating-point ones, 32 bits beyond
            0..65535, and 16 bits that all stay below 4,096, which would become nearly black.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged EXIF and the like: the picture is there
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                return np.array(_shrunk(_rgb(_upright(image)), short_side))
    except NotAnImageError:
        raise
    except UnidentifiedImageError as error:
        kind = "GIF" if content.startswith(b"GIF8") else "no image" if content else "empty"
        raise NotAnImageError(f"{kind}; read are {', '.join(_FORMATS)}") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and others, by the kind of damage
        raise NotAnImageError(f"damaged: {error}") from error


def squares(images: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Cut the square from the middle of each image, and resize it (antialiased).

    Args:
        images: uint8 RGB, each `(height, width, 3)`.
        side: of the result, in pixels.

    Returns:
        uint8 `(n, side, side, 3)`.
    """
    fitted = np.empty((len(images), side, side, 3), np.uint8)
    for index, image in enumerate(images):
        fitted[index] = np.asarray(ImageOps.fit(Image.fromarray(image), (side, side), Image.Resampling.BILINEAR))
    return fitted


def _upright(image: Image.Image) -> Image.Image:
    """Return the decoded image as its EXIF orientation says."""
    image.load()
    if min(image.size) < _SMALLEST:
        raise NotAnImageError(f"{image.width} x {image.height} pixels, fewer than {_SMALLEST} on a side")
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # an orientation that cannot be read is none
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise NotAnImageError("floating-point values of unknown range")
    if image.mode.startswith("I"):  # 16 bits a pixel, or 32
        return _eight_bits(np.asarray(image)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _eight_bits(values: np.ndarray) -> Image.Image:
    """Return grey values 0..65535 as an image of 8 bits a pixel."""
    smallest, largest = values.min(), values.max()
    if smallest < 0 or not _DARKEST <= largest <= _WHITE:
        raise NotAnImageError(f"values of {smallest} to {largest} where {_WHITE} is white: scale them to 16 bits or 8")
    return Image.fromarray((values // 257).astype(np.uint8))


def _shrunk(image: Image.Image, short_side: int | None) -> Image.Image:
    if short_side is None or min(image.size) <= short_side:
        return image
    scale = short_side / min(image.size)
    return image.resize([max(short_side, round(side * scale)) for side in image.size], Image.Resampling.BILINEAR)


class LoadedData:
    """What every data set in memory says of itself, whether it is arrays or a tree of images."""

    name: str
    class_names: tuple[str, ...]
    source: str
    stand_in: bool
    fingerprint: str
    licence: str

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def provenance(self) -> dict[str, Any]:
        """Return what is stored with every run that uses these data."""
        keys = ("name", "source", "stand_in", "fingerprint", "licence")
        return {key: getattr(self, key) for key in keys}


@dataclass(frozen=True, eq=False)
class ImageTree(LoadedData):
    """The images of a tree, and what was wrong with the others.

    By split, in the order of the paths: `images` are uint8 RGB, each `(height, width, 3)` of its own size, `labels`
    int32 `(n,)` in 0..num_classes-1, and `files` the paths below the root. `problems` has a line for each file or
    class folder that could not be used. `stand_in` is True for the embedded patches that are not the real images.
    """

    name: str
    class_names: tuple[str, ...]
    images: Mapping[str, tuple[np.ndarray, ...]] = field(repr=False)
    labels: Mapping[str, np.ndarray] = field(repr=False)
    files: Mapping[str, tuple[str, ...]] = field(repr=False)
    problems: tuple[str, ...]
    fingerprint: str
    source: str = "folder"
    licence: str = "not stated"
    stand_in: bool = False

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of images by split and class."""
        sizes = {split: np.bincount(labels, minlength=self.num_classes) for split, labels in self.labels.items()}
        return {split: dict(zip(self.class_names, map(int, size), strict=True)) for split, size in sizes.items()}

    def arrays(self, split: str, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the middle squares of a split, uint8 `(n, side, side, 3)`, and its labels, int32 `(n,)`.

        Raises:
            ValueError: an unknown split.
        """
        if split not in self.images:
            raise ValueError(f"Expected a split out of {list(self.images)}. Received: split={split!r}")
        return squares(self.images[split], side), self.labels[split]

    def summary(self, most: int | None = None) -> str:
        """Say how many images there are of each class, and name what was left out: all, or the first `most`."""
        lines = []
        for split, sizes in self.counts().items():
            by_class = ", ".join(f"{name} {size}" for name, size in sizes.items())
            lines.append(f"{split}: {sum(sizes.values())} images ({by_class})")
        shown = self.problems[:most]
        lines += [f"problems: {len(self.problems) or 'none'}", *(f"  {problem}" for problem in shown)]
        more = len(self.problems) - len(shown)
        return "\n".join([*lines, f"  and {more} more"] if more else lines)


def read_tree(root: Path, *, short_side: int | None = None) -> ImageTree:
    """Read a tree; whatever is wrong with a file ends as a problem, never as an exception.

    Files and folders whose names begin with a dot are skipped, and so are `__MACOSX` and `@eaDir`.

    Args:
        root: its folders are the splits, their folders the classes. If none of them has folders, or at least as many
            images lie beside these as in them, they are the classes themselves, of one split that is called "all".
        short_side: pixels to which larger images are shrunk; None keeps them.

    Returns:
        The images. Splits and classes without any are left out.

    Raises:
        ValueError: the images would take more memory than 4 GB.
    """
    problems: list[str] = []
    paths = image_paths(root, problems)
    by_split: dict[str, dict[str, list]] = {}
    digest, size = hashlib.sha256(), 0
    for number, (split, label, path) in enumerate(_files.progress(paths, "reading images"), 1):
        members = by_split.setdefault(split, {}).setdefault(label, [])
        name = f"{label}/{_text(path.name)}" if split == _WHOLE else f"{split}/{label}/{_text(path.name)}"
        try:
            content = _content(path)
            members.append((name, decode_image(content, short_side)))
            size += members[-1][1].nbytes
            digest.update(name.encode() + hashlib.sha256(content).digest())
        except (NotAnImageError, OSError) as error:
            problems.append(f"{name}: {error}")
        if size > _files.MOST_BYTES:
            raise ValueError(
                f"Expected images of at most {_files.MOST_BYTES / 1e9:g} GB, since they are kept in memory; take a "
                f"smaller short_side, or fewer images. Received: more, in the first {number} of {len(paths)} files, "
                f"short_side={short_side}"
            )
    whole_path = os.path.abspath(root)  # "." and ".." have no name of their own
    return _tree(_text(os.path.basename(whole_path)), by_split, problems, digest.hexdigest()[:16])


def image_paths(root: Path, problems: list[str]) -> list[tuple[str, str, Path]]:
    """Return split, class and path of everything in the class folders; what lies beside folders is a problem.

    Nothing is decoded. The problems are added to `problems`.
    """
    paths = []
    if _is_flat(root):
        for label in _folders(root, "", problems):
            members = _listed(label, _text(label.name), problems)
            paths += [(_WHOLE, _text(label.name), path) for path in members]
            problems += [] if members else [f"{_text(label.name)}: no files"]
        return paths
    for split in _folders(root, "", problems):
        for label in _folders(split, f"{_text(split.name)}/", problems):
            place = f"{_text(split.name)}/{_text(label.name)}"
            members = _listed(label, place, problems)
            paths += [(_text(split.name), _text(label.name), path) for path in members]
            problems += [] if members else [f"{place}: no files"]
    return paths


def _is_flat(root: Path) -> bool:
    """Whether a tree is class/image: no folder in it has folders, or at least as many images lie outside of these.

    So a stray image beside the classes of a split, or a folder of thumbnails inside of a class, costs itself alone.
    """
    folders, _ = _parted([root])
    inner, files = _parted(folders)
    if not inner:
        return bool(files)
    return _images(files) >= max(1, _images(_parted(inner)[1]))


def _parted(folders: list[Path]) -> tuple[list[Path], list[Path]]:
    """Return the folders and the files in some folders.

    What is in a folder that may be listed but not entered counts as files, which then cannot be read: `os.path.isdir`
    is False where `Path.is_dir` raises PermissionError.
    """
    members = [path for folder in folders for path in _listed(folder, "", [])]
    inner = [path for path in members if os.path.isdir(path)]
    return inner, [path for path in members if not os.path.isdir(path)]


def _images(files: list[Path]) -> int:
    """Return how many files are images by their names."""
    known = Image.registered_extensions()
    return sum(known.get(path.suffix.lower()) in _FORMATS for path in files)


def _folders(folder: Path, place: str, problems: list[str]) -> list[Path]:
    members = _listed(folder, place.rstrip("/"), problems)
    problems += [f"{place}{_text(path.name)}: not in split/class/image" for path in members if not os.path.isdir(path)]
    return [path for path in members if os.path.isdir(path)]


def _listed(folder: Path, place: str, problems: list[str]) -> list[Path]:
    try:
        return visible(folder)
    except OSError as error:
        problems.append(f"{place or _text(folder.name)}: cannot be read ({error.strerror})")
        return []


def visible(folder: Path) -> list[Path]:
    """Return what is in a folder, by name, without what systems and editors put there for themselves.

    Raises:
        OSError: the folder cannot be read.
    """
    members = [path for path in folder.iterdir() if not path.name.startswith(".") and path.name not in _SYSTEMS]
    return sorted(members, key=lambda path: _text(path.name))


def _content(path: Path) -> bytes:
    if os.path.isdir(path):
        raise NotAnImageError("a folder inside a class folder")
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would wait for ever
        raise NotAnImageError("no regular file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotAnImageError(f"cannot be read ({error.strerror})") from error


def _text(name: str) -> str:
    """Return a name that can be printed, and is the same whichever system wrote it (composed Unicode)."""
    return unicodedata.normalize("NFC", printable(name))


def printable(path: Path | str) -> str:
    """Return a path as text that can be printed and written down, though it hold bytes that are no UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def _tree(name: str, by_split: Mapping[str, Mapping[str, list]], problems: list[str], fingerprint: str) -> ImageTree:
    """Gather the images by split, with the classes of all splits; what lacks images is a problem."""
    splits = {split: by_class for split, by_class in by_split.items() if any(by_class.values())}
    known = sorted({label for by_class in by_split.values() for label in by_class})
    classes = [label for label in known if any(by_class.get(label) for by_class in splits.values())]
    problems = [
        *problems,
        *(f"{split}: no images" for split in by_split if split not in splits),
        *(f"{label}: no images in any split, left out" for label in known if label not in classes),
        *(f"{s}/{c}: no images" for s in splits for c in classes if not splits[s].get(c)),
        *(["one class only: there is nothing to tell apart"] if len(classes) == 1 else []),
    ]
    rows = {
        split: [(number, *pair) for number, label in enumerate(classes) for pair in by_class.get(label, ())]
        for split, by_class in splits.items()
    }
    return ImageTree(
        name=name,
        class_names=tuple(classes),
        images={split: tuple(image for _, _, image in members) for split, members in rows.items()},
        labels={split: np.array([label for label, _, _ in members], np.int32) for split, members in rows.items()},
        files={split: tuple(file for _, file, _ in members) for split, members in rows.items()},
        problems=tuple(problems),
        fingerprint=fingerprint,
    )
