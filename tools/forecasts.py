"""Forecasts of runs that were not there yet, written down and committed before them; and how they came out.

`results/forecasts.json` holds them. A forecast is of the mean of an arm, or of how far it is above another one, with an
interval that should hold the truth four times of five.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from tlkeras.experiments.environment import REPOSITORY
from tlkeras.experiments.runs import Runs

FORECASTS = REPOSITORY / "results" / "forecasts.json"


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What was expected of an arm before its first run.

    Attributes:
        date: on which it was committed, YYYY-MM-DD.
        report: name of the report.
        arm: whose mean is meant.
        metric: of its runs.
        value: what is expected.
        low: lower end of the interval.
        high: upper end of the interval.
        against: the arm whose mean is subtracted, on the draws that both have; None for none.
    """

    date: str
    report: str
    arm: str
    metric: str
    value: float
    low: float
    high: float
    against: str | None = None

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"Expected low <= value <= high. Received: {dataclasses.asdict(self)}")


def load(path: Path = FORECASTS) -> list[Forecast]:
    """Return the stored forecasts, none where there is no file.

    Raises:
        ValueError: an interval without its value.
    """
    if not path.exists():
        return []
    return [Forecast(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def score(forecasts: Iterable[Forecast], runs: Mapping[str, Runs]) -> list[dict]:
    """Lay what was measured beside what was expected.

    Args:
        forecasts: of any reports.
        runs: the runs of each report, by its name.

    Returns:
        Rows with report, arm, against, metric, date, expected, low, high, measured, inside (bool), n; measured and
        inside are None where nothing was run.
    """
    rows = []
    for forecast in forecasts:
        values = _measured(forecast, runs.get(forecast.report, Runs()))
        mean = float(np.mean(values)) if len(values) else None
        rows.append(
            {
                **{name: getattr(forecast, name) for name in ("report", "arm", "against", "metric", "date")},
                "expected": forecast.value,
                "low": forecast.low,
                "high": forecast.high,
                "measured": mean,
                "inside": None if mean is None else forecast.low <= mean <= forecast.high,
                "n": len(values),
            }
        )
    return rows


def _measured(forecast: Forecast, runs: Runs) -> list[float]:
    if not runs.have([forecast.arm] + ([forecast.against] if forecast.against else [])):
        return []
    scores = runs.scores(forecast.arm, forecast.metric)
    if forecast.against is None:
        return list(scores.values())
    others = runs.scores(forecast.against, forecast.metric)
    return [scores[seed] - others[seed] for seed in runs.shared_draws(forecast.arm, forecast.against, forecast.metric)]
