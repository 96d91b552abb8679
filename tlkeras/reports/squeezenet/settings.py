"""Report 000 (Shams): SqueezeNet with a new conv10 on CIFAR-10, more and more of it trained."""

import dataclasses

from tlkeras.experiments.report import ByProfile, Deferred, Report

FIRE8_UP = 7  # the last layers with weights: three each of fire8 and fire9, and conv10
TRAINABLE = {"head": 5_130, FIRE8_UP: 391_306, "all": 727_626}  # page 1 and 2 of the report


@dataclasses.dataclass(frozen=True)
class Settings:
    """One arm of the study. What the report does not state says so."""

    train: str | int = "head"  # figures 1, 3 and 5: the head, fire8 and up, all
    epochs: int = 20  # "enough to stabilise the accuracy"
    learning_rate: float = 1e-3  # not stated; Adam's default in Keras
    preprocessing: str = "unit"  # not stated; 0..1 gives the report's numbers
    weights: str | None = "imagenet"
    dropout: float = 0.5  # not stated; the original's, before conv10
    head_relu: bool = False  # not stated; the original has one, which costs the head alone some points
    batch_size: int = 32  # page 1
    train_count: int = 40_000  # page 1; validation and test 10,000 each
    validation_count: int = 10_000
    test_count: int = 10_000
    resolution: int = 32  # images are enlarged inside the model
    pool_first: bool = False  # ours: average before conv10, the same logits
    head_epochs: int = 0  # ours: the head alone, before anything else moves
    schedule: str = "constant"  # "cosine" is ours
    augment: bool = False  # ours: mirror and crop


FAITHFUL = {
    "head": Settings("head", 20),
    "fire8_up": Settings(FIRE8_UP, 15),
    "all": Settings("all", 12),
}
CAFFE = {arm: dataclasses.replace(settings, preprocessing="caffe") for arm, settings in FAITHFUL.items()}
RATES = {"1e-2": 1e-2, "3e-3": 3e-3, "1e-3": 1e-3, "3e-4": 3e-4}
ONE_CHANGE = {
    **{f"{arm}_no_dropout": dataclasses.replace(settings, dropout=0.0) for arm, settings in FAITHFUL.items()},
    "all_3_epochs": dataclasses.replace(FAITHFUL["all"], epochs=3),
    "all_4_epochs": dataclasses.replace(FAITHFUL["all"], epochs=4),
    "scratch_1e-3": dataclasses.replace(FAITHFUL["all"], weights=None),
    "scratch_3e-4": dataclasses.replace(FAITHFUL["all"], weights=None, learning_rate=3e-4),
    "head_relu": dataclasses.replace(FAITHFUL["head"], head_relu=True),
    "head_caffe_1e-3": CAFFE["head"],
    **{
        f"{arm}_caffe_{name}": dataclasses.replace(CAFFE[arm], learning_rate=rate)
        for arm in ("fire8_up", "all")
        for name, rate in RATES.items()
    },
}
RATE_ARMS = (  # what collapses at which rate
    *(name for arm in ("fire8_up", "all") for name in (arm, *(f"{arm}_caffe_{rate}" for rate in RATES))),
    "scratch_1e-3",
    "scratch_3e-4",
)
LINEAR = Settings(
    "head",
    epochs=40,
    learning_rate=3e-3,
    preprocessing="caffe",
    batch_size=128,
    pool_first=True,
    schedule="cosine",
)
WHOLE = Settings(
    "all",
    epochs=10,
    learning_rate=3e-4,
    preprocessing="caffe",
    batch_size=64,
    pool_first=True,
    head_epochs=3,
    schedule="cosine",
    augment=True,
)
IMPROVED = {
    **{f"head_{side}": dataclasses.replace(LINEAR, resolution=side) for side in (96, 160, 224)},
    **{f"all_{side}": dataclasses.replace(WHOLE, resolution=side) for side in (32, 96, 128)},
}
ARMS: dict[str, Settings] = {**FAITHFUL, **ONE_CHANGE, **IMPROVED}

LABELS = {"head": "conv10 alone", "fire8_up": "fire8 and up", "all": "all layers", "scratch": "from scratch"}
LABELS |= {  # of arms, in words
    f"{arm}_{key}": f"{LABELS[arm]}, {text}"
    for arm in ("head", "fire8_up", "all", "scratch")
    for key, text in {
        "no_dropout": "no dropout",
        "relu": "with a ReLU",
        **{f"{count}_epochs": f"{count} epochs" for count in (3, 4)},
        **{f"caffe_{rate}": f"caffe, rate {rate}" for rate in RATES},
        **{rate: f"rate {rate}" for rate in RATES},
        **{str(side): f"{side} pixels" for side in (32, 96, 128, 160, 224)},
    }.items()
    if f"{arm}_{key}" in ARMS
}

REFERENCE: dict[tuple[str, str], dict] = {
    ("head", "test_accuracy"): {"value": 0.384, "source": "page 1, model 1"},
    ("head", "test_loss"): {"value": 1.733, "source": "page 1, model 1"},
    ("fire8_up", "test_accuracy"): {"value": 0.494, "source": "page 2, model 2"},
    ("fire8_up", "test_loss"): {"value": 1.485, "source": "page 2, model 2"},
    ("all", "test_accuracy"): {"value": 0.677, "source": "page 2, model 3"},
    ("all", "test_loss"): {"value": 1.085, "source": "page 2, model 3"},
}
REDUCED: dict[str, dict] = {
    "smoke": {"train_count": 64, "validation_count": 32, "test_count": 64, "epochs": 1, "resolution": 32},
    "quick": {"train_count": 4_000, "validation_count": 1_000, "test_count": 2_000, "epochs": 4, "resolution": 32},
    "paper": {},
}
RUN = "tlkeras.reports.squeezenet.run"
REPORT = Report(
    name="squeezenet",
    title="SqueezeNet on CIFAR-10, more and more of it trained (report 000)",
    arms=ARMS,
    reference=REFERENCE,
    highlights=(*FAITHFUL, "all_4_epochs", *IMPROVED),
    headline=("test_accuracy", "test_loss"),
    seeds=ByProfile({"smoke": 1, "quick": 2, "paper": 3}),
    reduced=ByProfile(REDUCED),
    inputs=Deferred(RUN, "inputs"),
    run=Deferred(RUN, "run"),
)
