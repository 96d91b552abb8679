"""Take turns, keep the medians; or the fastest, where the peer's number is its fastest."""

import statistics
import time
from collections.abc import Callable


def compare(
    name: str, ours: Callable[[], object], peer: Callable[[], object], equal: str, repeats: int = 3
) -> dict[str, object]:
    """Time two callables in turn, ours first; return a row with median seconds of each and the ratio peer / ours.

    Args:
        name: what is timed.
        ours: called without arguments.
        peer: the same.
        equal: what both sides have in common.
        repeats: calls of each; the medians are kept.
    """
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(repeats):
        for side, call in (("ours", ours), ("peer", peer)):
            started = time.perf_counter()
            call()
            times[side].append(time.perf_counter() - started)
    mine, theirs = statistics.median(times["ours"]), statistics.median(times["peer"])
    return {
        "name": name,
        "ours": round(mine, 3),
        "peer": round(theirs, 3),
        "ratio": round(theirs / mine, 1),
        "unit": "s",
        "equal": equal,
    }


def median_seconds(call: Callable[[], object], repeats: int, warm: int = 1) -> float:
    """Call `warm` times unmeasured, then return the median seconds of `repeats` calls."""
    return statistics.median(_seconds(call, repeats, warm))


def fastest_seconds(call: Callable[[], object], repeats: int, warm: int = 1) -> float:
    """Call `warm` times unmeasured, then return the seconds of the fastest of `repeats` calls."""
    return min(_seconds(call, repeats, warm))


def _seconds(call: Callable[[], object], repeats: int, warm: int) -> list[float]:
    for _ in range(warm):
        call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return times
