"""The report strategies."""
