"""Report 000: cached features against `model.fit`, and a step against PyTorch's."""

import functools
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

from tlkeras.benchmarks.squeezenet_step import SIDES, THREADS
from tlkeras.models import squeezenet, weights
from tlkeras.reports import squeezenet as report
from tlkeras.transfer import FeatureCache, Phase, finetune, freeze
from tlkeras.transfer.evaluation import evaluate
from tlkeras.transfer.finetune import Pair

COUNT, EPOCHS, SIDE = 8_000, 3, 96
ROUNDS = 5


def rows() -> list[dict]:
    """Return the rows of this report."""
    return [_head_epoch(), *_steps(32, batch_size=32), *_steps(32, batch_size=128), *_variants(32, batch_size=32)]


def _head_epoch() -> dict:
    """Time an epoch of the head at 96 px, and compare what both ways have learnt."""
    cut = report.parts(report.Settings(train_count=COUNT, validation_count=1000, test_count=1000))
    seconds, accuracy = {}, {}
    for side, train in (("ours", _cached_epochs), ("peer", _plain_epochs)):
        keras.utils.set_random_seed(0)
        model = squeezenet(
            report.images().num_classes, weights=report.pretrained()["name"], resolution=SIDE, pool_first=True
        )
        seconds[side] = train(model, cut["train"])
        accuracy[side] = evaluate(model, *cut["test"])[1]
    equal = (
        f"SqueezeNet, only conv10 trained, {len(cut['train'][0]):,} CIFAR-10 images enlarged to {SIDE} px, batch 32, "
        f"Adam 1e-3, median epoch of {EPOCHS} after the first; peer: model.fit; computing the features once: "
        f"{seconds['ours'][1]:.0f} s; test accuracy {accuracy['ours']:.3f} and {accuracy['peer']:.3f}"
    )
    return _row("head epoch vs fit, 96 px", seconds["ours"][0], seconds["peer"][0], equal)


def _cached_epochs(model: keras.Model, train: Pair) -> tuple[float, float]:
    """Return the seconds of an epoch, and of everything before the first one."""
    clock = _Clock()
    started = time.perf_counter()
    phase = Phase("head", "head", 1 + EPOCHS, 1e-3)
    finetune(model, train, None, [phase], seed=0, cache=FeatureCache(), callbacks=lambda: [clock])
    return clock.median(), clock.begun - started


def _plain_epochs(model: keras.Model, train: Pair) -> tuple[float, float]:
    clock = _Clock()
    freeze(model, "head")
    model.fit(*train, batch_size=32, epochs=1 + EPOCHS, verbose=0, callbacks=[clock])
    return clock.median(), 0.0


class _Clock(keras.callbacks.Callback):
    """Time the epochs; the first one traces."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.begun = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.seconds.append(time.perf_counter() - self._started)

    def median(self) -> float:
        return statistics.median(self.seconds[1:])


def _steps(side: int, batch_size: int) -> list[dict]:
    """Time a training step and a forward pass beside PyTorch's, each side in processes of its own, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "batch.npz"
        _write_batch(file, side, batch_size)
        sides = ("ours", "pytorch") if importlib.util.find_spec("torch") else ("ours",)
        found = {name: [] for name in sides}
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
    seconds = functools.partial(_median_of, found)
    return [
        _row(f"{title}, {side} px, batch {batch_size}", *(1000 * s if s else None for s in seconds(key)), equal, "ms")
        for title, key in (("training step vs PyTorch", "train"), ("forward pass vs PyTorch", "infer"))
    ]


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
    np.savez(file, images=images, labels=generator.integers(0, 10, batch_size).astype(np.int32), **tensors)


def _measure(name: str, file: Path) -> dict:
    command = [sys.executable, "-m", "tlkeras.benchmarks.squeezenet_step", name, str(file)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _row(name: str, ours: float, peer: float | None, equal: str, unit: str = "s") -> dict:
    ratio = None if peer is None else round(peer / ours, 2 if peer / ours < 10 else 1)
    return {
        "name": name, "ours": round(ours, 2), "peer": None if peer is None else round(peer, 2), "ratio": ratio,
        "unit": unit, "equal": equal,
    }  # fmt: skip
