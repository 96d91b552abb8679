"""Data sets by name, with their provenance, and seeded splits.

`load` is the one verb: it returns arrays, or a tree of images.
"""

from tlkeras.data.cache import DamagedFileError as DamagedFileError
from tlkeras.data.cache import fingerprint as fingerprint
from tlkeras.data.cache import home as home
from tlkeras.data.images import ImageTree as ImageTree
from tlkeras.data.loading import Dataset as Dataset
from tlkeras.data.loading import DataUnavailableError as DataUnavailableError
from tlkeras.data.loading import SkippedFilesWarning as SkippedFilesWarning
from tlkeras.data.loading import StandInWarning as StandInWarning
from tlkeras.data.loading import folder as folder
from tlkeras.data.loading import load as load
from tlkeras.data.loading import status as status
from tlkeras.data.loading import verify as verify
from tlkeras.data.records import RECORDS as RECORDS
from tlkeras.data.records import DatasetRecord as DatasetRecord
from tlkeras.data.shared import overlaps as overlaps
from tlkeras.data.splits import few_shot as few_shot
from tlkeras.data.splits import holdout as holdout
