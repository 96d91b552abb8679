"""Report 003: learning to transfer what, where and which, with few images of STL-10, CIFAR-10 and CIFAR-100.

Its numbers are those of tables 1 to 4, in per cent, as far as our text of it can be read. The row of L2T-ww in table 1
is lost in the scan: it is L2T-www minus the printed difference. So is the row "from scratch" of table 2. `HALF_WIDTHS`
are the numbers behind the plus-minus signs.
"""

import dataclasses
import itertools

from tlkeras.experiments.report import ByProfile, Deferred, Report

SIZES = {"stl10": (5, 10, 30, 50, 100), "cifar10": (10, 30, 50, 100, 150), "cifar100": (5, 10, 20, 30, 50)}
TABLE_OF = {"stl10": 1, "cifar10": 2, "cifar100": 3}
MEANS: dict[str, dict[str, tuple[float, ...]]] = {
    "stl10": {
        "scratch": (19.70, 24.07, 28.80, 30.11, 40.12),
        "ufm": (22.45, 24.76, 30.94, 43.21, 53.41),
        "ww": (22.94, 25.64, 41.08, 50.49, 61.44),
        "www": (22.54, 29.39, 43.38, 52.53, 61.36),
    },
    "cifar10": {
        "ufm": (20.69, 39.61, 48.45, 57.29, 68.26),
        "ww": (24.64, 43.16, 52.91, 63.86, 71.88),
        "www": (26.12, 45.18, 54.76, 64.91, 71.29),
    },
    "cifar100": {
        "scratch": (9.77, 10.96, 18.08, 21.86, 29.65),
        "ufm": (12.18, 18.94, 30.77, 37.68, 44.47),
        "ww": (14.12, 24.37, 37.35, 42.61, 49.67),
        "www": (14.22, 25.53, 36.91, 42.24, 49.03),
    },
}
HALF_WIDTHS: dict[str, dict[str, tuple[float, ...]]] = {  # of L2T-ww and L2T-www, where both can be read
    "cifar10": {"ww": (1.85, 1.16, 1.08, 0.79), "www": (1.99, 0.95, 0.75, 0.62)},
    "cifar100": {"ww": (0.59, 0.81, 0.37, 0.55, 0.78), "www": (0.61, 0.46, 0.74, 0.38, 0.59)},
}
# The printed p of L2T-www against L2T-ww; None is "p > 0.05".
P_VALUES: dict[str, tuple[float | None, ...]] = {
    "stl10": (None, 0.000, 0.044, 0.004, None),
    "cifar10": (None, 0.005, 0.006, 0.041, None),
    "cifar100": (None, 0.008, None, None, None),
}
SCARCE = {"scratch": 16.12, "ww": 65.12, "www": 73.56}  # table 4, accuracy of the class of ten images
REPEATS = 30  # section 5.5

QUESTIONS = {"scratch": "", "ufm": "", "ww": "what where", "www": "what where which"}
METHODS = tuple(QUESTIONS)
PEERS = {"at": 1_000.0, "sp": 3_000.0, "vid": 1.0, "semckd": 400.0, "lwf": 1.0}  # beta, see `tlkeras.l2t.peers`
SOURCE_ALONE = ("probe", "finetune")  # not in the report: what the source does without a target network
WATCHED_PAIR = 8  # s2b5 -> relu6 of the 15, the middle of the source and of the target's depth
WATCHED_CHANNELS = (0, 1, 2)
WATCHED_WEIGHTS = ((2, 2, 0, 4), (2, 2, 0, 9), (0, 0, 0, 4), (0, 0, 0, 9))  # figure 36: w[0][4][2][2][0], ...


@dataclasses.dataclass(frozen=True)
class Settings:
    """One arm. Section 5.4 of the report; what it does not state says so."""

    dataset: str = "stl10"
    per_class: int = 10  # tables 1 to 3
    method: str = "www"
    scarce: int = 0  # images of one class; section 5.6: 10 beside 100 of the others
    epochs: int = 200
    batch_size: int = 128
    learning_rate: float = 0.1
    padding: int = 4  # pixels; not stated, as in the official code
    test_count: int = 10_000
    width: float = 1.0  # of the target's layers; narrow ones are for tests
    meta_rate: float = 1e-4  # at 0, the random weights of the pairs stay
    beta: float = 0.5
    warm_up: int = 0  # epochs; none in the report
    targets: tuple[int, ...] = ()  # the target's maps that the last of the source's go with, one each; () is every pair
    score_every: int = 0  # epochs between two scores of further images and the test images; 0: after the last alone
    strength: float = 0.03  # of the probe, C of scikit-learn; the best of 0.003 to 1 on training images outside draws


