"""The box at the top of a notebook: question, answer, n, minutes; and what this machine is.

An answer is one sentence, with its numbers from the recorded runs.
"""

import dataclasses
import html
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tlkeras._files import write_json
from tlkeras.experiments import environment
from tlkeras.experiments.claims import HELD, NOT_HELD
from tlkeras.experiments.environment import REPOSITORY
from tlkeras.experiments.report import profile
from tlkeras.experiments.runs import Runs, load_runs
from tlkeras.experiments.tables import difference
from tlkeras.reports import REPORTS
from tlkeras.reports.ants_bees import claims as ants_bees
from tlkeras.reports.l2t import claims as l2t
from tlkeras.reports.l2t import settings as l2t_settings
from tlkeras.reports.squeezenet import claims as squeezenet
from tlkeras.reports.strategies import claims as strategies
from tlkeras.reports.tominet import claims as tominet

MINUTES = REPOSITORY / "results" / "notebooks.json"
_NOT_MEASURED = "not measured"
QUESTIONS = {  # of each notebook, by the number that its name begins with
    "00": "Your own photographs: which network, trained how, and can it be trusted?",
    "01": "With only 100 labelled digits, does it help to have seen clothes or letters first?",
    "02": "What does each filter respond to, and what did fine-tuning move?",
    "03": "How much of a pretrained SqueezeNet should be trained, and on images of which size?",
    "04": "Which part should be trained, with how much data, how similar, at what rate?",
    "05": "Four ways to transfer AlexNet and VGG16 to 244 photographs: which is best?",
    "06": "Can a network learn what, where and which pixels of another network's features to imitate?",
}
_TRAINED_EACH_TIME = ("00", "02")  # notebooks that load no recorded runs
NOT_RECORDED = "The recorded runs, which answer it, are not here: run the notebook in the paper profile."


@dataclasses.dataclass(frozen=True)
class Box:
    """What a reader should know before the first figure; Jupyter shows it as a table.

    Attributes:
        question: of the notebook.
        answer: one sentence, with numbers from recorded runs.
        n: runs or images behind the answer.
        minutes: how long the notebook takes on a CPU and on a GPU.
        here: the machine, the versions and the profile of this run.
    """

    question: str
    answer: str
    n: str
    minutes: str
    here: str

    def __str__(self) -> str:
        return "\n".join(f"{name}: {text}" for name, text in dataclasses.asdict(self).items())

    def _repr_html_(self) -> str:
        cells = [
            f'<tr><th style="text-align: left">{name if name == "n" else name.capitalize()}</th>'
            f'<td style="text-align: left">{html.escape(text)}</td></tr>'
            for name, text in dataclasses.asdict(self).items()
        ]
        return f"<table>\n{chr(10).join(cells)}\n</table>"


def box(number: str) -> Box:
    """Return the box of a notebook, "00" to "06"; where its runs are not recorded, the answer says so.

    Raises:
        KeyError: no such notebook.
    """
    report, arms, answer = _ANSWERS[number]
    runs = load_runs(REPORTS[report], "paper")
    said, n = answer(runs) if runs.have(arms) else (NOT_RECORDED, "0")
    return Box(QUESTIONS[number], said, n, minutes(number, measured()), here())


def here() -> str:
    """Return device, memory, versions, backend and profile of this run in one line."""
    import keras  # late: the line of a machine is asked for in notebooks only

    facts = environment.describe()
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items() if version)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else None
    told = f"{memory:.0f} GiB of memory" if memory else "memory unknown"
    return f"{facts['device']}; {told}; {versions}; backend {keras.backend.backend()}; {profile()} profile"


def record(notebook: str, profile_name: str, seconds: float, path: Path = MINUTES) -> None:
    """Store how long a notebook took on this machine, in place of what was measured on such a device before.

    Args:
        notebook: stem of its file.
        profile_name: in which it ran.
        seconds: wall time.
        path: of the record.
    """
    device = environment.describe()["device"]
    row = {"notebook": notebook, "profile": profile_name, "device": device, "seconds": round(seconds)}
    kept = [old for old in measured(path) if any(old[key] != row[key] for key in ("notebook", "profile", "device"))]
    write_json(path, sorted([*kept, row], key=lambda old: (old["notebook"], old["profile"], old["device"])))


