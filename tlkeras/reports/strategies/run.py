"""One run of report 001, of any of its three kinds."""

from tlkeras.experiments.report import Inputs, Result
from tlkeras.models import weights
from tlkeras.reports.squeezenet.run import pretrained
from tlkeras.reports.strategies import frozen_features, quadrants, rates
from tlkeras.reports.strategies.settings import Quadrant, Rate, Settings
from tlkeras.reports.strategies.targets import target


def inputs(arm: Settings) -> Inputs:
    """Return the provenance of what a run uses; the weights of SqueezeNet may be the stand-in of report 000."""
    if isinstance(arm, Rate):
        name = f"tominet_{rates.SOURCE}"
        facts = weights.record(name)
        used = {"name": name, "fingerprint": facts["sha256"][:16], "data": facts["data"]}
        return {"data": [target(name).provenance() for name in (rates.TARGET, rates.SOURCE)], "weights": [used]}
    return {"data": [target(arm.dataset).provenance()], "weights": [pretrained()]}


def run(arm: Settings, seed: int) -> Result:
    """Train one arm from one seed; see `run` of the arm's kind."""
    if isinstance(arm, Quadrant):
        return quadrants.run(arm, seed)
    return rates.run(arm, seed) if isinstance(arm, Rate) else frozen_features.run(arm, seed)
