"""Report 002 (Hüttenbräucker 2020, TP5), EJ3: 100 labelled digits, after something else was learnt or not."""

import dataclasses

from tlkeras.experiments.report import ByProfile, Deferred, Report


@dataclasses.dataclass(frozen=True)
class Settings:
    """One arm of the study. What the report does not state says so."""

    source: str | None = None  # data set of the earlier training; None is "Sin TL" of Table 1
    balanced: bool = False  # ten of each digit; the report asks for "a representative set" at its end
    train_count: int = 100  # EJ3, n_train
    validation_count: int = 10_000  # EJ3
    test_count: int = 10_000  # EJ3
    head_epochs: int = 35  # EJ3, only the dense layer
    all_epochs: int = 15  # EJ3, fine-tuning at a ten times lower rate
    scratch_epochs: int = 50  # not stated; as many as the transfer arms have
    learning_rate: float = 1e-3  # not stated; Adam's default in Keras
    batch_size: int = 32  # not stated; Keras' default
    validation_every: int = 1  # epochs; the figures show each epoch
    fine_rate: float = 1e-4  # EJ3, ten times lower
    schedule: str = "constant"  # not stated; "cosine" is ours
    augment: bool = False  # not in the report; ours
    source_count: int = 0  # ours: images of the earlier training, done anew for it; 0 takes the shipped network
    source_seed: int = 0  # ours: of that training
    draw: int | None = None  # ours: the seed of the digits, the same for all runs; None: each run draws its own


PLAIN = {
    "scratch_50": Settings(),
    "scratch_150": Settings(scratch_epochs=150, validation_every=10),
    "fashion": Settings("fashion_mnist"),
    "letters": Settings("letters"),
    "cyrillic": Settings("cyrillic_letters"),
}
LONGER = Settings(
    "letters",
    head_epochs=10,
    all_epochs=100,
    scratch_epochs=110,
    learning_rate=3e-3,
    fine_rate=3e-3,
    schedule="cosine",
    validation_every=50,
)
IMPROVED = {  # one change at a time; recalibrated statistics are a metric of every arm
    "letters_longer": LONGER,
    "letters_best": dataclasses.replace(LONGER, augment=True),
    "scratch_best": dataclasses.replace(LONGER, source=None, augment=True),
}
BALANCED = {f"{arm}_balanced": dataclasses.replace(PLAIN[arm], balanced=True, validation_every=50) for arm in PLAIN} | {
    "letters_best_balanced": dataclasses.replace(IMPROVED["letters_best"], balanced=True)
}
LETTERS = 15_353  # images that the earlier training on letters has; there are no more
EQUAL = {  # ours: is it the letters, or how many images there are of them?
    f"{arm}_as_letters": dataclasses.replace(PLAIN[arm], source_count=LETTERS, validation_every=50)
    for arm in ("fashion", "cyrillic")
}
WITH_SOURCES = {"letters": PLAIN["letters"], **EQUAL}  # the earlier trainings that are repeated with other seeds
SOURCE_SEEDS, SOURCE_DRAWS = range(1, 5), 10  # beside seed 0, which has all draws
ANOTHER_SOURCE = {  # ours: how much does the earlier training's own seed matter?
    f"{arm}_source_{seed}": dataclasses.replace(settings, source_count=LETTERS, source_seed=seed, validation_every=50)
    for arm, settings in WITH_SOURCES.items()
    for seed in SOURCE_SEEDS
}
ONE_DRAW = {  # ours: how much is the new layer's start and the order of the digits, when the digits stay?
    f"{arm}_one_draw": dataclasses.replace(settings, draw=0, validation_every=50)
    for arm, settings in WITH_SOURCES.items()
}
ARMS: dict[str, Settings] = {**PLAIN, **IMPROVED, **BALANCED, **EQUAL, **ANOTHER_SOURCE, **ONE_DRAW}

LABELS = {  # of arms, in words
    "scratch_50": "no transfer, 50 epochs",
    "scratch_150": "no transfer, 150 epochs",
    "fashion": "clothes first",
    "letters": "letters first",
    "cyrillic": "Cyrillic letters first",
    "letters_longer": "letters, longer schedule",
    "letters_best": "letters, longer, augmented",
    "scratch_best": "no transfer, longer, augmented",
}
LABELS |= {arm: f"{LABELS[arm.removesuffix('_balanced')]}, ten of each digit" for arm in BALANCED}
LABELS |= {arm: f"{LABELS[arm.removesuffix('_as_letters')]}, as many as letters" for arm in EQUAL}
LABELS |= {arm: f"{LABELS[arm.split('_source_')[0]]}, source's seed {arm[-1]}" for arm in ANOTHER_SOURCE}
LABELS |= {arm: f"{LABELS[arm.removesuffix('_one_draw')]}, always the same digits" for arm in ONE_DRAW}

REFERENCE: dict[tuple[str, str], dict] = {
    ("scratch_50", "test_accuracy"): {"value": 0.67, "source": "Table 1, Sin TL (epochs not stated)"},
    ("scratch_150", "test_accuracy"): {"value": 0.67, "source": "Table 1, Sin TL (epochs not stated)"},
    ("fashion", "test_accuracy"): {"value": 0.63, "source": "Table 1, TL- Fashion"},
    ("letters", "test_accuracy"): {"value": 0.77, "source": "Table 1, TL-Letters"},
}
REDUCED: dict[str, dict] = {
    "smoke": {"validation_count": 100, "test_count": 200, "head_epochs": 2, "all_epochs": 1, "scratch_epochs": 2}
    | {"source_count": 0},
    "quick": {"validation_every": 50},
    "paper": {},
}
SEEDS = {"smoke": 2, "quick": 3, "paper": 30}


def _seeds(arm: Settings, profile_name: str) -> int:
    """Return the number of runs of an arm: ten at most of a source network of another seed, and of one draw."""
    few = arm.source_seed or arm.draw is not None
    return min(SOURCE_DRAWS, SEEDS[profile_name]) if few else SEEDS[profile_name]


RUN = "tlkeras.reports.tominet.run"
REPORT = Report(
    name="tominet",
    title="100 digits, after clothes or letters (report 002, EJ3)",
    arms=ARMS,
    reference=REFERENCE,
    highlights=(*PLAIN, *IMPROVED, "letters_best_balanced", *EQUAL),
    headline=("test_accuracy", "test_accuracy_recalibrated"),
    seeds=_seeds,
    reduced=ByProfile(REDUCED),
    inputs=Deferred(RUN, "inputs"),
    run=Deferred(RUN, "run"),
)
