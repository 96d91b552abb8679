"""Labelled images as Keras users have them, read once into arrays: features, seeds and proofs are those of arrays.

Everything that has one right meaning is done; whatever has not is named before anything is trained.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from tlkeras import _files, graph
from tlkeras.data import splits

Data = Any  # (images, labels), (images, labels, weights), or batches of such: see `read`


class Labelled(NamedTuple):
    """Images `(n, height, width, channels)`, integer labels `(n,)`, and weights `(n,)` float32, or None."""

    images: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None = None


def read(
    model: keras.Model,
    data: Data,
    *,
    class_names: Sequence[str] = (),
    sample_weight: Any = None,
    class_weight: Mapping[Any, float] | None = None,
    check: bool = True,
) -> tuple[Labelled, tuple[str, ...]]:
    """Read labelled images into arrays that fit a classifier.

    Args:
        model: one input `(batch, height, width, channels)`, one output `(batch, classes)`; a single output means two
            classes.
        data: `(images, labels)` or `(images, labels, weights)`; or batches of these, once through: a
            `tf.data.Dataset`, a `keras.utils.PyDataset`, or anything else that can be iterated. What a data set draws
            at random, such as its order or an augmentation, is drawn once, here.
            Images are raw, 0..255; grey ones, `(n, height, width)` or of one channel, are repeated for a network of
            three. Labels are integers 0..classes-1 of any shape `(n,)` or `(n, 1)`, one-hot `(n, classes)`, or names.
        class_names: that labels may be, in the order of the classes; without any, those of a data set with an attribute
            `class_names`, as `keras.utils.image_dataset_from_directory` makes it, else names are sorted.
        sample_weight: weight of each image `(n,)`, where `data` holds none; a data set needs its own order for it.
        class_weight: class, or its name -> factor of its images' weights; 1 for those that are left out.
        check: False leaves out the check of the images against the input of the model.

    Returns:
        The arrays, and the names of the classes, if there are any.

    Raises:
        ValueError: anything else, images or labels that do not fit the model, weights that come twice, a data set
            without an end, or one of more than 4 GB.
    """
    if len(graph.functional(model).inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(f"Expected a model of one input and one output. Received: {model.name!r}")
    wanted = model.input_shape[1:]
    images, given, *more = _parts(data)
    images = _for_channels(_stacked(images, wanted), wanted)
    labels, names = class_indices(given, graph.num_classes(model), class_names or getattr(data, "class_names", ()))
    if not len(images) or len(images) != len(labels):
        raise ValueError(f"Expected images with one label each. Received: {len(images)} images, {len(labels)} labels")
    if check:
        splits.check_images(model, images)
    if more and sample_weight is not None:
        raise ValueError("Expected weights beside the images, or as sample_weight=. Received: both")
    weights = image_weights(labels, graph.num_classes(model), names, more[0] if more else sample_weight, class_weight)
    return Labelled(images, labels, weights), names


def class_indices(
    labels: Any, num_classes: int | None = None, class_names: Sequence[str] = ()
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return labels as integers `(n,)`, and the names of the classes where there are any.

    Args:
        labels: integers, or floats that are whole numbers, `(n,)` or `(n, 1)`; one-hot `(n, classes)`; or names.
        num_classes: at least 2; None takes what the labels have.
        class_names: in the order of the classes; without any, names are sorted, and there must be one for each class.

    Raises:
        ValueError: other labels, soft ones for example, names that are not known, or fewer names than classes.
    """
    array, names = np.asarray(labels), tuple(class_names)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind in "SUO" and array.ndim == 1 and all(isinstance(label, str | bytes) for label in array):
        return _named(array, num_classes, names)
    if array.ndim == 2:
        array = _one_hot(array, num_classes)
    if array.dtype.kind == "b" or (array.dtype.kind == "f" and np.array_equal(array, np.round(array))):
        array = array.astype(np.int64)
    known = num_classes or (int(array.max(initial=1)) + 1 if array.dtype.kind in "iu" else 2)
    splits.validate_labels(array, known)
    return array, names


def image_weights(
    labels: np.ndarray,
    num_classes: int,
    names: Sequence[str],
    sample_weight: Any,
    class_weight: Mapping[Any, float] | None,
) -> np.ndarray | None:
    """Return the weight of each image, the product of both kinds, float32 `(n,)`; None where there is neither.

    Args:
        labels: `(n,)` integers 0..num_classes-1.
        num_classes: how many classes there are.
        names: of the classes, or none.
        sample_weight: `(n,)` or `(n, 1)`, or None.
        class_weight: class, or its name -> factor; 1 for those left out; or None.

    Raises:
        ValueError: another number of weights than of images, unknown classes, or weights that are negative, infinite
            or all 0.
    """
    if sample_weight is None and not class_weight:
        return None
    weights = np.asarray(np.ones(len(labels)) if sample_weight is None else sample_weight, np.float32)
    weights = weights[:, 0] if weights.ndim == 2 and weights.shape[1] == 1 else weights
    factors = {names.index(key) if key in names else key: value for key, value in (class_weight or {}).items()}
    whole = {key for key in factors if isinstance(key, int | np.integer) and not isinstance(key, bool)}
    if len(whole & set(range(num_classes))) < len(factors) or weights.shape != labels.shape:
        raise ValueError(
            f"Expected a weight for each of {len(labels)} images, and weights of classes 0..{num_classes - 1} or out "
            f"of {list(names)}. Received: shape={weights.shape}, classes {list(class_weight or {})}"
        )
    weights = weights * np.array([factors.get(int(label), 1.0) for label in labels], np.float32)
    if not np.isfinite(weights).all() or weights.min() < 0 or not weights.any():
        raise ValueError(
            "Expected finite weights of at least 0, not all of them 0. "
            f"Received: min={weights.min()}, max={weights.max()}"
        )
    return weights


