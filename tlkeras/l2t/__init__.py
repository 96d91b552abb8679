"""Learning to transfer what, where and which (report 003): match features of two networks, with learned weights."""

from tlkeras.l2t.callbacks import Answers as Answers
from tlkeras.l2t.callbacks import Trajectory as Trajectory
from tlkeras.l2t.plan import MissingClassesWarning as MissingClassesWarning
from tlkeras.l2t.plan import NonFiniteLossError as NonFiniteLossError
from tlkeras.l2t.plan import Settings as Settings
from tlkeras.l2t.training import LearningToTransfer as LearningToTransfer
