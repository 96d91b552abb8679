"""Networks of the reports, and the strict loading of their weights."""

from tlkeras.models.squeezenet import squeezenet as squeezenet
from tlkeras.models.tominet import tominet as tominet
