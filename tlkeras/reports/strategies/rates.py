"""Page 11 of report 001: TomiNet from letters to digits, rate by rate, and what it still knows of letters."""

import keras

from tlkeras import data
from tlkeras.experiments.report import Result
from tlkeras.models import records, tominet
from tlkeras.reports.strategies.settings import Rate
from tlkeras.reports.strategies.targets import target
from tlkeras.transfer import finetune, freezing, recalibrate, strategies
from tlkeras.transfer.evaluation import evaluate

SOURCE, TARGET = "letters", "mnist"
HEAD = records.NETWORKS["tominet"].head


def run(arm: Rate, seed: int) -> Result:
    """Fine-tune all layers on digits at one rate, then ask the old head for letters.

    Returns:
        Accuracy (0..1) and loss (nats) on test digits; accuracy on test letters with the old head before, after, and
        after the batch-norm statistics were recalibrated on letters (what the weights alone still know); and
        `moved_LAYER`, how far each layer's trained weights moved, relative to where they were.
    """

    digits, letters = target(TARGET), target(SOURCE)
    count = arm.train_per_class * digits.num_classes
    drawn = data.splits.few_shot(digits.y_train, count, seed=seed, balanced=True, num_classes=digits.num_classes)
    train = (digits.x_train[drawn], digits.y_train[drawn])
    keras.utils.set_random_seed(seed)
    source, model = tominet(26, weights=SOURCE), tominet(digits.num_classes, weights=SOURCE)
    phases = strategies.phases(
        model,
        "train_all",
        epochs=arm.epochs,
        learning_rate=arm.learning_rate,
        head_epochs=arm.head_epochs,
        head_rate=arm.head_rate,
    )
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


def _on_digits(model, arm: Rate) -> tuple[float, float]:

    digits = target(TARGET)
    return evaluate(model, digits.x_test[: arm.test_count], digits.y_test[: arm.test_count])
