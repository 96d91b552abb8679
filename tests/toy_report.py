"""A report that trains nothing, for the tests of what runs, stores and audits."""

import contextlib
import dataclasses
import os
import signal
import time
from pathlib import Path

from tlkeras.experiments import environment
from tlkeras.experiments.report import ByProfile, Report, Result

MADE = {"name": "toy", "source": "made", "stand_in": False, "fingerprint": "0123456789abcdef", "licence": "CC0"}


@dataclasses.dataclass(frozen=True)
class Settings:
    epochs: int = 3
    sizes: tuple[int, ...] = (1, 2)


class Toy:
    """A report that counts its runs; no Keras, no TensorFlow."""

    def __init__(self):
        self.arms = {"short": Settings(), "long": Settings(epochs=30)}
        self.data, self.weights = MADE, []
        self.calls, self.fails = [], ()
        self.seeds = ByProfile(dict.fromkeys(("smoke", "quick", "paper"), 2))

    def run(self, settings, seed):
        self.calls.append((settings.epochs, seed))
        if seed in self.fails:
            raise RuntimeError("out of memory")
        return Result({"accuracy": seed / 3}, {"loss": [1.0, None]}, {"draw": "abc"})

    def inputs(self, settings):
        return {"data": [self.data], "weights": self.weights}

    @property
    def report(self):
        return Report(
            name="toy",
            title="A toy",
            arms=self.arms,
            reference={},
            highlights=(),
            headline=("accuracy",),
            seeds=self.seeds,
            reduced=ByProfile(dict.fromkeys(("smoke", "quick", "paper"), {})),
            inputs=self.inputs,
            run=self.run,
        )


# What another process computes must have a name in a module.


def run_of(job):
    return {"arm": job[0], "seed": job[1], "process": os.getpid(), "threads": os.environ["TF_NUM_INTRAOP_THREADS"]}


def dies_once(folder: Path, job):
    """Kill the own process at the first try of a job that is so called; at every try of one that is called always."""
    tried = folder / f"{job[0]}-{job[1]}"
    if job[0] == "always" or (job[0] == "once" and not tried.exists()):
        tried.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if job[0] == "wrong":
        raise ValueError("no such thing")
    return run_of(job)


def waits(folder: Path, job):
    """Say which process it is, and never end."""
    (folder / str(os.getpid())).touch()
    time.sleep(60)


class Elsewhere(Toy):
    """A toy that another process runs without waiting for TensorFlow, and that needs a moment."""

    def __setstate__(self, state):
        self.__dict__.update(state)
        environment.bounded_memory, environment._device = contextlib.nullcontext, lambda: "none"

    def run(self, settings, seed):
        time.sleep(0.02)
        return Result({"accuracy": seed / 3 + settings.epochs}, details={"profile": os.environ["TLKERAS_PROFILE"]})
