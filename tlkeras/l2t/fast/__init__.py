"""The same numbers in less time on a CPU: subclasses of the plain network, matching and meta-networks.

Nothing here is needed to understand the method: `LearningToTransfer(..., fast=False)` does without it.
"""

from tlkeras.l2t.fast.matching import FastMatching as FastMatching
from tlkeras.l2t.fast.matching import FastMetaNetworks as FastMetaNetworks
from tlkeras.l2t.fast.network import FastNetwork as FastNetwork