def measured(path: Path = MINUTES) -> list[dict]:
    """Return the stored rows: notebook, profile, device, seconds; none where nothing was measured."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def minutes(notebook: str, rows: Sequence[Mapping]) -> str:
    """Say how long a notebook takes on a CPU and on a GPU, by profile.

    Args:
        notebook: stem of its file, or what it begins with.
        rows: of `measured`.
    """
    own = [row for row in rows if row["notebook"].startswith(notebook)]
    cpu, gpu = ([row for row in own if row["device"].startswith("CPU") is kind] for kind in (True, False))
    return f"on a CPU: {_told(cpu)}; on a GPU: {_told(gpu)}"


def _told(rows: Sequence[Mapping]) -> str:
    return ", ".join(map(_time, rows)) or _NOT_MEASURED


def _time(row: Mapping) -> str:
    loads = row["profile"] == "paper" and row["notebook"][:2] not in _TRAINED_EACH_TIME
    stored = ", its recorded runs loaded" if loads else ""
    return f"{max(1, round(row['seconds'] / 60))} ({row['profile']} profile{stored}, {row['device']})"


def _own_images(runs: Runs) -> tuple[str, str]:
    arms = ("vgg16_probe", "alexnet_probe")
    (images,) = _judged(runs, arms[0])
    larger, smaller = (_mean(runs, arm, "validation_accuracy") for arm in arms)
    return (
        "Fit a linear probe to frozen features and compare networks, as `adapt` does: of the ants and bees of report "
        f"004 that it was not fitted to, {larger:.1%} are right by VGG16's features, {smaller:.1%} by AlexNet's, and "
        "its certainty can be checked.",
        f"{images} photographs, some of which ImageNet has; {len(runs.of(arms[0]))} runs",
    )


def _tominet(runs: Runs) -> tuple[str, str]:
    found = {row["claim"]: row for row in tominet.findings(runs)}
    letters = found["letters first is better than no transfer for 150 epochs, both recalibrated"]
    clothes = found["clothes first is no better than no transfer for 150 epochs, both recalibrated"]
    (artefact,) = tominet.artefact(runs, ["letters"], "scratch_50")
    return (
        f"Letters help a little ({difference(letters)} in accuracy, against 150 epochs of no transfer) and clothes "
        f"harm ({difference(clothes)}), once batch normalisation is set right on both sides; over as many epochs of "
        f"no transfer, {artefact['share_gone']:.0%} of the gain was due to that alone.",
        f"{letters['n']} draws of 100 digits, the same for every arm",
    )


def _filters(runs: Runs) -> tuple[str, str]:
    first, second = (_mean(runs, "rate_1e-4", f"moved_conv_{layer}") for layer in (1, 2))
    return (
        "To strokes and textures of one width and angle, and fine-tuning hardly touches that: in the study of rates of "
        f"notebook 04, 1e-4 moves the kernels of the two convolutions by {first:.1%} and {second:.1%} of their length.",
        f"{len(runs.of('rate_1e-4'))} runs of that study, 1,000 digits each; one network for the pictures",
    )


def _squeezenet(runs: Runs) -> tuple[str, str]:
    arms = ("head", "fire8_up", "all", "head_160")
    head, upper, whole, larger = (_mean(runs, arm, "test_accuracy") for arm in arms)
    verdicts = {row["verdict"] for row in squeezenet.findings(runs)}
    return (
        f"The more, the better ({', '.join(sorted(verdicts))}: {head:.1%}, {upper:.1%}, {whole:.1%} of the test "
        f"images), but the head alone reaches {larger:.1%} on images enlarged to 160 pixels.",
        ", ".join(str(len(runs.of(arm))) for arm in arms) + " runs",
    )


def _strategies(runs: Runs) -> tuple[str, str]:
    found = strategies.findings(runs)
    held, not_held = (sum(row["verdict"] == verdict for row in found) for verdict in (HELD, NOT_HELD))
    rates = {row["rate"]: row["source"] for row in strategies.rate_rows(runs)}
    lowest, highest = min(rates), max(rates)
    quadrants = ", ".join(map(str, sorted({row["quadrant"] for row in found if row["verdict"] == NOT_HELD})))
    return (
        f"The part that the slides advise is shown to be the best in {held} of {len(found)} cells, and not to be in "
        f"{not_held} (quadrant {quadrants}; freeze some has one rate only); but too high a rate does destroy what was "
        f"learnt ({rates[lowest]:.0%} of the old letters are still known at {lowest:g}, {rates[highest]:.0%} at "
        f"{highest:g}).",
        f"{span(row['n'] for row in found)} draws a cell",
    )


def _ants_bees(runs: Runs) -> tuple[str, str]:
    ways = ("frozen", "graded", "last", "full")
    scores = {way: _mean(runs, f"alexnet_{way}", ants_bees.AUC) for way in ways}
    tenth = _mean(runs, "alexnet_full_1e-4", ants_bees.AUC)
    (images,) = _judged(runs, "alexnet_full")
    return (
        f"For AlexNet, frozen features (ROC AUC {scores['frozen']:.3f}) or smaller rates on the first layers "
        f"({scores['graded']:.3f}); thawing the last layers is close ({scores['last']:.3f}), and training everything "
        f"at one rate collapses at the rate that we had to assume ({scores['full']:.3f}), not at a tenth of it "
        f"({tenth:.3f}).",
        f"{span(len(runs.of(f'alexnet_{way}')) for way in ways)} runs of each way, on {images} photographs",
    )


def _l2t(runs: Runs) -> tuple[str, str]:
    asked = [row for row in l2t.findings(runs) if row["reported_p"] != "p > 0.05"]
    alone = [row for row in l2t.source_alone(runs) if "probe is better than every" in row["claim"]]
    beaten = sum(row["verdict"] == HELD for row in alone)
    return (
        f"{asked[0]['verdict'].split(':')[0].capitalize()}: asking which pixels adds {difference(asked[0])} in "
        f"accuracy where the report has {asked[0]['reported_difference']:+.3f}; a linear probe of the source beats "
        f"every method in {beaten} of {len(alone)} sizes.",
        f"{asked[0]['n']} draws of each method, {l2t_settings.REPEATS} of the probe",
    )


def span(counts: Iterable[int]) -> str:
    """Return "2", or "1 to 2" where counts differ."""
    found = sorted(counts)
    return " to ".join(map(str, dict.fromkeys((found[0], found[-1]))))


def _mean(runs: Runs, arm: str, metric: str) -> float:
    return float(np.mean(list(runs.scores(arm, metric).values())))


def _judged(runs: Runs, arm: str) -> set[int]:
    return {len(run.details["labels"]) for run in runs.of(arm)}


_FIRST_SIZE = [l2t_settings.arm_name(*l2t_settings.ABLATED, method) for method in (*l2t_settings.METHODS, "probe")]
# The report whose runs answer, the arms that the answer needs, and how it is made of them.
_ANSWERS: dict[str, tuple[str, Sequence[str], Callable[[Runs], tuple[str, str]]]] = {
    "00": ("ants_bees", ("vgg16_probe", "alexnet_probe"), _own_images),
    "01": ("tominet", ("letters", "fashion", "scratch_50", "scratch_150"), _tominet),
    "02": ("strategies", ("rate_1e-4",), _filters),
    "03": ("squeezenet", ("head", "fire8_up", "all", "head_160"), _squeezenet),
    "04": ("strategies", ("rate_1e-5", "rate_1e-1"), _strategies),
    "05": ("ants_bees", [f"alexnet_{way}" for way in ("full", "frozen", "last", "graded")], _ants_bees),
    "06": ("l2t", _FIRST_SIZE, _l2t),
}
