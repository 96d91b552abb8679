"""Transfer-learning reports, reproduced in Keras 3 with repeated seeds, statistics and proofs.

Four verbs: load data, build a model, transfer it, look at the result.
"""

import importlib

_PUBLIC = {  # loaded on first use, so that `python -m tlkeras table` does not wait for TensorFlow
    "load": "tlkeras.data",
    "few_shot": "tlkeras.data.splits",
    "tominet": "tlkeras.models",
    "finetune": "tlkeras.transfer",
    "freeze": "tlkeras.transfer",
    "recalibrate": "tlkeras.transfer",
    "adapt": "tlkeras.transfer.strategies",
    "recommend": "tlkeras.transfer.strategies",
    "two_phases": "tlkeras.transfer",
    "Phase": "tlkeras.transfer",
    "BestCheckpoint": "tlkeras.transfer",
    "FeatureCache": "tlkeras.transfer",
    "activation_maximization": "tlkeras.visualize",
    "study": "tlkeras.experiments.runs",
    "load_runs": "tlkeras.experiments.runs",
    "profile": "tlkeras.experiments.runs",
    "quiet_start": "tlkeras.startup",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tlkeras' has no attribute {name!r}; it has {__all__}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
