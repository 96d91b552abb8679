"""How the time of activation maximisation grows with filters and with steps (report 002, EJ4)."""

import math
import time
from collections.abc import Sequence

from tlkeras.models import tominet
from tlkeras.visualize import objectives, prepare
from tlkeras.visualize.ascent import WIDEST

LAYER, STEPS, ROUNDS = "conv_2", 60, 5


def seconds_by_size(filters: Sequence[int], steps: Sequence[int]) -> list[dict]:
    """Time more and more filters at `STEPS` steps, then more and more steps of 16 filters.

    Args:
        filters: how many, of a TomiNet that has as many in conv_2, with new weights.
        steps: how many.

    Returns:
        Rows of `filters`, `steps`, `seconds` (best of `ROUNDS`, without tracing) and `varied`, the one that grows.
    """
    model = tominet(10, weights=None, filters=(32, max(*filters, WIDEST)))
    sizes = [(count, STEPS, "filters") for count in filters] + [(WIDEST, count, "steps") for count in steps]
    runs = {count: prepare(model, objectives.channel(LAYER, range(count))) for count in {*filters, WIDEST}}
    seconds = [math.inf] * len(sizes)
    for turn in range(ROUNDS + 1):  # in turn, so that other work on the machine disturbs all alike; the first warms up
        for index, (count, length, _) in enumerate(sizes):
            started = time.perf_counter()
            runs[count](steps=length if turn else 1)
            seconds[index] = min(seconds[index], time.perf_counter() - started if turn else math.inf)
    return [
        {"filters": count, "steps": length, "seconds": found, "varied": varied}
        for (count, length, varied), found in zip(sizes, seconds, strict=True)
    ]
