"""The report ants_bees."""
