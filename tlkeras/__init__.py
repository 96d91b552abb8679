"""Transfer-learning reports, reproduced in Keras 3 with repeated seeds, statistics and proofs.

Four verbs: load data, build a model, transfer it, look at the result.
"""

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING

_backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
if importlib.util.find_spec(_backend) is None:  # Keras would end in a traceback that does not say what to do
    raise ImportError(
        f"Expected the backend of Keras to be installed: pip install {_backend}, or unset KERAS_BACKEND. "
        f"Received: KERAS_BACKEND={_backend}"
    )

if TYPE_CHECKING:  # what editors and type checkers read; `_HOMES` is the same, for `__getattr__`
    from tlkeras.data import load as load
    from tlkeras.data.splits import few_shot as few_shot
    from tlkeras.experiments.report import profile as profile
    from tlkeras.experiments.runs import live_or_recorded as live_or_recorded
    from tlkeras.experiments.runs import study as study
    from tlkeras.l2t import LearningToTransfer as LearningToTransfer
    from tlkeras.models.alexnet import alexnet as alexnet
    from tlkeras.models.resnet32 import resnet32 as resnet32
    from tlkeras.models.squeezenet import squeezenet as squeezenet
    from tlkeras.models.tominet import tominet as tominet
    from tlkeras.models.vgg import vgg9 as vgg9
    from tlkeras.models.vgg import vgg16 as vgg16
    from tlkeras.own_images import adapt_images as adapt_images
    from tlkeras.startup import quiet_start as quiet_start
    from tlkeras.transfer import BestCheckpoint as BestCheckpoint
    from tlkeras.transfer import Phase as Phase
    from tlkeras.transfer import adapt as adapt
    from tlkeras.transfer import evaluate as evaluate
    from tlkeras.transfer import freeze as freeze
    from tlkeras.transfer import recommend as recommend
    from tlkeras.transfer import two_phases as two_phases
    from tlkeras.transfer.finetune import finetune as finetune
    from tlkeras.transfer.pretrain import pretrain as pretrain
    from tlkeras.visualize import activation_maximization as activation_maximization
    from tlkeras.visualize import grad_cam as grad_cam

_HOMES = {  # loaded on first use, so that `python -m tlkeras table` does not wait for TensorFlow
    "load": "tlkeras.data",
    "few_shot": "tlkeras.data.splits",
    "profile": "tlkeras.experiments.report",
    "live_or_recorded": "tlkeras.experiments.runs",
    "study": "tlkeras.experiments.runs",
    "LearningToTransfer": "tlkeras.l2t",
    "alexnet": "tlkeras.models.alexnet",
    "resnet32": "tlkeras.models.resnet32",
    "squeezenet": "tlkeras.models.squeezenet",
    "tominet": "tlkeras.models.tominet",
    "vgg9": "tlkeras.models.vgg",
    "vgg16": "tlkeras.models.vgg",
    "adapt_images": "tlkeras.own_images",
    "quiet_start": "tlkeras.startup",
    **dict.fromkeys(
        ("BestCheckpoint", "Phase", "adapt", "evaluate", "freeze", "recommend", "two_phases"), "tlkeras.transfer"
    ),
    "finetune": "tlkeras.transfer.finetune",
    "pretrain": "tlkeras.transfer.pretrain",
    "activation_maximization": "tlkeras.visualize",
    "grad_cam": "tlkeras.visualize",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'tlkeras' has no attribute {name!r}; it has {__all__}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
