"""Mutation testing, `make mutation`: break the code on purpose, one place at a time, and see whether a test notices.

cosmic-ray makes and runs the mutants, in a clone of the last commit, so that a mutant is never in the working tree.
Left out are type annotations, which do nothing, and all but one mutant of each place, drawn at random. What survives
is written to build/mutation/, and the counts to results/mutation.json.
"""

import argparse
import ast
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from scipy import stats

from tlkeras._files import progress, write_text
from tlkeras.experiments import environment

RESULTS = environment.REPOSITORY / "results" / "mutation.json"
REPORTS = environment.REPOSITORY / "build" / "mutation"
TESTS = {
    "tlkeras/experiments/runs.py": ("tests/test_runs.py",),
    "tlkeras/experiments/stats.py": ("tests/test_stats.py",),
    "tlkeras/l2t/algorithm.py": ("tests/test_l2t_algorithm.py",),
    "tlkeras/transfer/finetune.py": ("tests/test_finetune.py",),
    "tlkeras/transfer/freezing.py": ("tests/test_freezing.py",),
}
CONFIGURATION = """[cosmic-ray]
module-path = "{module}"
timeout = {seconds}
excluded-modules = []
test-command = "{python} -m pytest -x -q -p no:cacheprovider {tests}"
[cosmic-ray.distributor]
name = "local"
"""
SECONDS = 120.0  # for the tests of one mutant; longer counts as noticed

Place = tuple[int, int]  # line from 1, column from 0


def annotations(source: str) -> list[tuple[Place, Place]]:
    """Return the spans of all type annotations, and of statements that give a type a name."""
    found: list[ast.expr | ast.stmt | None] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(node.returns)
        elif isinstance(node, ast.arg | ast.AnnAssign):
            found.append(node.annotation)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript) and node.col_offset == 0:
            found.append(node)
    return [
        ((node.lineno, node.col_offset), (node.end_lineno or node.lineno, node.end_col_offset or 0))
        for node in found
        if node is not None
    ]


def chosen(mutants: Iterable[tuple[str, str, Place]], source: str, most: int, seed: int = 0) -> set[str]:
    """Return which mutants are run: one a place, none inside an annotation, at most so many, drawn at random.

    Args:
        mutants: `(job, operator, place)` of each.
        source: of the module.
        most: mutants to run.
        seed: of the draw.
    """
    generator, spans = random.Random(seed), annotations(source)
    by_place: dict[tuple[Place, str], list[str]] = {}
    for job, operator, place in sorted(mutants):
        if not any(start <= place <= end for start, end in spans):
            kind = operator.split("/")[1].split("_")[0]
            by_place.setdefault((place, kind), []).append(job)
    drawn = [generator.choice(jobs) for _, jobs in sorted(by_place.items())]
    return set(generator.sample(drawn, min(most, len(drawn))))


def prepare(session: Path, source: str, most: int) -> int:
    """Take from a session of cosmic-ray all mutants that are not run, and return how many are left."""
    with sqlite3.connect(session) as database:
        rows = database.execute("SELECT job_id, operator_name, start_pos_row, start_pos_col FROM mutation_specs")
        mutants = [(job, operator, (row, column)) for job, operator, row, column in rows]
        kept = chosen(mutants, source, most)
        for job, *_ in mutants:
            if job not in kept:
                database.execute("DELETE FROM mutation_specs WHERE job_id = ?", (job,))
                database.execute("DELETE FROM work_items WHERE job_id = ?", (job,))
    return len(kept)


def outcomes(session: Path) -> tuple[int, list[str]]:
    """Return how many mutants were run, and the differences that no test noticed."""
    with sqlite3.connect(session) as database:
        query = "SELECT test_outcome, diff FROM work_results WHERE worker_outcome = 'NORMAL'"
        rows = database.execute(query).fetchall()
    return len(rows), [difference for outcome, difference in rows if "survived" in outcome.lower()]


def run(module: str, clone: Path, most: int) -> dict:
    """Run the mutants of one module inside a clone, and write the survivors to build/mutation/.

    Returns:
        module, tests, run, survived, killed (0..1), and the 95 % interval of a draw of so many (Wilson).
    """
    source, session = (clone / module).read_text(encoding="utf-8"), clone / "session.sqlite"
    session.unlink(missing_ok=True)
    configuration = clone / "mutation.toml"
    tests = " ".join(TESTS[module])
    configuration.write_text(
        CONFIGURATION.format(module=module, seconds=SECONDS, python=sys.executable, tests=tests), encoding="utf-8"
    )
    program = [sys.executable, "-m", "cosmic_ray.cli"]
    subprocess.run([*program, "init", configuration, session], cwd=clone, check=True, capture_output=True)
    prepare(session, source, most)
    subprocess.run([*program, "exec", configuration, session], cwd=clone, check=True, capture_output=True)
    count, survivors = outcomes(session)
    REPORTS.mkdir(parents=True, exist_ok=True)
    write_text(REPORTS / f"{Path(module).stem}.diff", "\n".join(survivors))
    killed = count - len(survivors)
    interval = stats.binomtest(killed, count).proportion_ci(method="wilson")
    return {
        "module": module,
        "tests": list(TESTS[module]),
        "run": count,
        "survived": len(survivors),
        "killed": round(killed / count, 3),
        "ci_low": round(float(interval.low), 3),
        "ci_high": round(float(interval.high), 3),
    }


def main() -> None:
    """Run each module's mutants and store the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("modules", nargs="*", default=list(TESTS), help="default: all five")
    parser.add_argument("--most", type=int, default=60, help="mutants of a module (default: 60)")
    options = parser.parse_args()
    rows = {row["module"]: row for row in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", environment.REPOSITORY, clone], check=True)
        for module in progress(options.modules, "modules"):
            rows[module] = run(module, clone, options.most)
            write_text(RESULTS, json.dumps([rows[name] for name in sorted(rows)], indent=1) + "\n")
            print(json.dumps(rows[module]), flush=True)
        shutil.rmtree(clone)


if __name__ == "__main__":
    main()
