"""A report that trains nothing, for the tests of what runs, stores and audits."""

import dataclasses

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
