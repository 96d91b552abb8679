"""Do the same work over and over in one process, and look at how its memory grows: `make reliability TRY=memory`."""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tlkeras import models, visualize
from tlkeras.experiments import environment, runs
from tlkeras.reports import REPORTS
from tools import reliability

MOST_MIB = 50  # from the first time, which pays for what is needed once, to the last
ASCENTS = "activation maximisation"
WORK = {"tominet, scratch_50": 100, ASCENTS: 30, "l2t, stl10_5_www": 10}  # how often


def work(what: str) -> Callable[[], object]:
    """Return what is done once: a run of an arm, or pictures of every filter of a layer."""
    if what == ASCENTS:
        model = models.tominet(10, weights="mnist")
        return lambda: visualize.activation_maximization(model, "conv_2", steps=5)
    name, arm = what.split(", ")
    settings = REPORTS[name].settings(arm, "smoke")
    return lambda: runs.isolated_run(REPORTS[name], settings, 0)


def resident_mib() -> float:
    """Return the memory of this process, as Linux has it."""
    (found,) = re.findall(r"VmRSS:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found) / 1024


def grown(what: str, times: int) -> dict[str, object]:
    """Work so often, and return the row of the record."""
    once, course = work(what), []
    for _ in range(times):
        once()
        course.append(resident_mib())
    growth = course[-1] - course[0]
    told = {"MiB after the first": round(course[0]), "MiB after the half": round(course[times // 2])}
    told |= {"MiB after the last": round(course[-1]), "limit of the growth": MOST_MIB}
    told["over the limit"] = int(growth > MOST_MIB)
    return {"what": what, "times": times, **told, "peak": environment.peak_memory_mib()}


def main() -> int:
    """Do each work in a process of its own, print a row of it, and return 1 if one has grown by more than 50 MiB."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=WORK, action="append", help="only this one (may be repeated)")
    parser.add_argument("--times", type=int, help="default: 100 runs, 30 pictures, 10 trainings")
    parser.add_argument("--record", action="store_true", help="store the rows in results/reliability.json")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    rows = []
    for what in options.what or WORK:
        times = options.times or WORK[what]
        if options.here:
            print(json.dumps(grown(what, times)))
            continue
        command = [sys.executable, __file__, "--here", "--what", what, "--times", str(times)]
        rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
        print(json.dumps(rows[-1]), flush=True)
        if options.record:
            reliability.record("memory", rows[-1:])
    return int(any(row["over the limit"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
