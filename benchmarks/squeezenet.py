"""Report 000: cached features against `model.fit`, and a step against PyTorch's.

What was tried and is no part of a row: channels first (slower), and an input pipeline that shuffles numbers and gathers
the batches (no faster).
"""

import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

from benchmarks.squeezenet_step import SIDES, THREADS
from tlkeras._files import write_arrays
from tlkeras.models import squeezenet, weights

COUNT, EPOCHS, SIDE = 8_000, 5, 96
ROUNDS = 5


def rows() -> list[dict]:
    """Return the rows of this report."""
    return [_head_epoch(), *_steps(32, batch_size=32), *_steps(32, batch_size=128), *_variants(32, batch_size=32)]


def _head_epoch() -> dict:
    """Time an epoch of the head at 96 px, each side in a process of its own, and compare what both have learnt."""
    found = {side: _run("squeezenet_head", side, str(COUNT), str(EPOCHS), str(SIDE)) for side in ("ours", "peer")}
    accuracies = " and ".join(f"{run['accuracy']:.3f}" for run in found.values())
    equal = (
        f"SqueezeNet, only conv10 trained, {COUNT:,} CIFAR-10 images enlarged to {SIDE} px, batch 32, Adam 1e-3, "
        f"median epoch of {EPOCHS} after the first; peer: model.fit; ours: one thread an operation; computing the "
        f"features once: {found['ours']['before']:.0f} s; test accuracy {accuracies}"
    )
    return _row("head epoch vs fit, 96 px", found["ours"]["epoch"], found["peer"]["epoch"], equal)


def _steps(side: int, batch_size: int) -> list[dict]:
    """Time a training step and a forward pass beside PyTorch's, each side in processes of its own, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "batch.npz"
        _write_batch(file, side, batch_size)
        sides = ("ours", "pytorch") if importlib.util.find_spec("torch") else ("ours",)
        found: dict[str, list[dict]] = {name: [] for name in sides}
        for _ in range(ROUNDS):
            for name in sides:
                found[name].append(_measure(name, file))
    equal = f"{side} px, batch {batch_size}, float32, {THREADS} threads, Adam; median of {ROUNDS} processes in turn"
    if "pytorch" in found:
        logits = [np.array(found[name][0]["logits"]) for name in sides]
        error = np.abs(logits[0] - logits[1]).max() / np.abs(logits[1]).max()
        equal += f"; peer: PyTorch, channels_last, fused Adam; same weights, logits differ by {error:.0e} relative"
    else:
        equal += "; PyTorch is not installed (extra: bench)"
    rows = []
    for title, key in (("training step vs PyTorch", "train"), ("forward pass vs PyTorch", "infer")):
        ours, peer = _median_of(found, key)
        peer = 1000 * peer if peer else None
        rows.append(_row(f"{title}, {side} px, batch {batch_size}", 1000 * ours, peer, equal, "ms"))
    return rows


def _variants(side: int, batch_size: int) -> list[dict]:
    """Time what else was tried beside what was kept."""
    names = [name for name in SIDES if name not in ("ours", "pytorch")]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "batch.npz"
        _write_batch(file, side, batch_size)
        seconds = {name: _measure(name, file)["train"] for name in ["ours", *names]}
    equal = f"training step, {side} px, batch {batch_size}; ours as in the row against PyTorch, peer with {{}}"
    return [
        _row(f"tried: {name}", 1000 * seconds["ours"], 1000 * seconds[name], equal.format(name), "ms") for name in names
    ]


def _median_of(found: dict[str, list[dict]], key: str) -> tuple[float, float | None]:
    medians = [statistics.median(run[key] for run in runs) for runs in found.values()]
    return medians[0], (medians[1] if len(medians) > 1 else None)


def _write_batch(file: Path, side: int, batch_size: int) -> None:
    keras.utils.set_random_seed(0)
    model = squeezenet(10, (side, side, 3), weights=None)
    tensors = {name: np.asarray(variable) for name, variable in weights.tensor_names(model).items()}
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (batch_size, side, side, 3)).astype(np.uint8)
    labels = generator.integers(0, 10, batch_size).astype(np.int32)
    write_arrays(file, {"images": images, "labels": labels, **tensors})


def _measure(name: str, file: Path) -> dict:
    return _run("squeezenet_step", name, str(file))


def _run(module: str, *arguments: str) -> dict:
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _row(name: str, ours: float, peer: float | None, equal: str, unit: str = "s") -> dict:
    ratio = None if peer is None else round(peer / ours, 2 if peer / ours < 10 else 1)
    return {
        "name": name,
        "ours": round(ours, 2),
        "peer": None if peer is None else round(peer, 2),
        "ratio": ratio,
        "unit": unit,
        "equal": equal,
    }
