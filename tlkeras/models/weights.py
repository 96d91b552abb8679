"""Weight files: written atomically, read strictly, and proven to have reached the layers.

A file is an .npz of float arrays named `layer/variable` (kernels are HWIO), beside it a .json record.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tlkeras import _files

DTYPES = ("float32", "float16")  # of a file
PRETRAINED = Path(__file__).with_name("pretrained")


class WeightFileError(ValueError):
    """A weight file is missing, damaged, or not of this architecture; the model was left as it was."""


@dataclass(frozen=True)
class Loaded:
    """What a strict load did: tensors proven equal to the file and changed by it, and layers left new."""

    tensors: tuple[str, ...]
    new_layers: tuple[str, ...]
    sha256: str

    def __str__(self) -> str:
        new = ", ".join(self.new_layers) or "none"
        return f"ok: {len(self.tensors)} of {len(self.tensors)} tensors loaded; new layers: {new}"


def tensor_names(model: keras.Model) -> dict[str, keras.Variable]:
    """Name every weight of a flat model `layer/variable`, in the order of the layers.

    Raises:
        WeightFileError: weights of a layer that share a name, as those of layers inside it may.
    """
    pairs = [(f"{layer.name}/{weight.name}", weight) for layer in model.layers for weight in layer.weights]
    shared = sorted(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
    if shared:
        raise WeightFileError(f"Expected a name of its own for every weight of a layer. Received: {shared}")
    return dict(pairs)


def fingerprint(variables: Iterable[keras.Variable] | keras.Model) -> str:
    """Return the first 16 hex digits of the SHA-256 over the weights' shapes and float bytes, in order."""
    variables = variables.weights if isinstance(variables, keras.Model) else variables
    digest = hashlib.sha256()
    for variable in variables:
        array = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
        digest.update(str((array.shape, array.dtype.str)).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def check_saving(
    model: keras.Model, path: Path | None, record: Mapping[str, object], *, dtype: str = "float32", without: str = ""
) -> None:
    """Find out before hours of training what `save` would refuse after them; without a `path` only `dtype` matters.

    Args:
        model: as for `save`, like all that follows.
        path: whose folder is made if it is not there.
        record: facts to keep with the weights, as far as they are known.
        dtype: of the weights in the file.
        without: a layer that is left out.

    Raises:
        ValueError: a path of another suffix, another dtype, or a layer without weights or that is not known.
        OSError: a folder that cannot be written.
        TypeError: a record that is not JSON.
        WeightFileError: as `tensor_names` does.
    """
    layers = list(dict.fromkeys(name.split("/")[0] for name in tensor_names(model))) if path else [without]
    if (path and path.suffix != ".npz") or dtype not in DTYPES or without not in ["", *layers]:
        raise ValueError(
            f"Expected a path that ends in .npz, a dtype out of {DTYPES}, and '' or a layer to leave out of {layers}. "
            f"Received: path={str(path)!r}, {dtype=}, {without=}"
        )
    if path:
        _files.as_json(dict(record))
        _files.check_writable(path.parent)


def save(
    model: keras.Model, path: Path, record: Mapping[str, object], *, dtype: str = "float32", without: str = ""
) -> None:
    """Write the weights of `model` to `path` (.npz) and `record` beside it (.json), each atomically.

    Args:
        model: a flat model.
        path: ends in .npz.
        record: facts to keep with the weights; file, SHA-256 and the number of parameters in the file are added.
            NumPy's values become numbers and lists.
        dtype: "float32", or "float16", half the size; reading gives back what was rounded.
        without: a layer that is left out, such as a head that every user replaces.

    Raises:
        OSError, TypeError: a file that cannot be written, or a record that is not JSON; both files stay as they were.
        ValueError, WeightFileError: as `check_saving` does.
    """
    path = Path(path)
    check_saving(model, path, record, dtype=dtype, without=without)
    tensors = {
        name: keras.ops.convert_to_numpy(variable).astype(dtype)
        for name, variable in tensor_names(model).items()
        if name.split("/")[0] != without
    }
    parameters = sum(tensor.size for tensor in tensors.values())
    with _files.replacing(path.with_suffix(".json")) as partial_record, _files.replacing(path) as partial:
        with open(partial, "wb") as file:
            np.savez_compressed(file, **tensors)
        full = {**record, "file": path.name, "sha256": _files.file_digest(partial), "parameters": parameters}
        partial_record.write_text(_files.as_json(full, indent=1))


def record(name: str, folder: Path = PRETRAINED) -> dict:
    """Return the record of shipped weights: data fingerprint, accuracy, command, SHA-256, number of classes.

    Raises:
        WeightFileError: no such weights.
    """
    path = folder / f"{name}.json"
    if not path.exists():
        known = sorted(p.stem for p in folder.glob("*.json"))
        raise WeightFileError(f"Expected the name of shipped weights, one of {known}. Received: {name!r}")
    return json.loads(path.read_text())


def load_pretrained(
    model: keras.Model, name: str, *, head: str, new_head: bool | None = None, folder: Path = PRETRAINED
) -> Loaded:
    """Load shipped weights strictly; the layer `head` as in `assign`.

    Raises:
        WeightFileError: unknown name, a file that is not the recorded one, or of another architecture.
    """
    facts = record(name, folder)
    path = folder / facts["file"]
    if not path.exists() or _files.file_digest(path) != facts["sha256"]:
        raise WeightFileError(f"{path.name} is not the recorded file; install tlkeras again. Received: {path}")
    return assign(model, read(path), head=head, new_head=new_head, sha256=facts["sha256"])


def read(path: Path) -> dict[str, np.ndarray]:
    """Read an .npz of named tensors.

    Raises:
        WeightFileError: the file is missing, truncated or no .npz.
    """
    return _files.read_arrays(path, WeightFileError)


def assign(
    model: keras.Model,
    tensors: Mapping[str, np.ndarray],
    *,
    head: str = "",
    new_head: bool | None = False,
    sha256: str = "",
) -> Loaded:
    """Assign named tensors to a flat model; prove that each is equal to the file's and was changed by it.

    Everything is checked before the first weight is touched, so a bad file leaves the model as it was.

    Args:
        model: flat functional model, freshly built.
        tensors: `layer/variable` -> array of the variable's shape.
        head: the layer that `new_head` is about.
        new_head: True keeps the weights of the head, and its tensors are ignored; False wants them like all others;
            None takes them where they are there and have its shape.
        sha256: of the file, for the report.

    Raises:
        WeightFileError: a missing, superfluous, misshapen or non-finite tensor, one that changed nothing, or as
            `tensor_names` does.
    """
    if new_head is None:
        new_head = not _head_fits(model.get_layer(head), tensors)
    new_layers = (head,) if new_head else ()
    wanted = {k: v for k, v in tensor_names(model).items() if k.split("/")[0] not in new_layers}
    offered = {k: v for k, v in tensors.items() if k.split("/")[0] not in new_layers}
    _check_fit(wanted, offered)
    unchanged = [name for name, v in wanted.items() if np.array_equal(keras.ops.convert_to_numpy(v), offered[name])]
    if unchanged:
        raise WeightFileError(f"Expected every tensor to change a freshly built model. Received: unchanged {unchanged}")
    for name, variable in wanted.items():
        variable.assign(offered[name])
    wrong = [
        name
        for name, v in wanted.items()
        if not np.array_equal(keras.ops.convert_to_numpy(v), offered[name].astype(v.dtype))
    ]
    if wrong:
        raise WeightFileError(f"Expected the layers to hold the file's tensors. Received: other values in {wrong}")
    return Loaded(tuple(wanted), new_layers, sha256)


def _head_fits(head: keras.Layer, tensors: Mapping[str, np.ndarray]) -> bool:
    offered = {name: array.shape for name, array in tensors.items() if name.split("/")[0] == head.name}
    return offered == {f"{head.name}/{weight.name}": tuple(weight.shape) for weight in head.weights}


def _check_fit(wanted: Mapping[str, keras.Variable], offered: Mapping[str, np.ndarray]) -> None:
    if set(wanted) != set(offered):
        missing, extra = sorted(set(wanted) - set(offered)), sorted(set(offered) - set(wanted))
        raise WeightFileError(f"Expected exactly the model's tensors. Received: missing {missing}, not known {extra}")
    for name, variable in wanted.items():
        if tuple(variable.shape) != offered[name].shape:
            shapes = f"{name} of {offered[name].shape}"
            raise WeightFileError(f"Expected {name} of shape {tuple(variable.shape)}. Received: {shapes}")
        if offered[name].dtype.kind != "f" or not np.isfinite(offered[name]).all():
            raise WeightFileError(f"Expected finite floats. Received: NaN, infinity or {offered[name].dtype} in {name}")
