"""The reports, one folder each: settings without Keras, how one run is computed, claims, and figures of its own."""

from tlkeras.experiments.report import Report
from tlkeras.reports.ants_bees.settings import REPORT as ANTS_BEES
from tlkeras.reports.l2t.settings import REPORT as L2T
from tlkeras.reports.squeezenet.settings import REPORT as SQUEEZENET
from tlkeras.reports.strategies.settings import REPORT as STRATEGIES
from tlkeras.reports.tominet.settings import REPORT as TOMINET

REPORTS: dict[str, Report] = {report.name: report for report in (TOMINET, SQUEEZENET, STRATEGIES, ANTS_BEES, L2T)}
