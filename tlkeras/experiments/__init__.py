"""Seeded, stored runs of the reports, and the statistics, tables and figures made from them."""
