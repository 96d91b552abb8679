"""Report 001 (slides "Transfer Learning"): strategies, quadrants, rates and classifiers, put to the test.

The slides describe no experiment: every setting is ours, and the arms are of three kinds.
"""

import dataclasses

from tlkeras.experiments.report import ByProfile, Deferred, Report

SIMILAR = {"cifar10": True, "stl10": True, "fashion_mnist": False, "letters": False}  # to ImageNet; our judgement
STRATEGIES = ("train_all", "freeze_some", "freeze_base")  # as in `transfer.strategies`
# Of later papers, see `transfer.strategies`. "lp_ft" is "train_all" here, which trains the classifier first.
LATER = ("direct", "l2_sp", "layerwise", "mixup", *(f"surgical_{block}" for block in range(1, 5)))
SMALL, LARGE = 50, 2_000  # images of a class; the threshold of the slides is 1,000 (page 13)
FEW, MANY = 50, 1_000  # images of a class, where frozen features are computed once
LARGE_ENOUGH = ("cifar10", "fashion_mnist")  # the others have fewer images of a class
RATES = ("1e-5", "3e-5", "1e-4", "3e-4", "1e-3", "3e-3", "1e-2", "3e-2", "1e-1")
TASKS = ("classifiers", "blocks")
BLOCKS = ("conv1", *(f"fire{number}_concat" for number in range(2, 10)))


@dataclasses.dataclass(frozen=True)
class Quadrant:
    """Pages 13 to 18: a target, a size and a strategy, also a later one. The slides state none of the numbers."""

    dataset: str
    per_class: int
    strategy: str
    head_epochs: int  # the new classifier alone, before anything else moves
    epochs: int
    batch_size: int
    learning_rate: float = 1e-4  # Adam at 1e-3 collapses when deep layers train (see report 000)
    head_rate: float = 1e-3
    schedule: str = "cosine"
    dropout: float = 0.5  # SqueezeNet's own
    resolution: int = 64  # images are enlarged inside the model: at 32 px its last maps are single pixels
    test_count: int = 2_000


@dataclasses.dataclass(frozen=True)
class Rate:
    """Page 11, too high a rate loses what was learnt before: one rate.

    The slides state none; the network and the head's phase are report 002's.
    """

    learning_rate: float  # of Adam, all layers
    train_per_class: int = 100
    head_epochs: int = 10
    head_rate: float = 1e-3
    epochs: int = 10
    batch_size: int = 32
    test_count: int = 10_000


@dataclasses.dataclass(frozen=True)
class FrozenFeatures:
    """Pages 5, 19 and 20: what is fitted to the frozen features of one target. The slides state none of the numbers."""

    task: str
    dataset: str
    per_class: int
    epochs: int = 30  # of the networks; a linear SVM has none
    resolution: int = 64
    test_count: int = 2_000


def arm_name(dataset: str, size: str, strategy: str) -> str:
    """Return the name of an arm, such as "cifar10_small_freeze_base"."""
    return f"{dataset}_{size}_{strategy}"


CELLS = {(name, "small"): (SMALL, 20, 20, 32) for name in SIMILAR} | {
    (name, "large"): (LARGE, 6, 6, 64) for name in LARGE_ENOUGH
}
EVERY_QUADRANT = {
    arm_name(name, size, strategy): Quadrant(name, per_class, strategy, head_epochs, epochs, batch_size)
    for (name, size), (per_class, head_epochs, epochs, batch_size) in CELLS.items()
    for strategy in (*STRATEGIES, *LATER)
}
QUADRANTS = {name: arm for name, arm in EVERY_QUADRANT.items() if arm.strategy in STRATEGIES}
LATER_ARMS = {name: arm for name, arm in EVERY_QUADRANT.items() if arm.strategy in LATER}
RATE_ARMS = {f"rate_{rate}": Rate(float(rate)) for rate in RATES}
FEATURE_ARMS = {
    f"{task}_{name}_{'few' if count == FEW else 'many'}": FrozenFeatures(task, name, count)
    for task in TASKS
    for name, count in [*((name, FEW) for name in SIMILAR), *((name, MANY) for name in LARGE_ENOUGH)]
}
Settings = Quadrant | Rate | FrozenFeatures
ARMS: dict[str, Settings] = {**QUADRANTS, **RATE_ARMS, **FEATURE_ARMS, **LATER_ARMS}

LABELS = {  # of targets, strategies, classifiers and arms, in words
    "cifar10": "CIFAR-10",
    "stl10": "STL-10",
    "fashion_mnist": "Fashion-MNIST",
    "letters": "letters",
    "train_all": "train everything",
    "freeze_some": "freeze some",
    "freeze_base": "freeze the base",
    "lp_ft": "LP-FT",
    "direct": "everything at once",
    "l2_sp": "L2-SP",
    "layerwise": "layer-wise rates",
    "mixup": "mixup",
    **{f"surgical_{block}": f"block {block} alone" for block in range(1, 5)},
    "fully_connected": "fully connected layers",
    "global_average": "global average pooling",
    "linear_svm": "linear SVM",
    **{f"rate_{rate}": f"rate {rate}" for rate in RATES},
}
LABELS |= {
    arm_name(name, size, strategy): f"{LABELS[name]}, {size}, {LABELS[strategy]}"
    for name, size in CELLS
    for strategy in (*STRATEGIES, *LATER)
}
LABELS |= {
    f"{task}_{name}_{size}": f"{LABELS[name]}, {task}, {size} images"
    for task in TASKS
    for name in SIMILAR
    for size in ("few", "many")
}

SEEDS = {"smoke": 1, "quick": 2, "paper": 5}
REDUCED: dict[type, dict[str, dict]] = {
    Quadrant: {
        "smoke": {"head_epochs": 1, "epochs": 1, "resolution": 32, "test_count": 32},
        "quick": {"head_epochs": 20, "epochs": 5, "resolution": 48, "test_count": 500},
        "paper": {},
    },
    Rate: {
        "smoke": {"train_per_class": 4, "head_epochs": 1, "epochs": 1, "test_count": 100},
        "quick": {"train_per_class": 20, "head_epochs": 5, "epochs": 5, "test_count": 1_000},
        "paper": {},
    },
    FrozenFeatures: {
        "smoke": {"epochs": 1, "resolution": 32, "test_count": 32},
        "quick": {"resolution": 48, "test_count": 500},
        "paper": {},
    },
}
PER_CLASS = {  # images of a class, by profile: those of the smaller and of the larger arms
    Quadrant: {"smoke": (2, 4), "quick": (10, 40), "paper": (SMALL, LARGE)},
    FrozenFeatures: {"smoke": (4, 8), "quick": (10, 40), "paper": (FEW, MANY)},
}


def _reduced(arm: Settings, profile_name: str) -> dict:
    """Return the settings that a profile changes."""
    changed = REDUCED[type(arm)][profile_name]
    if isinstance(arm, Rate):
        return changed
    return {**changed, "per_class": PER_CLASS[type(arm)][profile_name][_is_large(arm)]}


def _is_large(arm: Settings) -> bool:
    return not isinstance(arm, Rate) and arm.per_class >= MANY


RUN = "tlkeras.reports.strategies.run"
REPORT = Report(
    name="strategies",
    title="Three strategies, four quadrants, three classifiers (report 001)",
    arms=ARMS,
    reference={},  # the slides' only numbers are those of `applications`
    highlights=tuple(QUADRANTS),
    headline=("test_accuracy",),
    seeds=ByProfile(SEEDS),
    reduced=_reduced,
    inputs=Deferred(RUN, "inputs"),
    run=Deferred(RUN, "run"),
)
