"""Train SqueezeNet's head alone, on cached features or by `model.fit`, in a process of its own.

`python -m benchmarks.squeezenet_head NAME COUNT EPOCHS SIDE`: NAME is a key of `SIDES`; prints JSON.
"""

import json
import statistics
import sys
import time

from tlkeras import startup

# What suits each side: features are small, so an operation of the head is faster on one core; images are not.
THREADS_PER_OPERATION = {"ours": 1, "peer": None}
BATCH, RATE = 32, 1e-3


def measure(name: str, count: int, epochs: int, side: int) -> dict[str, float]:
    """Train on `count` images enlarged to `side` pixels, for `epochs` after the first, which traces.

    Returns:
        "epoch" (median seconds), "before" (seconds until the first epoch began), "accuracy" on the test images.
    """
    import keras

    from tlkeras.models import squeezenet
    from tlkeras.reports.squeezenet import run as report
    from tlkeras.reports.squeezenet.settings import Settings
    from tlkeras.transfer.evaluation import evaluate

    cut = report.parts(Settings(train_count=count, validation_count=1000, test_count=1000))
    keras.utils.set_random_seed(0)
    model = squeezenet(
        report.images().num_classes, weights=report.pretrained()["name"], resolution=side, pool_first=True
    )
    times: list[float] = []
    clock = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: times.append(time.perf_counter()),
        on_epoch_end=lambda epoch, logs: times.append(time.perf_counter()),
    )
    started = time.perf_counter()
    SIDES[name](model, cut["train"], 1 + epochs, clock)
    seconds = [end - begin for begin, end in zip(times[2::2], times[3::2], strict=True)]
    accuracy = evaluate(model, *cut["test"])[1]
    return {"epoch": statistics.median(seconds), "before": times[0] - started, "accuracy": accuracy}


def _cached(model, train, epochs: int, clock) -> None:
    from tlkeras.transfer import FeatureCache, Phase, finetune

    phase = Phase("head", "head", epochs, RATE)
    finetune(model, train, None, [phase], seed=0, batch_size=BATCH, cache=FeatureCache(), callbacks=lambda: [clock])


def _plain(model, train, epochs: int, clock) -> None:
    from tlkeras.transfer import freeze

    freeze(model, "head", learning_rate=RATE)
    model.fit(*train, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[clock])


SIDES = {"ours": _cached, "peer": _plain}

if __name__ == "__main__":
    startup.quiet_start(THREADS_PER_OPERATION[sys.argv[1]])
    print(json.dumps(measure(sys.argv[1], *map(int, sys.argv[2:]))))
