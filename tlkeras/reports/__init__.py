"""The reports, one folder each: settings without Keras, how one run is computed, claims, and figures of its own."""

from tlkeras.experiments.report import Report
from tlkeras.reports.tominet.settings import REPORT as TOMINET

REPORTS: dict[str, Report] = {report.name: report for report in (TOMINET,)}
