"""Report 001, page 11: too high a rate loses what was learnt before. TomiNet from letters to digits, rate by rate."""

from __future__ import annotations

import dataclasses

from tlkeras import data
from tlkeras.experiments.runs import Result
from tlkeras.reports.strategies.targets import target

RATES = ("1e-5", "3e-5", "1e-4", "3e-4", "1e-3", "3e-3", "1e-2", "3e-2", "1e-1")
SOURCE, TARGET, WEIGHTS = "letters", "mnist", "tominet_letters"


@dataclasses.dataclass(frozen=True)
class Settings:
    """One rate. The slides state none; the network and the head's phase are report 002's."""

    learning_rate: float  # of Adam, all layers
    train_per_class: int = 100
    head_epochs: int = 10
    head_rate: float = 1e-3
    epochs: int = 10
    batch_size: int = 32
    test_count: int = 10_000


ARMS = {f"rate_{rate}": Settings(float(rate)) for rate in RATES}
REDUCED = {
    "smoke": {"train_per_class": 4, "head_epochs": 1, "epochs": 1, "test_count": 100},
    "quick": {"train_per_class": 20, "head_epochs": 5, "epochs": 5, "test_count": 1_000},
    "paper": {},
}


def reduced(arm: Settings, profile: str) -> dict:
    """Return the settings that a profile changes."""
    return REDUCED[profile]


def inputs(arm: Settings) -> dict[str, list[dict]]:
    """Return the provenance: digits, letters, and the weights that were trained on letters."""
    from tlkeras.models import weights

    facts = weights.record(WEIGHTS)
    used = {"name": WEIGHTS, "fingerprint": facts["sha256"][:16], "data": facts["data"]}
    return {"data": [target(name).provenance() for name in (TARGET, SOURCE)], "weights": [used]}


def run(arm: Settings, seed: int) -> Result:
    """Fine-tune all layers on digits at one rate, then ask the old head for letters.

    Returns:
        Accuracy (0..1) and loss (nats) on test digits; accuracy on test letters with the old head before, after, and
        after the batch-norm statistics were recalibrated on letters (what the weights alone still know); and
        `moved_LAYER`, how far each layer's trained weights moved, relative to where they were.
    """
    import keras

    from tlkeras.models import tominet
    from tlkeras.models.tominet import HEAD
    from tlkeras.transfer import finetune, freezing, recalibrate, strategies
    from tlkeras.transfer.evaluation import evaluate

    digits, letters = target(TARGET), target(SOURCE)
    count = arm.train_per_class * digits.num_classes
    drawn = data.splits.few_shot(digits.y_train, count, seed=seed, balanced=True, num_classes=digits.num_classes)
    train = (digits.x_train[drawn], digits.y_train[drawn])
    keras.utils.set_random_seed(seed)
    source, model = tominet(26, weights=SOURCE), tominet(digits.num_classes, weights=SOURCE)
    phases = strategies.phases(
        model, "train_all", epochs=arm.epochs, learning_rate=arm.learning_rate, head_epochs=arm.head_epochs,
        head_rate=arm.head_rate,
    )  # fmt: skip
    before = freezing.snapshot(model)
    history = finetune(model, train, None, phases, seed=seed, batch_size=arm.batch_size)
    test_letters = (letters.x_test[: arm.test_count], letters.y_test[: arm.test_count])
    both = freezing.with_old_head(model, source, HEAD)
    metrics = dict(zip(("test_loss", "test_accuracy"), _on_digits(model, arm), strict=True))
    metrics["source_accuracy_before"] = evaluate(source, *test_letters)[1]
    metrics["source_accuracy"] = evaluate(both, *test_letters)[1]
    recalibrate(both, letters.x_train[:5_000])
    metrics["source_accuracy_recalibrated"] = evaluate(both, *test_letters)[1]
    moves = freezing.relative_moves(before, model)
    metrics |= {f"moved_{name}": move for name, move in moves.items() if name != HEAD}  # the head is new
    return Result(metrics, history.curves(), {"draw": data.fingerprint(*train)})


def _on_digits(model, arm: Settings) -> tuple[float, float]:
    from tlkeras.transfer.evaluation import evaluate

    digits = target(TARGET)
    return evaluate(model, digits.x_test[: arm.test_count], digits.y_test[: arm.test_count])
