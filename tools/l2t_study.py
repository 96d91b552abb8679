"""Report 003 on a GPU: `KERAS_BACKEND=jax python -m tools.l2t_study` checks the device, times it, and runs the arms.

Needs JAX and no TensorFlow; data and weights lie where TLKERAS_HOME says. First the official code's numbers, in float64
on this device; then seconds an iteration, by batch and number of seeds; then the arms in the order of worth, 30 seeds
and all four methods. Each arm is stored as it ends (TLKERAS_RESULTS), and what is stored is not run again, so that it
may be cut off and started anew.
"""

import argparse
import functools
import itertools
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tlkeras.experiments import environment, runs
from tlkeras.experiments.report import profile
from tlkeras.reports.l2t.settings import ARMS, METHODS, REPORT, SIZES, UNBALANCED, Settings, arm_name

REPOSITORY = Path(__file__).resolve().parents[1]
FIRST = (("stl10", 10), ("stl10", 5), ("stl10", 30), ("cifar10", 10), ("cifar10", 30))
TIMED = ((50, 100, 128), (1, 10, 30))  # images of a batch; seeds
ITERATIONS = 5


def order() -> list[str]:
    """Return the arms of tables 1, 2 and 4 in the order of worth: what decides most comes first."""
    cells = [*FIRST, *((name, count) for name in ("stl10", "cifar10") for count in SIZES[name])]
    tabled = [arm_name(*cell, method) for cell in dict.fromkeys(cells) for method in METHODS]
    place = len(FIRST) * len(METHODS)
    return [*tabled[:place], *UNBALANCED, *tabled[place:]]


def oracle() -> int:
    """Compare an iteration in float64 on this device with the official code's; return the exit status."""
    command = [sys.executable, "tests/l2t_oracle.py", "tests/golden", "--engine", "jax"]
    paths = {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])}
    return subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **paths}, check=False).returncode


def speed(arm: Settings, batches: Sequence[int], seeds: Sequence[int]) -> list[dict]:
    """Return seconds an iteration of an arm on random images, by batch and number of seeds, compiling left out.

    Returns:
        Rows with batch, seeds, seconds (of an iteration of all seeds), iterations (a second, all seeds together),
        compiling (seconds of the first call); an error in place of the last three where the device cannot do it.
    """
    from tlkeras.l2t import jax as engine  # late: it needs JAX
    from tlkeras.reports.l2t.run import training

    rows = []
    for batch, count in itertools.product(batches, seeds):
        row: dict = {"batch": batch, "seeds": count}
        images = np.random.default_rng(0).integers(0, 256, (count, batch, 32, 32, 3)).astype(np.uint8)
        labels = np.arange(count * batch).reshape(count, batch) % 10
        ends = [time.perf_counter()]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", engine.SeedsHalvedWarning)
                engine.study(
                    [training(arm, 0)] * count,
                    images,
                    labels,
                    seeds=range(count),
                    epochs=3 * ITERATIONS,
                    batch_size=batch,
                    validation_every=ITERATIONS,
                    at_once=count,
                    after=functools.partial(_note, ends),
                )
        except (engine.SeedsHalvedWarning, engine.DeviceError) as error:
            rows.append(row | {"error": str(error)[:200]})
            continue
        seconds = (ends[-1] - ends[1]) / (len(ends) - 2) / ITERATIONS
        compiling = ends[1] - ends[0] - seconds * ITERATIONS
        rows.append(row | {"seconds": seconds, "iterations": count / seconds, "compiling": compiling})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def _note(ends: list[float]) -> None:
    ends.append(time.perf_counter())


def study(arms: Sequence[str], seeds: int | None, profile_name: str, minutes: float) -> list[str]:
    """Run arms one after the other, each stored as it ends; begin none that would end after so many minutes.

    Returns:
        The arms that were not begun.
    """
    started, longest = time.perf_counter(), 0.0
    for number, arm in enumerate(arms):
        begun = time.perf_counter()
        if begun + longest - started > 60 * minutes:
            return list(arms[number:])
        found = runs.study_together(REPORT, arm, seeds=seeds, profile_name=profile_name)
        scores = list(found.scores(arm, "test_accuracy").values()) if found else []
        mean = f"{np.mean(scores):.4f}" if scores else "none"
        seconds = time.perf_counter() - begun
        longest = max(longest, seconds)
        print(f"{arm}: {len(scores)} runs, accuracy {mean}, {seconds:.1f} s", flush=True)
    return []


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 1 where the device does not give the official code's numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arm", action="append", help="only this arm (may be repeated); default: in order of worth")
    parser.add_argument("--seeds", type=int, help="number of seeds; default: the profile's, which is 30 for paper")
    parser.add_argument("--profile", default="paper", help="smoke, quick or paper (default)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no arm that would end later")
    parser.add_argument("--no-oracle", action="store_true", help="do not check the device")
    parser.add_argument("--speed", type=Path, help="time the device first, and write the rows to this file (JSON)")
    options = parser.parse_args(arguments)
    if not options.no_oracle and oracle():
        return 1
    name, about = profile(options.profile), environment.describe()
    print(json.dumps(about), flush=True)
    if options.speed:
        arm = REPORT.settings(arm_name("stl10", 10, "www"), name)
        rows = speed(arm, *(TIMED if name == "paper" else ((4,), (1, 2))))
        options.speed.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    REPORT.check_arms(options.arm or [])
    left = study(options.arm or order(), options.seeds, name, options.minutes)
    print(f"not begun: {', '.join(left) or 'none'}, out of {len(ARMS)} arms of the report", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
