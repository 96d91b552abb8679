"""Kill studies of 20 runs at random moments, again and again, and look for what is lost: `make reliability TRY=kills`.

Three ways: one process, two processes on one store, and `--jobs 2`. Beside them two works of one piece, which go on
from what they have kept: a training by learning to transfer, and `adapt`. It trains for real, at smoke size, so it
takes an hour or two; it is no part of `make test`.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tlkeras.experiments import audit, journal, runs
from tools import reliability

WAYS = {"alone": (1, ()), "two processes on one store": (2, ()), "--jobs 2": (1, ("--jobs", "2"))}
WORKS = ("learning to transfer", "adapt")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STUDY = ("run", "tominet", "--arm", "scratch_50", "--arm", "letters", "--seeds", "10", "--profile", "smoke")
RUNS = 20
MOMENT_SECONDS = 3.0  # after a process is at work: the time of a few runs
ORPHAN_SECONDS = 10  # in which the helpers of a killed process must be gone
STUDY_SECONDS = 600
ONE_THREAD = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")


def start(folder: Path, options: tuple[str, ...] = ()) -> subprocess.Popen:
    """Start the study in a process group of its own, with its store and its cache below `folder`."""
    world = {"TLKERAS_RESULTS": str(folder / "results"), "TLKERAS_HOME": str(folder / "home"), "TQDM_DISABLE": "1"}
    command = [sys.executable, "-m", "tlkeras", *STUDY, *options]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": open(folder / "errors.txt", "ab")}  # noqa: SIM115
    return subprocess.Popen(command, env={**os.environ, **world, **ONE_THREAD}, start_new_session=True, **quiet)


def at_work(folder: Path, processes: list[subprocess.Popen]) -> None:
    """Wait until a run is being computed."""
    deadline = time.monotonic() + STUDY_SECONDS
    while time.monotonic() < deadline and any(process.poll() is None for process in processes):
        if any(journal.folder(folder / "results").glob("*/*/*.json")):
            return
        time.sleep(0.02)


def group_is_gone(group: int) -> bool:
    """Wait for all processes of a group to end; return whether they did."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    os.killpg(group, signal.SIGKILL)
    return False


def contents(folder: Path) -> dict[str, object]:
    """Return what each file of a store says, but for times and memory, which no two runs share."""
    found: dict[str, object] = {}
    for path in audit.files(folder / "results"):
        try:
            run = runs.read_run(path)
        except ValueError as error:
            found[str(path.relative_to(folder))] = str(error)
            continue
        details = {name: value for name, value in run.details.items() if name != "seconds"}
        found[str(path.relative_to(folder))] = [run.settings, run.metrics, run.inputs, details, run.history]
    return found


def disturbed(folder: Path, way: str, kills: int, chance: random.Random) -> Counter:
    """Run one study to its end, killing it up to `kills` times; return how often by which signal, and the orphans."""
    count, options = WAYS[way]
    told: Counter = Counter()
    os.environ["TLKERAS_HOME"] = str(folder / "home")  # where the journal is looked for
    while sum(told[number.name] for number in SIGNALS) < kills:
        processes = [start(folder, options) for _ in range(count)]
        if chance.random() < 0.8:  # the others are killed while they start
            at_work(folder, processes)
        time.sleep(chance.uniform(0, MOMENT_SECONDS))
        victim, number = chance.choice(processes), chance.choice(SIGNALS)
        if victim.poll() is None:
            # Ctrl-C reaches every process of a terminal, the other two the one that is named.
            os.killpg(victim.pid, number) if number is signal.SIGINT else victim.send_signal(number)
            told[number.name] += 1
        for process in processes:
            if process is not victim and process.poll() is None:  # the survivor works on for a while
                time.sleep(chance.uniform(0, MOMENT_SECONDS))
                process.send_signal(signal.SIGKILL)
                told["SIGKILL"] += 1
            process.wait(STUDY_SECONDS)
            told["orphans"] += not group_is_gone(process.pid)
        if len(contents(folder)) >= RUNS:
            break
    for process in [start(folder, options) for _ in range(count)]:
        told["failed"] += process.wait(STUDY_SECONDS) != 0
    return told


def undisturbed(root: Path) -> dict[str, object]:
    """Run the study to its end, and return what its store holds."""
    folder = root / "undisturbed"
    folder.mkdir()
    start(folder).wait(STUDY_SECONDS)
    if len(found := contents(folder)) != RUNS:
        raise RuntimeError((folder / "errors.txt").read_text())
    return found


