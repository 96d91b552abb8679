"""Weight files: written atomically, read strictly, and proven to have reached the layers.

A file is an .npz of float arrays named `layer/variable` (kernels are HWIO), beside it a .json record.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

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
    """Name every weight of a flat model `layer/variable`, in the order of the layers."""
    return {f"{layer.name}/{weight.name}": weight for layer in model.layers for weight in layer.weights}


def fingerprint(variables: Iterable[keras.Variable] | keras.Model) -> str:
    """Return the first 16 hex digits of the SHA-256 over the weights' shapes and float bytes, in order."""
    variables = variables.weights if isinstance(variables, keras.Model) else variables
    digest = hashlib.sha256()
    for variable in variables:
        array = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
        digest.update(str((array.shape, array.dtype.str)).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def save(
    model: keras.Model, path: Path, record: Mapping[str, object], *, dtype: str = "float32", without: str = ""
) -> None:
    """Write the weights of `model` to `path` (.npz) and `record` beside it (.json), atomically.

    Args:
        model: a flat model.
        path: ends in .npz.
        record: facts to keep with the weights; file, SHA-256 and the number of parameters in the file are added.
        dtype: "float32", or "float16", half the size; reading gives back what was rounded.
        without: a layer that is left out, such as a head that every user replaces.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, partial_record = path.with_suffix(".partial.npz"), path.with_suffix(".partial.json")
    tensors = {
        name: keras.ops.convert_to_numpy(variable).astype(dtype)
        for name, variable in tensor_names(model).items()
        if name.split("/")[0] != without
    }
    try:
        np.savez_compressed(partial, **tensors)
        parameters = sum(tensor.size for tensor in tensors.values())
        full = {**record, "file": path.name, "sha256": file_sha256(partial), "parameters": parameters}
        partial_record.write_text(json.dumps(full, indent=1) + "\n")
        os.replace(partial, path)
        os.replace(partial_record, path.with_suffix(".json"))
    finally:
        partial.unlink(missing_ok=True)
        partial_record.unlink(missing_ok=True)


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
    model: keras.Model, name: str, *, head: str, new_head: bool = False, folder: Path = PRETRAINED
) -> Loaded:
    """Load shipped weights strictly; the layer `head` stays new if asked, or if the file's has another shape.

    Raises:
        WeightFileError: unknown name, a file that is not the recorded one, or of another architecture.
    """
    facts = record(name, folder)
    path = folder / facts["file"]
    if not path.exists() or file_sha256(path) != facts["sha256"]:
        raise WeightFileError(f"{path.name} is not the recorded file; install tlkeras again. Received: {path}")
    tensors = read(path)
    head_fits = not new_head and all(
        tensors.get(f"{head}/{weight.name}", np.empty(0)).shape == tuple(weight.shape)
        for weight in model.get_layer(head).weights
    )
    return assign(model, tensors, new_layers=() if head_fits else (head,), sha256=facts["sha256"])


def read(path: Path) -> dict[str, np.ndarray]:
    """Read an .npz of named tensors.

    Raises:
        WeightFileError: the file is missing, truncated or no .npz.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # zipfile, zlib, numpy and the operating system each raise their own
        raise WeightFileError(f"Expected a readable .npz of named tensors ({error}). Received: {path}") from error


def assign(
    model: keras.Model, tensors: Mapping[str, np.ndarray], *, new_layers: tuple[str, ...] = (), sha256: str = ""
) -> Loaded:
    """Assign named tensors to a flat model; prove that each is equal to the file's and was changed by it.

    Everything is checked before the first weight is touched, so a bad file leaves the model as it was.

    Args:
        model: flat functional model, freshly built.
        tensors: `layer/variable` -> array of the variable's shape.
        new_layers: layers that keep their own weights; tensors of these layers are ignored.
        sha256: of the file, for the report.

    Raises:
        WeightFileError: a missing, superfluous, misshapen or non-finite tensor, or one that changed nothing.
    """
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
    return Loaded(tuple(wanted), tuple(new_layers), sha256)


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


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hex digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
