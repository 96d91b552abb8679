"""The reports: one module each, with its settings, its reference numbers, its arms and `run(settings, seed)`."""
