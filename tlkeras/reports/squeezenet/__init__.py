"""The report squeezenet."""