def attack(way: str, kills: int, seed: int, expected: dict[str, object], root: Path) -> dict[str, object]:
    """Kill studies so often in one way, and return the row of the record."""
    chance, told, studies, lost, altered, extra = random.Random(f"{way} {seed}"), Counter[str](), 0, 0, 0, 0
    while (left := kills - sum(told[number.name] for number in SIGNALS)) > 0:
        folder = Path(tempfile.mkdtemp(dir=root))
        told += disturbed(folder, way, left, chance)
        found = contents(folder)
        lost += len(expected.keys() - found.keys())
        extra += len(found.keys() - expected.keys())
        altered += sum(found[name] != expected[name] for name in found.keys() & expected.keys())
        studies += 1
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
    return {
        "way": way,
        "kills": sum(told[number.name] for number in SIGNALS),
        **{number.name: told[number.name] for number in SIGNALS},
        "studies": studies,
        "runs": studies * RUNS,
        "lost": lost,
        "altered": altered,
        "stray": extra,
        "orphans": told["orphans"],
        "failed": told["failed"],
        "seed": seed,
    }


def learn(folder: Path) -> object:
    """Train by learning to transfer with a checkpoint an epoch; return the history and all weights."""
    from l2t_helpers import everything, images, made

    learner = made()
    history = learner.fit(*images(), epochs=20, batch_size=6, learning_rate=0.05, checkpoint=folder / "run.npz")
    return [history, {name: value.tolist() for name, value in everything(learner).items()}]


def adapt(folder: Path) -> object:
    """Adapt networks to made photographs; return what is told of them."""
    from test_own_images import photographs

    from tlkeras import own_images

    photographs(folder / "photographs", {"blue": 8, "red": 7, "sand": 6})
    own_images.adapt_images(folder / "photographs", folder / "out", budget=0, repeats=1)
    return (folder / "out" / "predictions.csv").read_text()


def work(name: str, folder: Path) -> None:
    """Do one work in this process, and write what came of it."""
    found = {"learning to transfer": learn, "adapt": adapt}[name](folder)
    (folder / "outcome.json").write_text(json.dumps(found))


def begin(name: str, folder: Path) -> subprocess.Popen:
    """Do one work in a process group of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    world = {"TLKERAS_HOME": str(folder / "home"), "TLKERAS_OFFLINE": "1", "TQDM_DISABLE": "1", **ONE_THREAD}
    command = [sys.executable, __file__, "--work", name, "--folder", str(folder)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": open(folder.parent / "errors.txt", "ab")}  # noqa: SIM115
    return subprocess.Popen(command, env={**os.environ, **world}, start_new_session=True, **quiet)


def left_behind(folder: Path) -> set[str]:
    """Return the files of a work, by their names below its folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def interrupt(name: str, kills: int, seed: int, root: Path) -> dict[str, object]:
    """Kill one work again and again, each time until it is done, and return the row of the record."""
    chance, told, works = random.Random(f"{name} {seed}"), Counter[str](), 0
    began = time.monotonic()
    told["failed"] += begin(name, root / name).wait(STUDY_SECONDS) != 0
    seconds, files = time.monotonic() - began, left_behind(root / name)
    expected = (root / name / "outcome.json").read_text()
    while sum(told[number.name] for number in SIGNALS) < kills:
        folder, works = root / f"{name} {works}", works + 1
        while not (folder / "outcome.json").exists():
            process, number = begin(name, folder), chance.choice(SIGNALS)
            try:
                process.wait(chance.uniform(0, seconds))
                told["failed"] += process.returncode != 0
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, number) if number is signal.SIGINT else process.send_signal(number)
                told[number.name] += 1
                process.wait(STUDY_SECONDS)
            told["orphans"] += not group_is_gone(process.pid)
        told["altered"] += (folder / "outcome.json").read_text() != expected
        told["lost"] += len(files - left_behind(folder))
        told["stray"] += len(left_behind(folder) - files)
    signals = {number.name: told[number.name] for number in SIGNALS}
    results = {kind: told[kind] for kind in ("lost", "altered", "stray", "orphans", "failed")}
    return {
        "way": name,
        "kills": sum(signals.values()),
        **signals,
        "studies": works,
        "runs": works,
        **results,
        "seed": seed,
    }


def main() -> int:
    """Attack in every way, print a row of each, and return 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="of each way (default: 50)")
    parser.add_argument("--way", choices=[*WAYS, *WORKS], action="append", help="only this one (may be repeated)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", action="store_true", help="store the rows in results/reliability.json")
    parser.add_argument("--work", choices=WORKS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.folder)
        return 0
    ways, rows = options.way or [*WAYS, *WORKS], []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        expected = undisturbed(root) if set(ways) & set(WAYS) else {}
        for way in ways:
            rows.append(
                attack(way, options.kills, options.seed, expected, root)
                if way in WAYS
                else interrupt(way, options.kills, options.seed, root)
            )
            print(json.dumps(rows[-1]), flush=True)
            if options.record:
                reliability.record("kills", rows[-1:])
    return int(any(row[name] for row in rows for name in ("lost", "altered", "stray", "orphans", "failed")))


if __name__ == "__main__":
    sys.exit(main())