def _parts(data: Data) -> Sequence[Any]:
    """Return images, labels and, if there are any, weights."""
    if isinstance(data, tuple | list):
        if len(data) not in (2, 3):
            raise ValueError(f"Expected (images, labels) or (images, labels, weights). Received: {len(data)} parts")
        return data if data[-1] is not None else data[:-1]
    if (
        not isinstance(data, Iterable | keras.utils.PyDataset)
        or isinstance(data, Mapping | str)
        or hasattr(data, "dtype")
    ):
        raise ValueError(
            f"Expected (images, labels), or a data set of batches of them. Received: {type(data).__name__}"
        )
    return _gathered(data)


def _gathered(batches: Iterable) -> list[np.ndarray]:
    """Read a data set once; what it holds is bounded."""
    kept: list[list[np.ndarray]] = []
    size = 0
    for batch in _iterated(batches):
        if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
            received = f"{len(batch)} parts" if isinstance(batch, tuple | list) else type(batch).__name__
            raise ValueError(f"Expected batches of (images, labels) or with weights, too. Received: {received}")
        arrays = [np.asarray(part) for part in batch]
        kept.append([array[None] for array in arrays] if arrays[1].ndim == 0 else arrays)  # single images
        size += sum(array.nbytes for array in arrays)
        if size > _files.MOST_BYTES:
            raise ValueError(
                f"Expected a data set of at most {_files.MOST_BYTES / 1e9:g} GB, since it is read into memory once; "
                f"take fewer or smaller images, or give arrays. Received: more, in {len(kept)} batches so far"
            )
    if not kept:
        raise ValueError("Expected at least one batch of (images, labels). Received: none")
    shapes = sorted({arrays[0].shape[1:] for arrays in kept})
    if len(shapes) > 1:
        raise ValueError(f"Expected images of one size; resize them in the data set. Received: shapes {shapes[:5]}")
    return [np.concatenate(parts) for parts in zip(*kept, strict=True)]


def _iterated(batches: Any) -> Iterable:
    # tf.data.INFINITE_CARDINALITY is -1; its data sets need no TensorFlow here.
    endless = hasattr(batches, "cardinality") and int(batches.cardinality()) == -1
    if endless or (isinstance(batches, keras.utils.PyDataset) and batches.num_batches is None):
        raise ValueError(f"Expected a data set with an end, one without `repeat()`. Received: {batches!r}")
    if isinstance(batches, keras.utils.PyDataset):
        return (batches[index] for index in range(batches.num_batches))
    return batches


def _stacked(images: Any, wanted: tuple[int | None, ...]) -> np.ndarray:
    """Return images as one array."""
    if isinstance(images, list | tuple) or getattr(images, "dtype", None) == np.object_:
        shapes = sorted({np.shape(image) for image in images})
        if len(shapes) > 1:
            advice = f"`tlkeras.data.images.squares(images, {wanted[0] or 224})` makes them so"
            advice = advice if all(map(_is_colour, images)) else "resize them"
            raise ValueError(f"Expected images of one size; {advice}. Received: shapes {shapes[:5]}")
        return np.array(list(images))
    return np.asarray(images)


def _is_colour(image: Any) -> bool:
    """Whether an image is uint8 RGB, `(height, width, 3)`, as `tlkeras.data.images.squares` takes it."""
    return isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[-1] == 3


def _for_channels(images: np.ndarray, wanted: tuple[int | None, ...]) -> np.ndarray:
    """Return grey images with the channels that a network wants."""
    if len(wanted) != 3:
        return images
    if images.ndim == 3 and images.shape[-1:] != (0,):
        images = images[..., None]
    grey = images.ndim == 4 and images.shape[-1] == 1
    return np.repeat(images, 3, axis=-1) if grey and wanted[-1] == 3 else images


def _named(labels: np.ndarray, num_classes: int | None, names: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    texts = [label.decode() if isinstance(label, bytes) else str(label) for label in labels]
    known = names or tuple(sorted(set(texts)))
    if num_classes is not None and len(known) != num_classes:
        raise ValueError(
            f"Expected the names of all {num_classes} classes, or integers 0..{num_classes - 1}. "
            f"Received: {len(known)} names, {list(known[:5])}"
        )
    unknown = sorted(set(texts) - set(known))
    if unknown:
        raise ValueError(f"Expected labels out of {list(known)}. Received: {unknown[:5]}")
    places = {name: place for place, name in enumerate(known)}
    return np.array([places[text] for text in texts], np.int32), known


def _one_hot(labels: np.ndarray, num_classes: int | None) -> np.ndarray:
    if num_classes is not None and labels.shape[1] != num_classes:
        raise ValueError(f"Expected labels (n,), or one-hot (n, {num_classes}). Received: shape={labels.shape}")
    whole = np.isin(labels, (0, 1)).all(axis=1) & (labels.sum(axis=1) == 1)
    if not whole.all():
        first = int(np.flatnonzero(~whole)[0])
        raise ValueError(
            "Expected one-hot labels, a single 1 in each row; mixtures of classes are not trained on. "
            f"Received: {labels[first].tolist()} in row {first}"
        )
    return labels.argmax(axis=1).astype(np.int32)
