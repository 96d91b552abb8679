"""Report 001 (slides "Transfer Learning"): strategies, quadrants, rates and classifiers, put to the test.

The slides describe no experiment: every setting is ours, and the arms are of three kinds, one module each.
"""

from __future__ import annotations  # Keras is imported where it is needed: tables of stored runs do without

import dataclasses
from types import ModuleType

from tlkeras.experiments.runs import Result
from tlkeras.reports.strategies import features as strategies_features
from tlkeras.reports.strategies import quadrants as strategies_quadrants
from tlkeras.reports.strategies import rates as strategies_rates

NAME = "strategies"
TITLE = "Three strategies, four quadrants, three classifiers (report 001)"
KINDS: tuple[ModuleType, ...] = (strategies_quadrants, strategies_rates, strategies_features)
Settings = strategies_quadrants.Settings | strategies_rates.Settings | strategies_features.Settings
ARMS: dict[str, Settings] = {name: settings for kind in KINDS for name, settings in kind.ARMS.items()}
REFERENCE: dict[tuple[str, str], dict] = {}  # the slides' only numbers are those of `experiments.applications`
HIGHLIGHTS = tuple(strategies_quadrants.ARMS)  # the arms of the README's table
HEADLINE = ("test_accuracy",)  # its metric
SEEDS = {"smoke": 1, "quick": 2, "paper": 5}
LARGE_SEEDS = 2  # where one run takes minutes


def seeds(profile: str) -> int:
    """Return the number of seeds of a profile; `arm_seeds` knows the arms with fewer."""
    return SEEDS[profile]


def arm_seeds(arm: str, profile: str) -> int:
    """Return the number of seeds of an arm: 2 at most where thousands of images are trained on."""
    many = getattr(ARMS[arm], "per_class", 0) >= strategies_features.MANY
    return min(LARGE_SEEDS, SEEDS[profile]) if many else SEEDS[profile]


def settings(arm: str, profile: str) -> Settings:
    """Return the settings of an arm, reduced as the profile says."""
    found = ARMS[arm]
    return dataclasses.replace(found, **_kind(found).reduced(found, profile))


def inputs(arm: Settings) -> dict[str, list[dict]]:
    """Return the provenance of what a run uses: "data" and "weights", each with a fingerprint."""
    return _kind(arm).inputs(arm)


def run(arm: Settings, seed: int) -> Result:
    """Train one arm from one seed; see `run` of the arm's kind."""
    return _kind(arm).run(arm, seed)


def _kind(arm: Settings) -> ModuleType:
    return next(kind for kind in KINDS if isinstance(arm, kind.Settings))
