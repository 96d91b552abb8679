"""Report 004: frozen features cached against `model.fit`, an epoch of AlexNet against PyTorch's, VGG16's memory."""

import dataclasses
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

from benchmarks.ants_bees_step import THREADS
from tlkeras._files import write_arrays
from tlkeras.models import alexnet, weights
from tlkeras.models.vgg import VGG16_BLOCKS
from tlkeras.reports.ants_bees import photographs
from tlkeras.reports.ants_bees.run import build
from tlkeras.reports.ants_bees.settings import NETWORKS, Settings
from tlkeras.transfer import FeatureCache, Phase, finetune, freeze
from tlkeras.transfer.evaluation import evaluate
from tlkeras.transfer.finetune import Pair

FROZEN = Settings(train="head", views=1, mirrored=False)  # what can be cached: no random crops
MEASURED = {"alexnet": 2, "vgg16": 1}  # epochs of the peer after the first
EPOCH = -(-(244 + 122) // 4)  # steps
SIDE, BATCH, ROUNDS = 224, 4, 5


def rows() -> list[dict]:
    """Return the rows of this report."""
    frozen = [_frozen(network) for network in NETWORKS]
    return [*frozen, *_epochs(), _memory()]


def _frozen(network: str) -> dict:
    """Time the whole frozen regime with cached features, and `fit` by a few of its epochs."""
    arm = dataclasses.replace(FROZEN, network=network)
    pairs = photographs.training(arm, 0), photographs.validation(arm)
    seconds, accuracy = {}, {}
    for side, train in (("ours", _cached), ("peer", _plain)):
        keras.utils.set_random_seed(0)
        model = build(network, arm)
        seconds[side] = train(model, arm, *pairs)
        accuracy[side] = evaluate(model, *pairs[1])[1]
    epochs = MEASURED[network]
    equal = (
        f"{network}, only the new layer trained, {len(pairs[0][0])} + {len(pairs[1][0])} {photographs.images().name} "
        f"images of {arm.side} px in one fixed view, batch {arm.batch_size}, Adam {arm.learning_rate}, "
        f"{arm.epochs} epochs, each validated; ours: all of them, features and tracing included; peer: model.fit, "
        f"{arm.epochs} x the median of {epochs} epochs after the first, which traces; "
        f"accuracy {accuracy['ours']:.3f} and (after {1 + epochs} epochs) {accuracy['peer']:.3f}"
    )
    return _row(f"frozen {network}, {arm.epochs} epochs", seconds["ours"], seconds["peer"], equal)


def _cached(model: keras.Model, arm: Settings, train: Pair, validation: Pair) -> float:
    started = time.perf_counter()
    phase = Phase("main", "head", arm.epochs, arm.learning_rate)
    finetune(model, train, validation, [phase], seed=0, batch_size=arm.batch_size, cache=FeatureCache())
    return time.perf_counter() - started


def _plain(model: keras.Model, arm: Settings, train: Pair, validation: Pair) -> float:
    ends = [time.perf_counter()]
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    freeze(model, "head", learning_rate=arm.learning_rate)
    model.fit(
        *train,
        validation_data=validation,
        batch_size=arm.batch_size,
        epochs=1 + MEASURED[arm.network],
        verbose=0,
        callbacks=[clock],
    )
    return arm.epochs * statistics.median(np.diff(ends)[1:])


def _epochs() -> list[dict]:
    """Time an epoch of full training of AlexNet beside PyTorch's, each side in processes of its own, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "batch.npz"
        _write_batch(file)
        sides = ("ours", "pytorch") if importlib.util.find_spec("torch") else ("ours",)
        found: dict[str, list[dict]] = {name: [] for name in sides}
        for _ in range(ROUNDS):
            for name in sides:
                found[name].append(_measure(name, file))
        tried = "one thread an operation"
        variant = EPOCH * _measure(tried, file)["step"]
    equal = f"all layers, {EPOCH} steps of {BATCH} images of {SIDE} px, float32, {THREADS} threads, Adam"
    seconds = [EPOCH * statistics.median(run["step"] for run in runs) for runs in found.values()]
    note = f"{equal}; median of {ROUNDS} processes in turn; " + _peer(found)
    return [
        _row("epoch of all AlexNet vs PyTorch", seconds[0], seconds[1] if len(seconds) > 1 else None, note),
        _row(f"tried for that epoch: {tried}", seconds[0], variant, f"{equal}; peer: ours with {tried}"),
    ]


def _peer(found: dict[str, list[dict]]) -> str:
    if "pytorch" not in found:
        return "PyTorch is not installed (extra: bench)"
    mine, theirs = (np.array(found[name][0]["logits"]) for name in ("ours", "pytorch"))
    error = np.abs(mine - theirs).max() / np.abs(theirs).max()
    return f"peer: PyTorch, channels_last, fused Adam; same weights, logits differ by {error:.0e} relative"


def _memory() -> dict:
    """Say how much memory full training of VGG16 takes at its peak."""
    images, labels = _images(2 * BATCH)
    longest = max(map(len, VGG16_BLOCKS))
    blocks = np.array([[*block, *[0] * (longest - len(block))] for block in VGG16_BLOCKS])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npz"
        write_arrays(file, {"images": images, "labels": labels, "blocks": blocks})
        peak = _measure("memory", file)["peak_mib"]
    equal = f"all layers, batch {BATCH}, {SIDE} px, Adam, validation and checkpoint too; peak of the process"
    return {"name": "memory of all VGG16", "ours": peak, "peer": None, "ratio": None, "unit": "MiB", "equal": equal}


def _images(count: int) -> Pair:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8)
    return images, (np.arange(count) % 2).astype(np.int32)


def _write_batch(file: Path) -> None:
    keras.utils.set_random_seed(0)
    model = alexnet(2, (SIDE, SIDE, 3), weights=None)
    tensors = {name: np.asarray(variable) for name, variable in weights.tensor_names(model).items()}
    images, labels = _images(BATCH)
    write_arrays(file, {"images": images, "labels": labels, **tensors})


def _measure(name: str, file: Path) -> dict:
    command = [sys.executable, "-m", "benchmarks.ants_bees_step", name, str(file)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _row(name: str, ours: float, peer: float | None, equal: str) -> dict:
    ratio = None if peer is None else round(peer / ours, 2 if peer / ours < 10 else 1)
    return {
        "name": name,
        "ours": round(ours, 2),
        "peer": None if peer is None else round(peer, 2),
        "ratio": ratio,
        "unit": "s",
        "equal": equal,
    }
