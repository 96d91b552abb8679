"""The numbers of report 003: tables 1 to 4, in per cent, as far as the text that we have can be read.

The row of L2T-ww in table 1 is lost in the scan: it is L2T-www minus the printed difference. So is the row "from
scratch" of table 2. `HALF_WIDTHS` are the numbers behind the plus-minus signs.
"""

SIZES = {"stl10": (5, 10, 30, 50, 100), "cifar10": (10, 30, 50, 100, 150), "cifar100": (5, 10, 20, 30, 50)}
TABLES = {"stl10": 1, "cifar10": 2, "cifar100": 3}
MEANS: dict[str, dict[str, tuple[float, ...]]] = {
    "stl10": {
        "scratch": (19.70, 24.07, 28.80, 30.11, 40.12),
        "ufm": (22.45, 24.76, 30.94, 43.21, 53.41),
        "ww": (22.94, 25.64, 41.08, 50.49, 61.44),
        "www": (22.54, 29.39, 43.38, 52.53, 61.36),
    },
    "cifar10": {
        "ufm": (20.69, 39.61, 48.45, 57.29, 68.26),
        "ww": (24.64, 43.16, 52.91, 63.86, 71.88),
        "www": (26.12, 45.18, 54.76, 64.91, 71.29),
    },
    "cifar100": {
        "scratch": (9.77, 10.96, 18.08, 21.86, 29.65),
        "ufm": (12.18, 18.94, 30.77, 37.68, 44.47),
        "ww": (14.12, 24.37, 37.35, 42.61, 49.67),
        "www": (14.22, 25.53, 36.91, 42.24, 49.03),
    },
}
HALF_WIDTHS = {  # of L2T-ww and L2T-www, where both can be read
    "cifar10": {"ww": (1.85, 1.16, 1.08, 0.79), "www": (1.99, 0.95, 0.75, 0.62)},
    "cifar100": {"ww": (0.59, 0.81, 0.37, 0.55, 0.78), "www": (0.61, 0.46, 0.74, 0.38, 0.59)},
}
# The printed p of L2T-www against L2T-ww; None is "p > 0.05".
P_VALUES = {
    "stl10": (None, 0.000, 0.044, 0.004, None),
    "cifar10": (None, 0.005, 0.006, 0.041, None),
    "cifar100": (None, 0.008, None, None, None),
}
SCARCE = {"scratch": 16.12, "ww": 65.12, "www": 73.56}  # table 4, accuracy of the class of ten images
REPEATS = 30  # section 5.5
