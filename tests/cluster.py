"""Start a Ray cluster of two workers on this machine, kill one in mid-run, and look for what is lost.

`make reliability TRY=cluster`; it needs `pip install -e '.[ray]'`, and some minutes, so it is no part of `make test`.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import kills

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # the switch by which Ray stays on the loopback, on any system
import ray  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

from tlkeras.experiments import executors, journal, runs
from tlkeras.reports import REPORTS
from tools import reliability

ARM, SEEDS, WORKERS = "scratch_50", 6, 2
WAIT_SECONDS = 300


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start a head that computes nothing, and two nodes that compute one run at a time."""
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(WORKERS):
        started.add_node(num_cpus=1)
    try:
        yield started
    finally:
        ray.shutdown()
        started.shutdown()


def kill_process(started: Cluster, store: Path) -> None:
    """Kill one of the processes that compute a run."""
    os.kill(int(running(store)[0].process.split()[-1]), signal.SIGKILL)


def kill_node(started: Cluster, store: Path) -> None:
    """Kill a node, with all of its processes."""
    started.remove_node(next(iter(started.worker_nodes)), allow_graceful=False)


WAYS: dict[str, Callable[[Cluster, Path], None]] = {"a process": kill_process, "a node": kill_node}


def running(store: Path) -> list[journal.Entry]:
    """Return which runs are being computed."""
    return [entry for entry in journal.entries(store) if entry.state == "running"]


def kill_in_mid_run(way: str, started: Cluster, store: Path, told: list[str]) -> None:
    """Wait until both workers compute, and kill one."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if len(running(store)) == WORKERS:
            WAYS[way](started, store)
            told.append(way)
            return
        time.sleep(0.05)


def study(folder: Path, execute: executors.Execute) -> dict[str, object]:
    """Run the study, and return what its store holds."""
    os.environ.update(TLKERAS_RESULTS=str(folder / "results"), TLKERAS_HOME=str(folder / "home"))
    runs.study(REPORTS["tominet"], ARM, seeds=SEEDS, profile_name="smoke", execute=execute, must_store=True)
    return kills.contents(folder)


def attack(way: str, expected: dict[str, object], folder: Path) -> dict[str, object]:
    """Run the study on a cluster that loses a worker, and return the row of the record."""
    os.environ.update(TLKERAS_RESULTS=str(folder / "results"), TLKERAS_HOME=str(folder / "home"))
    told: list[str] = []
    with cluster() as started:
        killer = threading.Thread(target=kill_in_mid_run, args=(way, started, folder / "results", told))
        killer.start()
        found = study(folder, executors.on_ray(started.address))
        killer.join()
    altered = sum(found[name] != expected[name] for name in found.keys() & expected.keys())
    lost, stray = len(expected.keys() - found.keys()), len(found.keys() - expected.keys())
    row = {"way": way, "kills": len(told), "workers": WORKERS, "runs": SEEDS}
    return {**row, "lost": lost, "altered": altered, "stray": stray, "Ray": ray.__version__}


def main() -> int:
    """Kill in every way, print a row of each, and return 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--way", choices=WAYS, action="append", help="only this one (may be repeated)")
    parser.add_argument("--record", action="store_true", help="store the rows in results/reliability.json")
    options = parser.parse_args()
    os.environ.update(kills.ONE_THREAD, TLKERAS_PROFILE="smoke")
    rows = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as root:
        expected = study(Path(root, "undisturbed"), executors.in_process)
        for way in options.way or WAYS:
            rows.append(attack(way, expected, Path(root, way.replace(" ", "_"))))
            print(json.dumps(rows[-1]), flush=True)
            if options.record:
                reliability.record("cluster", rows[-1:])
    return int(any(row["lost"] or row["altered"] or row["stray"] or not row["kills"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
