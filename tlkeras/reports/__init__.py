"""The reports, one folder each: settings without Keras, how one run is computed, claims, and figures of its own."""

from tlkeras.experiments.report import Report
from tlkeras.reports.squeezenet.settings import REPORT as SQUEEZENET
from tlkeras.reports.strategies.settings import REPORT as STRATEGIES
from tlkeras.reports.tominet.settings import REPORT as TOMINET

REPORTS: dict[str, Report] = {report.name: report for report in (TOMINET, SQUEEZENET, STRATEGIES)}