def arm_name(dataset: str, per_class: int, method: str) -> str:
    """Return the name of an arm, such as "stl10_10_www"."""
    return f"{dataset}_{per_class}_{method}"


TABLES = {
    arm_name(name, count, method): Settings(name, count, method)
    for name, counts in SIZES.items()
    for count in counts
    for method in METHODS
}
UNBALANCED = {f"stl10_unbalanced_{method}": Settings("stl10", 100, method, scarce=10) for method in SCARCE}
TRAINING: dict[str, dict] = {  # where it is not the report's; chosen as `strength` was
    "probe": {},
    "finetune": {"epochs": 10, "batch_size": 32, "learning_rate": 3e-4},
}
ALONE = {
    arm_name(name, count, method): Settings(name, count, method, **TRAINING[method])
    for name, counts in SIZES.items()
    for count in counts
    for method in SOURCE_ALONE
}
RECORDED = (("stl10", 5), ("stl10", 10), ("cifar10", 10))  # what two processor cores do in some hours
SAME_SIZE, LAST = (0, 1, 2), (4,)  # targets: maps of the same size; the last map
MATCHED = {"at": SAME_SIZE, "sp": LAST, "vid": SAME_SIZE, "semckd": (), "lwf": LAST}
OTHERS = {
    arm_name(*cell, method): Settings(*cell, method, beta=beta, targets=MATCHED[method])
    for cell in RECORDED
    for method, beta in PEERS.items()
}
MAPS = tuple(itertools.combinations(range(5), 3))  # all ten in which a deeper map goes with a deeper one
CHANGES: dict[str, tuple[str, dict]] = {  # one at a time: (method, fields)
    "scratch_1e-2": ("scratch", {"learning_rate": 0.01}),
    "scratch_warm_up": ("scratch", {"warm_up": 10}),
    "ufm_1e-2": ("ufm", {"learning_rate": 0.01}),  # beside a baseline that is tuned, too
    "ww_sgd_1e-2": ("ww", {"learning_rate": 0.01}),  # the same; the next two change the meta-networks' rate
    "ww_fixed": ("ww", {"meta_rate": 0.0}),
    "ww_1e-3": ("ww", {"meta_rate": 1e-3}),
    "ww_1e-2": ("ww", {"meta_rate": 1e-2}),
    "semckd_1e-2": (  # at 0.1 it diverges
        "semckd",
        {"learning_rate": 0.01, "beta": PEERS["semckd"], "targets": MATCHED["semckd"]},
    ),
    "ufm_1300": ("ufm", {"epochs": 1300}),  # the seconds of 200 epochs of L2T-ww
    **{"map_" + "".join(map(str, places)): ("ufm", {"targets": places}) for places in MAPS},
}
ABLATED = ("stl10", 10)
ABLATIONS = {
    arm_name(*ABLATED, name): Settings(*ABLATED, method, **changed) for name, (method, changed) in CHANGES.items()
}
TUNED = {  # "tuned cross-entropy first": the same change at the other recorded sizes
    arm_name(*cell, "scratch_1e-2"): Settings(*cell, "scratch", learning_rate=0.01)
    for cell in RECORDED
    if cell != ABLATED
}
READ = (("stl10", 10, "scratch"), ("stl10", 10, "ufm"), ("stl10", 5, "scratch"))  # what is the printed number of these?
READINGS = {f"{arm_name(*cell)}_read": dataclasses.replace(TABLES[arm_name(*cell)], score_every=10) for cell in READ}
ARMS: dict[str, Settings] = {**TABLES, **UNBALANCED, **ALONE, **OTHERS, **ABLATIONS, **TUNED, **READINGS}
VALIDATION_COUNTS = {"stl10": 500, "cifar10": 5_000, "cifar100": 5_000}  # further images, as the official code has
LABELS = {  # of data sets, methods and arms, in words
    "stl10": "STL-10",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "scratch": "from scratch",
    "ufm": "UFM",
    "ww": "L2T-ww",
    "www": "L2T-www",
    "probe": "the source's probe",
    "finetune": "the source, fine-tuned",
    "at": "attention transfer",
    "sp": "similarity-preserving",
    "vid": "VID",
    "semckd": "SemCKD",
    "lwf": "LwF",
    "scratch_1e-2": "from scratch at a rate of 0.01",
    "scratch_warm_up": "from scratch after a warm-up",
    "scratch_recalibrated": "from scratch, recalibrated",
    "ufm_1e-2": "UFM at a rate of 0.01",
    "ww_sgd_1e-2": "L2T-ww at a rate of 0.01",
    "semckd_1e-2": "SemCKD at a rate of 0.01",
    "ww_fixed": "L2T-ww, its first random weights kept",
    "ww_1e-3": "L2T-ww, Adam at 1e-3",
    "ww_1e-2": "L2T-ww, Adam at 1e-2",
    "ufm_1300": "UFM for as many seconds as L2T-ww",
    "map_mean": "ten monotone maps, their mean",
    "map_best": "ten monotone maps, the best",
    **{name: f"UFM of the target's maps {', '.join(name[4:])}" for name in CHANGES if name.startswith("map_")},
}


