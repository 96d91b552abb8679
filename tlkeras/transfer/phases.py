"""What one stretch of training is: layers, epochs, rates."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import keras

from tlkeras.transfer.freezing import Train
from tlkeras.transfer.rates import LayerwiseAdam

SCHEDULES = ("constant", "cosine", "step")
DROP = 0.1  # what a step multiplies the rate by (report 004)


@dataclass(frozen=True)
class Phase:
    """One stretch of training with the same layers trained.

    Args:
        name: shown in the curves.
        train: which layers train, see `freezing.trained_layers`.
        epochs: passes over the training set.
        learning_rate: of Adam, at the start.
        schedule: "constant", "cosine" (falls to zero over the phase), or "step" (a tenth every `drop_every` epochs).
        expect: how many trainable parameters there must be, or None.
        augment: whether the augmentation given to `finetune` applies; a phase without one can use cached features.
        drop_every: epochs between two steps of the rate.
        multipliers: of the rate, by layer, see `rates.LayerwiseAdam`; None is 1 for each.
    """

    name: str
    train: Train
    epochs: int
    learning_rate: float
    schedule: str = "constant"
    expect: int | None = None
    augment: bool = True
    drop_every: int = 7
    multipliers: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if min(self.epochs, self.drop_every) < 1 or self.learning_rate <= 0 or self.schedule not in SCHEDULES:
            raise ValueError(
                f"Expected epochs and drop_every >= 1, learning_rate > 0, and a schedule out of {SCHEDULES}. "
                f"Received: {asdict(self)}"
            )


def two_phases(head_epochs: int = 35, all_epochs: int = 15, learning_rate: float = 1e-3) -> tuple[Phase, Phase]:
    """The report's schedule: the new head alone, then every layer at a ten times lower rate (report 002, EJ3)."""
    return Phase("head", "head", head_epochs, learning_rate), Phase("all", "all", all_epochs, learning_rate / 10)


def optimizer(phase: Phase, steps: int) -> keras.optimizers.Optimizer:
    """Return a fresh Adam for a phase of `steps` batches an epoch."""
    if phase.multipliers:
        return LayerwiseAdam(_rate(phase, steps), phase.multipliers)
    return keras.optimizers.Adam(_rate(phase, steps))


def _rate(phase: Phase, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    schedules = keras.optimizers.schedules
    if phase.schedule == "cosine":
        return schedules.CosineDecay(phase.learning_rate, phase.epochs * steps)
    if phase.schedule == "step":
        return schedules.ExponentialDecay(phase.learning_rate, phase.drop_every * steps, DROP, staircase=True)
    return phase.learning_rate
