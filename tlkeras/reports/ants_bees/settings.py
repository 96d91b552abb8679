"""Report 004: ants or bees, AlexNet and VGG16, four ways to transfer."""

import dataclasses

from tlkeras.experiments.report import ByProfile, Deferred, Report

NETWORKS = ("alexnet", "vgg16")
LAST = 3  # the last layers with weights: AlexNet's "5 of 12 layers" hold two convolutions, and the new layer
TRAINABLE = {  # at 224 pixels; 9,216 and 25,088 features into the new layer, as the report says
    ("alexnet", "head"): 18_434,
    ("alexnet", 2): 608_514,
    ("alexnet", LAST): 1_493_506,
    ("alexnet", "all"): 2_488_130,
    ("vgg16", "head"): 50_178,
    ("vgg16", LAST): 4_769_794,
    ("vgg16", "all"): 14_764_866,
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """One arm of the study. What the report does not state says so."""

    network: str = "alexnet"  # or "vgg16"; for a probe also "both"
    train: str | int = "all"  # the four ways: all, head, the last layers, all at graded rates
    first_rate: float = 1.0  # multiplier at the first layer, rising to 1 at the last; not stated
    epochs: int = 25
    learning_rate: float = 1e-3  # not stated; Adam's default in PyTorch, and the rate of the tutorial it names
    drop_every: int = 7  # epochs; then the rate is multiplied by 0.1
    batch_size: int = 4
    side: int = 224  # pixels of the crop; the report says 244, its source and its networks 224
    resize: int = 256  # pixels of the square that is cropped; not stated, as in the tutorial
    mirrored: bool = True  # half of the training images are mirrored and added
    keep: str = "best"  # by validation accuracy, as in the tutorial; "last" is ours
    views: int = 0  # ours: so many fixed crops and mirror images, cached, instead of random crops
    probe: bool | str = False  # ours: logistic regression on the cached features, or on their "pooled" channels
    judged: int = 1  # ours: views of a validation image over which a probe averages
    width: float = 1.0  # of the layers; narrow networks are for tests, and have random weights
    train_count: int = 244
    validation_count: int = 153


WAYS = {
    "full": Settings(),
    "frozen": Settings(train="head"),
    "last": Settings(train=LAST),
    "graded": Settings(first_rate=0.01),
}
FAITHFUL = {
    f"{network}_{way}": dataclasses.replace(settings, network=network)
    for network in NETWORKS
    for way, settings in WAYS.items()
}
SHORT = {  # what two processor cores do in an hour or two: three epochs, at 1e-3, 1e-4 and 1e-5
    f"vgg16_{way}_short": dataclasses.replace(FAITHFUL[f"vgg16_{way}"], epochs=3, drop_every=1) for way in WAYS
}
ONE_CHANGE = {
    "alexnet_frozen_244": dataclasses.replace(FAITHFUL["alexnet_frozen"], side=244),
    "alexnet_last_1": dataclasses.replace(FAITHFUL["alexnet_last"], train=2),
    "alexnet_last_1e-4": dataclasses.replace(FAITHFUL["alexnet_last"], learning_rate=1e-4),
    "alexnet_full_1e-4": dataclasses.replace(FAITHFUL["alexnet_full"], learning_rate=1e-4),
    "alexnet_full_1e-5": dataclasses.replace(FAITHFUL["alexnet_full"], learning_rate=1e-5),
    "alexnet_graded_1e-3": dataclasses.replace(FAITHFUL["alexnet_graded"], first_rate=1e-3),
}
FIXED = Settings(train="head", views=10, mirrored=False, keep="last", epochs=5, drop_every=2)
PROBE = dataclasses.replace(FIXED, probe=True)
POOLED = dataclasses.replace(PROBE, network="vgg16", side=320, resize=320, views=2, judged=2, probe="pooled")
IMPROVED = {
    **{f"{name}_views": dataclasses.replace(FIXED, network=name) for name in NETWORKS},
    **{f"{name}_probe": dataclasses.replace(PROBE, network=name) for name in NETWORKS},
    **{f"{name}_probe_10": dataclasses.replace(PROBE, network=name, judged=10) for name in (*NETWORKS, "both")},
    "vgg16_probe_320": POOLED,  # its size and pooling were chosen out of twelve after looking at the validation images
}
ARMS: dict[str, Settings] = {**FAITHFUL, **SHORT, **ONE_CHANGE, **IMPROVED}

WORDS = {  # of arms and of metrics
    "full": "everything",
    "frozen": "frozen features",
    "last": "last convolutions",
    "graded": "smaller first rates",
    "views": "ten fixed views",
    "probe": "probe",
    "short": "3 epochs",
    "10": "judged on ten views",
    **{"1": "one convolution", "244": "244 pixels", "320": "320 pixels"},
    **{rate: f"rate {rate}" for rate in ("1e-3", "1e-4", "1e-5")},
    "last_roc_auc": "ROC AUC after the last epoch",
    "gap_loss": "validation loss less training loss, last epoch",
    "collapsed": "share of runs that collapsed",
}
NETWORK_NAMES = {"alexnet": "AlexNet", "vgg16": "VGG16", "both": "both networks"}


def _label(arm: str) -> str:
    """Return the name of an arm in words, such as "AlexNet, frozen features"."""
    network, *parts = arm.split("_")
    return ", ".join([NETWORK_NAMES[network], *(WORDS[part] for part in parts)])


LABELS = {arm: _label(arm) for arm in ARMS}

_ALEXNET, _VGG16 = "AlexNet, conclusion 3: about 2 minutes each", "VGG16, conclusion 4; on a GPU of Colab"
SECONDS = {"full": 600, "frozen": 336, "last": 360, "graded": 617}
REFERENCE: dict[tuple[str, str], dict] = {
    **{(f"alexnet_{way}", "training_seconds"): {"value": 120, "source": _ALEXNET} for way in WAYS},
    **{(f"vgg16_{way}", "training_seconds"): {"value": SECONDS[way], "source": _VGG16} for way in WAYS},
}
REDUCED: dict[str, dict] = {
    "smoke": {"side": 64, "resize": 72, "width": 1 / 16, "train_count": 16, "validation_count": 16, "epochs": 2},
    "quick": {"side": 96, "resize": 110, "train_count": 48, "validation_count": 60, "epochs": 2, "drop_every": 1},
    "paper": {},
}


def networks(arm: Settings) -> tuple[str, ...]:
    """Return the networks of an arm: one, or both under a probe."""
    return NETWORKS if arm.network == "both" else (arm.network,)


RUN = "tlkeras.reports.ants_bees.run"
REPORT = Report(
    name="ants_bees",
    title="Ants or bees: AlexNet and VGG16, four ways to transfer (report 004)",
    arms=ARMS,
    reference=REFERENCE,
    highlights=(*FAITHFUL, *SHORT, *IMPROVED),
    headline=("validation_roc_auc", "validation_accuracy"),
    seeds=ByProfile({"smoke": 1, "quick": 1, "paper": 5}),
    reduced=ByProfile(REDUCED),
    inputs=Deferred(RUN, "inputs"),
    run=Deferred(RUN, "run"),
)
