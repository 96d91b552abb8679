"""Run the same seed again, and compare every metric: `make reliability TRY=determinism`.

Twice in one process; in another one, after another seed, as a study does that was resumed; and with one thread and two,
each with and without the switch TLKERAS_DETERMINISTIC=1, whose cost is measured.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

from tlkeras.experiments import runs
from tlkeras.reports import REPORTS
from tools import reliability

ARMS = {
    "tominet": "letters",
    "squeezenet": "fire8_up",
    "strategies": "stl10_small_freeze_some",
    "ants_bees": "alexnet_full",
    "l2t": "stl10_5_www",
}
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
CLOCKS = ("seconds", "milliseconds")  # what no two runs share


def here(name: str, seeds: list[int]) -> list[dict[str, Any]]:
    """Run the arm of a report with each of these seeds in this process."""
    report, found = REPORTS[name], []
    for seed in seeds:
        began = time.perf_counter()
        result = runs.isolated_run(report, report.settings(ARMS[name], "smoke"), seed)
        metrics = {key: value for key, value in result.metrics.items() if not any(word in key for word in CLOCKS)}
        history = {key: value for key, value in result.history.items() if not any(word in key for word in CLOCKS)}
        found.append({"metrics": metrics, "history": history, "seconds": time.perf_counter() - began})
    return found


def elsewhere(name: str, seeds: list[int], threads: int, deterministic: bool = False) -> list[dict[str, Any]]:
    """Run them in a process of its own."""
    world = {**dict.fromkeys(THREADS, str(threads)), "TLKERAS_DETERMINISTIC": str(int(deterministic))}
    command = [sys.executable, __file__, "--here", "--report", name, *(f"--seed={seed}" for seed in seeds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **world})
    return json.loads(done.stdout.splitlines()[-1])


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Return whether two runs agree in every digit of every metric and every epoch."""
    return json.dumps([first[key] for key in ("metrics", "history")]) == json.dumps(
        [second[key] for key in ("metrics", "history")]
    )


def difference(first: dict[str, Any], second: dict[str, Any]) -> float:
    """Return the largest difference of a metric."""
    return max(abs(value - second["metrics"][key]) for key, value in first["metrics"].items())


def compared(name: str) -> dict[str, Any]:
    """Return the row of a report."""
    one, again = elsewhere(name, [0, 0], 1)
    _, other_process = elsewhere(name, [1, 0], 1)
    two, two_again = elsewhere(name, [0, 0], 2)
    strict, strict_again = elsewhere(name, [0, 0], 2, deterministic=True)
    _, strict_one = elsewhere(name, [1, 0], 1, deterministic=True)
    pairs = {
        "twice in one process": (one, again),
        "in two processes, after another seed": (one, other_process),
        "twice with two threads": (two, two_again),
        "twice with two threads and the switch": (strict, strict_again),
    }
    differ = [what for what, pair in pairs.items() if not same(*pair)]
    return {
        "report": name,
        "arm": ARMS[name],
        "comparisons": len(pairs),
        "different": differ,
        "one thread and two, largest difference of a metric": f"{difference(one, two):.2g}",
        "with the switch": f"{difference(strict_one, strict):.2g}",
        "what the switch changes": f"{difference(two, strict):.2g}",
        "time with the switch": f"{strict_again['seconds'] / two_again['seconds']:.2f}x",
    }


def main() -> int:
    """Compare the reports, print a row of each, and return 1 if anything differs that should not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", choices=ARMS, action="append", help="only this one (may be repeated)")
    parser.add_argument("--record", action="store_true", help="store the rows in results/reliability.json")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, action="append", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(here(options.report[0], options.seed)))
        return 0
    rows = []
    for name in options.report or ARMS:
        rows.append(compared(name))
        print(json.dumps(rows[-1]), flush=True)
        if options.record:
            reliability.record("determinism", rows[-1:])
    return int(any(row["different"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
