"""The table of Keras Applications (report 001, page 12), made live: each network built and timed on this machine.

`python -m tlkeras.reports.strategies.applications [NAME ...]` measures (all rows by default), one process a network,
and stores the rows in results/applications.json.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras._files import progress, write_json
from tlkeras.experiments import environment

RESULTS = environment.REPOSITORY / "results" / "applications.json"
BATCH_SIZE = 32  # of the published times
STEPS = 3
_BASE = "VGG16"  # ratios of times are to this network's


@dataclasses.dataclass(frozen=True)
class Published:
    """A row of the slide: size in MB, accuracies in 0..1, millions of parameters, depth, ms a step."""

    size: int
    top1: float
    top5: float
    parameters: float
    depth: int
    cpu: float
    gpu: float


PUBLISHED = {
    "Xception": Published(88, 0.790, 0.945, 22.9, 81, 109.4, 8.1),
    "VGG16": Published(528, 0.713, 0.901, 138.4, 16, 69.5, 4.2),
    "VGG19": Published(549, 0.713, 0.900, 143.7, 19, 84.8, 4.4),
    "ResNet50": Published(98, 0.749, 0.921, 25.6, 107, 58.2, 4.6),
    "ResNet50V2": Published(98, 0.760, 0.930, 25.6, 103, 45.6, 4.4),
    "ResNet101": Published(171, 0.764, 0.928, 44.7, 209, 89.6, 5.2),
    "ResNet101V2": Published(171, 0.772, 0.938, 44.7, 205, 72.7, 5.4),
    "ResNet152": Published(232, 0.766, 0.931, 60.4, 311, 127.4, 6.5),
    "ResNet152V2": Published(232, 0.780, 0.942, 60.4, 307, 107.5, 6.6),
    "InceptionV3": Published(92, 0.779, 0.937, 23.9, 189, 42.2, 6.9),
    "InceptionResNetV2": Published(215, 0.803, 0.953, 55.9, 449, 130.2, 10.0),
}


def measure(name: str, *, batch_size: int = BATCH_SIZE, steps: int = STEPS, **options: Any) -> dict:
    """Build a network with random weights in this process and time its inference.

    Args:
        name: a key of `PUBLISHED`, or another builder of `keras.applications`.
        batch_size: images in a step.
        steps: timed, after one that traces; the median counts.
        options: for the builder, such as a smaller `input_shape`.

    Returns:
        name, size_mb (float32 weights), parameters, depth (layers with weights, which is how the slide counts),
        input_side (px), batch_size, processor ("cpu" or "gpu"), step_ms, image_ms, peak_memory_mib (of the process).

    Raises:
        ValueError: no such network, or no steps.
    """
    import keras  # late: tables of stored rows need no Keras

    from tlkeras import backend

    builder = getattr(keras.applications, name, None)
    if not callable(builder) or min(batch_size, steps) < 1:
        received = f"name={name!r}, batch_size={batch_size}, steps={steps}"
        known = ", ".join(PUBLISHED)
        raise ValueError(f"Expected one of {known}, and at least one image and step. Received: {received}")
    model = builder(weights=None, **options)
    images = np.random.default_rng(0).uniform(-1, 1, (batch_size, *model.input_shape[1:])).astype(np.float32)
    forward = backend.compiled(lambda x: model(x, training=False), model)
    seconds = [_seconds(forward, images) for _ in range(1 + steps)][1:]
    step = 1000 * statistics.median(seconds)
    return {
        "name": name,
        "size_mb": round(4 * model.count_params() / 2**20, 1),
        "parameters": model.count_params(),
        "depth": sum(bool(layer.weights) for layer in model.layers),
        "input_side": model.input_shape[1],
        "batch_size": batch_size,
        "processor": "gpu" if backend.gpus() else "cpu",
        "step_ms": round(step, 2),
        "image_ms": round(step / batch_size, 3),
        "peak_memory_mib": environment.peak_memory_mib(),
    }


def _seconds(forward: Callable, batch: np.ndarray) -> float:
    started = time.perf_counter()
    np.asarray(forward(batch))
    return time.perf_counter() - started


def measure_apart(names: Sequence[str], path: Path = RESULTS) -> list[dict]:
    """Measure networks one after the other, each in another process, and store each row at once.

    Args:
        names: keys of `PUBLISHED`.
        path: of the JSON file; rows of the same name and processor are replaced.

    Returns:
        The rows of `measure`, with what `environment.describe` says of this machine.

    Raises:
        ValueError: an unknown name.
        RuntimeError: a process failed; the rows before are stored.
    """
    unknown = [name for name in names if name not in PUBLISHED]
    if unknown:
        raise ValueError(f"Expected networks out of {list(PUBLISHED)}. Received: {unknown}")
    rows = []
    for name in progress(names, unit="network"):
        command = [sys.executable, "-m", "tlkeras.reports.strategies.applications", "--here", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"Expected {name} to be measured. Received: {done.stderr.strip()[-500:]}")
        rows.append({**json.loads(done.stdout.splitlines()[-1]), **environment.describe()})
        store(rows[-1:], path)
    return rows


def store(rows: Sequence[dict], path: Path = RESULTS) -> None:
    """Add measured rows to the JSON file at `path`, in place of those of the same network and processor."""
    kept = {(row["name"], row["processor"]): row for row in (*load(path), *rows)}
    write_json(path, list(kept.values()), indent=1)


def load(path: Path = RESULTS) -> list[dict]:
    """Return the stored rows, none where nothing was measured."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def table(measured: Sequence[dict]) -> list[dict]:
    """Lay measured rows beside the slide's, in its order.

    Returns:
        Rows with name, size_mb, size_mb_slide, parameters, parameters_slide (millions), depth, depth_slide, top1, top5
        (published), processor, step_ms, step_ms_slide, ratio (to VGG16 on the same processor), ratio_slide, image_ms,
        peak_memory_mib; ratio is None without a measured VGG16.
    """
    base = {row["processor"]: row["step_ms"] for row in measured if row["name"] == _BASE}
    order = list(PUBLISHED)
    rows = []
    for row in sorted((row for row in measured if row["name"] in order), key=lambda row: order.index(row["name"])):
        slide, reference = PUBLISHED[row["name"]], base.get(row["processor"])
        slide_ms, slide_base = (getattr(entry, row["processor"]) for entry in (slide, PUBLISHED[_BASE]))
        rows.append(
            {
                "name": row["name"],
                "size_mb": row["size_mb"],
                "size_mb_slide": slide.size,
                "parameters": round(row["parameters"] / 1e6, 1),
                "parameters_slide": slide.parameters,
                "depth": row["depth"],
                "depth_slide": slide.depth,
                "top1": slide.top1,
                "top5": slide.top5,
                "processor": row["processor"],
                "step_ms": row["step_ms"],
                "step_ms_slide": slide_ms,
                "ratio": None if reference is None else round(row["step_ms"] / reference, 2),
                "ratio_slide": round(slide_ms / slide_base, 2),
                "image_ms": row["image_ms"],
                "peak_memory_mib": row["peak_memory_mib"],
            }
        )
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Parse and run the command."""
    parser = argparse.ArgumentParser(prog="python -m tlkeras.reports.strategies.applications", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"out of {', '.join(PUBLISHED)}; default: all")
    parser.add_argument("--here", action="store_true", help="measure in this process and print JSON, store nothing")
    options = parser.parse_args(arguments)
    if options.here:
        from tlkeras import startup

        startup.quiet_start()
        for name in options.name:
            print(json.dumps(measure(name)))
        return
    for row in table(measure_apart(options.name or list(PUBLISHED))):
        print(f"{row['name']:<18} {row['parameters']:6.1f} M  depth {row['depth']:>3}  {row['step_ms']:9.1f} ms a step")


if __name__ == "__main__":
    main()
