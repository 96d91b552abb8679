"""The plan of a training, and one epoch of it: a pure function of the plan, the epoch and the learner's variables."""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tlkeras import data
from tlkeras.l2t.learner import Augment, Learner, NonFiniteLossError


@dataclass(frozen=True, eq=False)
class Plan:
    """Images, labels, and how they are gone through; see `LearningToTransfer.fit`."""

    images: np.ndarray
    labels: np.ndarray
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    augment: Augment | None

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, from 0 up: half a cosine (report 003, section 5.4)."""
        return self.learning_rate * (1 + math.cos(math.pi * epoch / self.epochs)) / 2

    def description(self) -> dict[str, Any]:
        """Return what a resumed training must have in common with the stored one."""
        numbers = {name: getattr(self, name) for name in ("epochs", "batch_size", "learning_rate", "seed")}
        return {"data": data.fingerprint(self.images, self.labels), "augmented": self.augment is not None, **numbers}


def run_epoch(learner: Learner, plan: Plan, epoch: int, callbacks: keras.callbacks.CallbackList) -> dict:
    """Go once through the images, in an order of this epoch's own; return the logs, means over the images.

    Raises:
        NonFiniteLossError: of `Learner.train`, with the epoch and the batch.
    """
    generator = np.random.default_rng([plan.seed, epoch])  # of the epoch's own, so that a resumed one is the same
    order = generator.permutation(len(plan.images))
    batches = [order[start : start + plan.batch_size] for start in range(0, len(order), plan.batch_size)]
    seeds = generator.integers(0, 2**31 - 1, (len(batches), 2))
    rate, losses = plan.rate(epoch), []
    for number, (batch, seed) in enumerate(zip(batches, seeds, strict=True)):
        callbacks.on_train_batch_begin(number)
        try:
            losses.append(learner.train(plan.images[batch], plan.labels[batch], rate, plan.augment, seed))
        except NonFiniteLossError as error:
            raise NonFiniteLossError(f"{error} (epoch {epoch}, batch {number}, learning rate {rate:.3g})") from None
        callbacks.on_train_batch_end(number)
    return _logs(losses, [len(batch) for batch in batches], rate)


def _logs(losses: list[dict[str, np.ndarray]], sizes: list[int], rate: float) -> dict:
    means = {name: np.average([found[name] for found in losses], axis=0, weights=sizes) for name in losses[0]}
    pairs = means.pop("matching")
    logs = {name: float(value.sum()) for name, value in means.items()}
    logs["matching"] = float(pairs.sum())
    logs["loss"] = logs["cross_entropy"] + logs["matching"]
    return logs | {"learning_rate": rate, "pairs": [float(value) for value in pairs]}