def _size(arm: Settings) -> str:
    return f"one class of {arm.scarce}, nine of {arm.per_class}" if arm.scarce else f"{arm.per_class} of a class"


LABELS |= {
    name: f"{LABELS[arm.dataset]}, {_size(arm)}, {LABELS[arm.method]}"
    for name, arm in {**TABLES, **UNBALANCED, **ALONE, **OTHERS}.items()
}
LABELS |= {
    arm_name(*ABLATED, name): f"{LABELS[ABLATED[0]]}, {ABLATED[1]} of a class, {LABELS[name]}"
    for name in (*CHANGES, "scratch_recalibrated", "map_mean", "map_best")
}
LABELS |= {
    arm: f"{LABELS[own.dataset]}, {own.per_class} of a class, {LABELS['scratch_1e-2']}" for arm, own in TUNED.items()
}
LABELS |= {f"{arm}_read": f"{LABELS[arm]}, scored every tenth epoch" for arm in (arm_name(*cell) for cell in READ)}
HEADS = {  # of the columns of tables, in words
    "per_class": "images of a class",
    "mann_whitney_p": "p (Mann-Whitney), adjusted",
    "runs_needed": "pairs needed",
    "iterations": "iterations",
    "where_moved": "largest change of a pair's weight (0 to 6)",
    "where_alike": "pairs' weights, start against end (correlation)",
    "what_even": "evenness of the channels (1: all alike)",
    "which_low": "lowest weight of a pixel (1 at the start)",
    "which_high": "highest weight of a pixel",
    "reported_n": "n (report)",
    "printed_p": "printed p",
}

REFERENCE: dict[tuple[str, str], dict] = {
    (arm_name(name, count, method), "test_accuracy"): {
        "value": round(value / 100, 4),
        "source": f"Table {TABLE_OF[name]}, n={REPEATS}",
    }
    for name, methods in MEANS.items()
    for method, values in methods.items()
    for count, value in zip(SIZES[name], values, strict=True)
} | {
    (f"stl10_unbalanced_{method}", "scarce_recall"): {"value": round(value / 100, 4), "source": "Table 4"}
    for method, value in SCARCE.items()
}
REDUCED: dict[str, dict] = {
    "smoke": {"per_class": 2, "epochs": 2, "batch_size": 10, "test_count": 40, "width": 0.16},
    "quick": {"per_class": 2, "epochs": 20, "test_count": 500, "width": 1 / 4},
    "paper": {},
}


def _reduced(arm: Settings, profile_name: str) -> dict:
    """Return the settings that a profile changes; a scarce class never has more than half as many images."""
    changed = REDUCED[profile_name]
    scarce = min(arm.scarce, changed.get("per_class", arm.per_class) // 2)
    return {**changed, "scarce": scarce, "score_every": min(arm.score_every, changed.get("epochs", arm.epochs))}


RUN = "tlkeras.reports.l2t.run"
REPORT = Report(
    name="l2t",
    title="Learning to transfer what, where and which (report 003)",
    arms=ARMS,
    reference=REFERENCE,
    highlights=tuple(arm_name(*size, method) for size in RECORDED for method in (*METHODS, "probe")),
    headline=("test_accuracy",),
    seeds=ByProfile({"smoke": 1, "quick": 1, "paper": REPEATS}),
    reduced=_reduced,
    inputs=Deferred("tlkeras.reports.l2t.images", "inputs"),
    run=Deferred(RUN, "run"),
    together=Deferred("tlkeras.reports.l2t.together", "run"),
    not_together=(*ALONE, *READINGS),  # it has no target network, or scores no further images
)
