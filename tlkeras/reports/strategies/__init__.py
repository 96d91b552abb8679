"""Report 001: strategies, quadrants, rates, classifiers and blocks, put to the test."""
