"""Data sets by name, with their provenance, and seeded splits."""

from tlkeras.data import folders as folders
from tlkeras.data import splits as splits
from tlkeras.data.availability import DataUnavailableError as DataUnavailableError
from tlkeras.data.cache import DamagedFileError as DamagedFileError
from tlkeras.data.cache import fingerprint as fingerprint
from tlkeras.data.cache import home as home
from tlkeras.data.datasets import RECORDS as RECORDS
from tlkeras.data.datasets import DatasetRecord as DatasetRecord
from tlkeras.data.folders import SkippedFilesWarning as SkippedFilesWarning
from tlkeras.data.folders import folder as folder
from tlkeras.data.loading import Dataset as Dataset
from tlkeras.data.loading import StandInWarning as StandInWarning
from tlkeras.data.loading import load as load
from tlkeras.data.loading import status as status
from tlkeras.data.trees import ImageTree as ImageTree
