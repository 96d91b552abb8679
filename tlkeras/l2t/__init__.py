"""Learning to transfer what, where and which (report 003): match features of two networks, with learned weights."""

from tlkeras.l2t.inputs import MissingClassesWarning as MissingClassesWarning
from tlkeras.l2t.learner import NonFiniteLossError as NonFiniteLossError
from tlkeras.l2t.parts import Settings as Settings
from tlkeras.l2t.train import LearningToTransfer as LearningToTransfer
