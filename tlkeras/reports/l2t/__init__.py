"""The report l2t."""
