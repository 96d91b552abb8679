"""Report 001: training on cached features against `model.fit` with a frozen base, and the time of the small half."""

import time

import keras

from benchmarks import timing
from tlkeras.experiments import runs
from tlkeras.reports.strategies.run import build_quadrant
from tlkeras.reports.strategies.settings import QUADRANTS, REPORT, SMALL, Quadrant, arm_name
from tlkeras.reports.strategies.targets import cut
from tlkeras.transfer import FeatureCache, finetune, freeze, strategies
from tlkeras.transfer.finetune import Pair

ARM = arm_name("cifar10", "small", "freeze_base")
PROFILE = "paper"


def rows() -> list[dict]:
    """Return the rows of this report."""
    return [*_frozen(), small_half()]


def _frozen() -> list[dict]:
    """Time the classifier's whole training, validated every epoch, and an epoch of it after the first."""
    arm = REPORT.settings(ARM, PROFILE)
    parts = cut(arm.dataset, arm.per_class, arm.test_count, seed=0)
    clocks = {"ours": _Clock(), "peer": _Clock()}
    row = timing.compare(
        "frozen base, whole training vs fit",
        lambda: _cached(arm, parts, clocks["ours"]),
        lambda: _plain(arm, parts, clocks["peer"]),
        "",
        repeats=1,
    )
    accuracy = " and ".join(f"{clock.accuracy:.3f}" for clock in clocks.values())
    equal = (
        f"SqueezeNet at {arm.resolution} px, only conv10 trained, {len(parts['train'][0]):,} CIFAR-10 images, batch "
        f"{arm.batch_size}, Adam {arm.head_rate:g}, {arm.head_epochs + arm.epochs} epochs, validation on "
        f"{len(parts['test'][0]):,} images after each; peer: model.fit; last validation accuracy {accuracy}; "
    )
    mine, theirs = (clock.median() for clock in clocks.values())
    epoch = {"ours": round(mine, 4), "peer": round(theirs, 3), "ratio": round(theirs / mine, 1), "unit": "s"}
    return [
        {**row, "equal": equal + "building, tracing and computing the features included"},
        {"name": "frozen base, an epoch vs fit", **epoch, "equal": equal + "median epoch after the first"},
    ]


def small_half() -> dict:
    """Time one seed of every arm with small data, and say what all seeds take."""
    arms = [arm for arm, settings in QUADRANTS.items() if settings.per_class == SMALL]
    seeds = REPORT.seed_count(arms[0], PROFILE)
    started = time.perf_counter()
    for arm in arms:
        runs.isolated_run(REPORT, REPORT.settings(arm, PROFILE), seed=0)
    minutes = (time.perf_counter() - started) * seeds / 60
    note = f"{len(arms)} arms with at most {SMALL} images of a class, one seed measured; no peer does this"
    row = {"name": f"small half of the quadrants, {seeds} x one seed", "ours": round(minutes, 1)}
    return row | {"peer": None, "ratio": None, "unit": "min", "equal": note}


def _model(arm: Quadrant, train: Pair) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_quadrant(arm, train[0].shape[1:])


def _cached(arm: Quadrant, parts: dict[str, Pair], clock: "_Clock") -> None:
    model = _model(arm, parts["train"])
    epochs = arm.head_epochs + arm.epochs
    phases = strategies.phases(model, "freeze_base", epochs=epochs, head_rate=arm.head_rate)
    finetune(
        model,
        parts["train"],
        parts["test"],
        phases,
        seed=0,
        batch_size=arm.batch_size,
        cache=FeatureCache(),
        callbacks=lambda: [clock],
    )


def _plain(arm: Quadrant, parts: dict[str, Pair], clock: "_Clock") -> None:
    model = _model(arm, parts["train"])
    freeze(model, strategies.layers_to_train(model, "freeze_base"), learning_rate=arm.head_rate)
    model.fit(
        *parts["train"],
        batch_size=arm.batch_size,
        epochs=arm.head_epochs + arm.epochs,
        validation_data=parts["test"],
        verbose=0,
        callbacks=[clock],
    )


class _Clock(keras.callbacks.Callback):
    """Time the epochs, validation included; the first one traces."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Note the time and the accuracy."""
        self.ends.append(time.perf_counter())
        self.accuracy = (logs or {})["val_accuracy"]

    def median(self) -> float:
        """Return the median seconds of an epoch after the first."""
        seconds = sorted(after - before for before, after in zip(self.ends, self.ends[1:], strict=False))
        return seconds[len(seconds) // 2]
