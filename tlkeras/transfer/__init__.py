"""Freeze, train in phases, cache frozen features, keep the best epoch, pretrain; each step proven."""

from tlkeras.transfer.callbacks import BestCheckpoint
from tlkeras.transfer.evaluation import evaluate, recalibrate
from tlkeras.transfer.features import FeatureCache
from tlkeras.transfer.finetune import finetune
from tlkeras.transfer.freezing import freeze
from tlkeras.transfer.phases import Phase, two_phases
from tlkeras.transfer.pretrain import pretrain
from tlkeras.transfer.strategies import adapt, recommend

__all__ = [
    "BestCheckpoint",
    "FeatureCache",
    "Phase",
    "adapt",
    "evaluate",
    "finetune",
    "freeze",
    "pretrain",
    "recalibrate",
    "recommend",
    "two_phases",
]
