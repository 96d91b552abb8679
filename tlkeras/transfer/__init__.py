"""Freeze, train in phases, cache frozen features, keep the best epoch; each step proven."""

from tlkeras.transfer.callbacks import BestCheckpoint as BestCheckpoint
from tlkeras.transfer.evaluation import recalibrate as recalibrate
from tlkeras.transfer.features import FeatureCache as FeatureCache
from tlkeras.transfer.finetune import finetune as finetune
from tlkeras.transfer.freezing import freeze as freeze
from tlkeras.transfer.phases import Phase as Phase
from tlkeras.transfer.phases import two_phases as two_phases
