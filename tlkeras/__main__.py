"""Command line: `python -m tlkeras COMMAND`; `--help` lists the commands."""

import argparse
import dataclasses
import importlib
import json
import math
import os
import sys
import textwrap
from pathlib import Path
from types import ModuleType

from tlkeras import data, startup
from tlkeras.data.images import printable
from tlkeras.experiments import audit, environment, executors, journal, plans, runs, tables
from tlkeras.experiments.report import Report, profile
from tlkeras.reports import REPORTS

_TRACEBACK = "TLKERAS_TRACEBACK"
_IGNORED = {  # options of `run` that would do nothing
    "--engine jax": ("executor", "address", "jobs"),
    "--executor ray": ("jobs",),
    "--executor local": ("address",),
}
TRAINED = ("mnist", "fashion_mnist", "letters", "cyrillic_letters", "squeezenet_tinyimagenet32", "resnet32")


def main(arguments: list[str] | None = None) -> int:
    """Parse and run a command; a foreseeable error is told on stderr, without a traceback, and is exit code 2.

    So is Ctrl-C, with exit code 130. Where TLKERAS_TRACEBACK is set to anything, the error is raised instead.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.command(options) or 0
    except BrokenPipeError:  # `python -m tlkeras table | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        if os.environ.get(_TRACEBACK):
            raise
        print("tlkeras: interrupted; what is finished is kept, and the same call goes on", file=sys.stderr)
        return 130  # as a shell reports SIGINT
    except (ValueError, RuntimeError, OSError) as error:
        if os.environ.get(_TRACEBACK):
            raise
        print(f"tlkeras: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tlkeras",
        description="Transfer-learning reports, reproduced.",
        epilog=f"{_TRACEBACK}=1 shows the whole traceback of an error.",
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, told, add_options, command in (
        ("run", "run a study; finished runs are kept and never run again", _run_options, _run),
        ("study", "run what a TOML file asks for, after an estimate of its cost", _study_options, _study),
        ("status", "what of a study is done, running or failed, and the time left", _status_options, _status),
        ("table", "our numbers beside the report's", _table_options, _table),
        ("audit", "what is wrong with the stored runs; exit code 1 if anything is", _audit_options, _audit),
        ("bench", "speed against a peer, both in one run", _bench_options, _bench),
        ("data", "what is cached, from which source, fingerprint, licence", _data_options, _data),
        ("adapt", "find the best way to classify your own photographs, and save a model", _adapt_options, _adapt),
        ("predict", "classify images by a model that `adapt` saved", _predict_options, _predict),
        ("pretrain", "train the shipped source networks again", _pretrain_options, _pretrain),
    ):
        own = commands.add_parser(name, help=told)
        add_options(own)
        own.set_defaults(command=command)
    return parser


def _reports(name: str) -> list[Report]:
    if name == "all":
        return list(REPORTS.values())
    if name not in REPORTS:
        raise ValueError(f"Expected a report out of {tuple(REPORTS)}, or 'all'. Received: {name!r}")
    return [REPORTS[name]]


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("report", help=f"one of {', '.join(REPORTS)}, or all")
    parser.add_argument("--arm", action="append", help="only this arm (may be repeated)")
    parser.add_argument("--profile", help="smoke, quick or paper; default: TLKERAS_PROFILE, else quick")
    parser.add_argument("--seeds", type=int, help="number of seeds; default: the profile's")
    parser.add_argument("--jobs", type=int, help="processes that share the cores of this machine; default: 1")
    parser.add_argument("--executor", choices=("local", "ray"), help="where; default: local")
    parser.add_argument("--address", help="of the Ray cluster, or auto; default: a new one on this machine")
    parser.add_argument(
        "--engine", choices=("keras", "jax"), default="keras", help="jax: all seeds of an arm at once, on a GPU"
    )


def _run(options: argparse.Namespace) -> None:
    _check_combination(options)
    reports = _reports(options.report)
    for report in reports:
        report.check_arms(options.arm or [])
    if options.engine == "jax":
        for report in reports:
            finished = runs.study_together(report, options.arm, seeds=options.seeds, profile_name=options.profile)
            print(tables.format_table(tables.result_rows(report, finished, arms=finished.arms)))
        return
    execute = executors.on_ray(options.address) if options.executor == "ray" else _local(options.jobs)
    for report in reports:
        _show(report, options.arm, options.seeds, options.profile, execute)


def _check_combination(options: argparse.Namespace) -> None:
    """Refuse options of `run` that would be ignored.

    Raises:
        ValueError: an option that does nothing with this engine or executor.
    """
    place = "--engine jax" if options.engine == "jax" else f"--executor {options.executor or 'local'}"
    given = {f"--{name}": getattr(options, name) for name in _IGNORED[place]}
    if received := " ".join(f"{option} {value}" for option, value in given.items() if value is not None):
        raise ValueError(f"Expected {place} without {', '.join(given)}, which it has no use for. Received: {received}")


def _local(jobs: int | None) -> executors.Execute:
    return executors.in_process if jobs is None or jobs == 1 else executors.local(jobs)


def _show(
    report: Report, arms: list[str] | None, seeds: int | list[int] | None, name: str | None, execute: executors.Execute
) -> None:
    """Run a study of one report, and show its table."""
    startup.quiet_start()
    finished = runs.study(report, arms, seeds=seeds, profile_name=name, execute=execute, must_store=True)
    print(tables.format_table(tables.result_rows(report, finished, arms=finished.arms)))


def _study_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="profile, jobs, and a table of each report with arms and seeds")
    parser.add_argument("--estimate", action="store_true", help="say what it costs, and run nothing")


def _study(options: argparse.Namespace) -> None:
    wanted = plans.read_study(options.file, REPORTS)
    execute = _local(wanted.jobs)
    for part in wanted.parts:
        rows = plans.plans(part.report, part.arms, part.seeds, wanted.profile)
        print(f"{part.report.name} ({wanted.profile}): {plans.summary(rows, wanted.jobs)}", flush=True)
    for part in wanted.parts if not options.estimate else ():
        _show(part.report, part.arms, part.seeds, wanted.profile, execute)


def _status_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("report", nargs="?", default="all", help=f"one of {', '.join(REPORTS)}; default: all")
    parser.add_argument("--profile", help="smoke, quick or paper; default: TLKERAS_PROFILE, else quick")


def _status(options: argparse.Namespace) -> None:
    name = profile(options.profile)
    for report in _reports(options.report):
        print(f"{report.name} ({name}): {plans.summary(plans.plans(report, None, None, name))}")
        stores = {runs.results_folder(name), runs.results_folder(name, stand_in=True)} - {None}
        for entry in [entry for store in stores if store for entry in journal.entries(store)]:
            if entry.report == report.name:
                reason = f": {entry.reason}" if entry.reason else ""
                print(f"    {entry.arm}, seed {entry.seed}: {entry.state}, {entry.since}, {entry.process}{reason}")
                if entry.traceback and os.environ.get(_TRACEBACK):
                    print(textwrap.indent(entry.traceback.rstrip(), " " * 8))


def _table_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("report", nargs="?", default="all", help=f"one of {', '.join(REPORTS)}; default: all")
    parser.add_argument("--profile", default="paper", help="which stored runs; default: paper")
    parser.add_argument("--json", action="store_true", help="rows as JSON")


def _table(options: argparse.Namespace) -> None:
    rows = []
    for report in _reports(options.report):
        rows += tables.result_rows(report, runs.load_runs(report, profile(options.profile)))
    print(json.dumps(rows, indent=1) if options.json else tables.format_table(rows))


def _audit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", default="paper", help="which store; default: paper")
    parser.add_argument("--json", action="store_true", help="findings as JSON")
    parser.add_argument("--rerun", type=int, default=0, metavar="K", help="draw K runs and compute them again")
    parser.add_argument("--seed", help="decides the draw: any text; default: the commit")
    parser.add_argument("--limit", type=float, help="draw none that took more seconds (default: 60)")
    parser.add_argument("--minutes", type=float, help="begin none that would end later")


def _audit(options: argparse.Namespace) -> int:
    given = [f"--{name}" for name in ("seed", "limit", "minutes") if getattr(options, name) is not None]
    if given and not options.rerun:
        raise ValueError(f"Expected --rerun with options of a draw. Received: {' '.join(given)}")
    folder = runs.results_folder(profile(options.profile))
    if folder is None or not folder.is_dir():
        raise ValueError(f"Expected a folder of stored runs. Received: {folder} for profile={options.profile!r}")
    found = audit.findings(REPORTS, folder)
    if options.rerun:
        found += _rerun(options)
    if options.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in found], indent=1))
    else:
        for finding in found:
            print(f"{finding.kind}: {finding.path}\n    {finding.reason}")
        print(f"{len(audit.files(folder))} files in {folder}, {len(found) or 'no'} findings")
    return 1 if found else 0


def _rerun(options: argparse.Namespace) -> list[audit.Finding]:
    """Draw stored runs, compute them again, tell of each on stderr, and return those that came out different."""
    startup.quiet_start()
    seed = options.seed or environment.describe()["commit"] or "0"
    stored = [run for report in REPORTS.values() for run in runs.load_runs(report, options.profile)]
    limit = 60.0 if options.limit is None else options.limit
    drawn = audit.draw(stored, seed, limit=limit)
    outcomes = []
    for outcome in audit.again(REPORTS, drawn, options.rerun, minutes=options.minutes or math.inf):
        outcomes.append(outcome)
        print(outcome, file=sys.stderr, flush=True)
    done = sum(outcome.verdict != audit.NOT_HERE for outcome in outcomes)
    told = audit.statement(len(drawn), done, limit, passed_over=len(outcomes) - done)
    print(f"Drawn by {seed!r}. {told}", file=sys.stderr)
    different = [outcome for outcome in outcomes if outcome.verdict == audit.DIFFERENT]
    return [audit.Finding(o.verdict, f"{o.run.report}/{o.run.arm}, seed {o.run.seed}", o.reason) for o in different]


def _bench_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="*", help="default: all")
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    parser.add_argument("--record", action="store_true", help="store the rows in results/benchmarks.json")


def _bench(options: argparse.Namespace) -> None:
    startup.quiet_start()
    benchmarks = _benchmarks()
    try:
        rows = benchmarks.run(options.name)
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"Expected the peers to be installed: pip install -e '.[bench]'. Received: {error}"
        ) from None
    if options.record:
        benchmarks.record(rows)
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        peer = "" if row["peer"] is None else f", peer {row['peer']} {row['unit']}, ratio {row['ratio']}x"
        print(f"{row['name']}: ours {row['ours']} {row['unit']}{peer}\n    equal: {row['equal']}")


def _benchmarks() -> ModuleType:
    """Import the benchmarks, which lie beside the package in a checkout and are not installed with it."""
    if not (environment.REPOSITORY / "benchmarks").is_dir():
        raise RuntimeError(f"Expected a checkout of tlkeras, with benchmarks/. Received: {environment.REPOSITORY}")
    sys.path.insert(0, str(environment.REPOSITORY))
    return importlib.import_module("benchmarks")


def _data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="fetch this data set if it is not there, and describe it")
    parser.add_argument(
        "--verify", action="store_true", help="compare all data and weights that are here with the records"
    )


def _data(options: argparse.Namespace) -> int:
    if options.verify and options.name:
        raise ValueError(f"Expected --verify without a name: it looks at everything. Received: {options.name}")
    if options.verify:
        return _verify()
    loaded = data.load(options.name).provenance() if options.name else {}
    used = {f"used {key}": value for key, value in loaded.items() if key != "name"}
    for row in data.status(options.name):
        print("\n    ".join([row["name"], *(f"{k}: {v}" for k, v in {**row, **used}.items() if k != "name")]))
    return 0


def _verify() -> int:
    startup.quiet_start()
    from tlkeras.models import records

    found = {**data.verify(), **records.verify()}
    for path, damage in found.items():
        print(f"{path}: {damage or 'sound'}")
    return int(any(found.values()))


def _adapt_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", help="a folder class/image or split/class/image, or the name of a data set of images")
    parser.add_argument("--out", default="own_images", help="folder for model, report and predictions")
    parser.add_argument("--backbone", action="append", help="only this network (may be repeated)")
    parser.add_argument(
        "--budget", type=float, default=5.0, help="minutes, after which nothing is fine-tuned (default: 5)"
    )
    parser.add_argument("--repeats", type=int, default=2, help="how often the images are dealt into folds (default: 2)")
    parser.add_argument("--seed", type=int, default=0)


def _adapt(options: argparse.Namespace) -> None:
    startup.quiet_start()
    import pandas as pd

    from tlkeras.own_images import adapt_images, page

    adapted = adapt_images(
        options.path,
        options.out,
        backbones=options.backbone,
        budget=options.budget,
        repeats=options.repeats,
        seed=options.seed,
    )
    print(pd.DataFrame(adapted.rows).to_string(index=False, float_format="{:.3f}".format, na_rep=""))
    print(page.summary(adapted))
    for remark in page.remarks(adapted):
        print(f"    {remark}")
    print("\n".join(printable(path) for path in adapted.files.values()))


def _predict_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="the folder or the .keras file")
    parser.add_argument("images", nargs="+", help="files, or folders of files")


def _predict(options: argparse.Namespace) -> None:
    startup.quiet_start()
    from tlkeras.own_images import predict

    for row in predict(options.model, options.images):
        print("\t".join(printable(str(value)) for value in row.values()))


def _pretrain_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="*", help=f"{', '.join(TRAINED)}; default: all, three hours on two cores")


def _pretrain(options: argparse.Namespace) -> None:
    startup.quiet_start()
    from tlkeras.reports.l2t import pretraining as resnet32
    from tlkeras.reports.squeezenet import pretraining as squeezenet
    from tlkeras.reports.tominet import pretraining as tominet

    larger = {"squeezenet_tinyimagenet32": squeezenet, "resnet32": resnet32}
    for name in options.name or TRAINED:
        record = larger.get(name, tominet).pretrain(name)
        print(f"{name}: test accuracy {record['test_accuracy']} ({record['counts']['test']} images)", flush=True)


if __name__ == "__main__":
    sys.exit(main())
