"""The report tominet."""
