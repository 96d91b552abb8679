"""The box at the top of a notebook: question, answer, n, minutes; and what this machine is."""

import dataclasses
import html
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tlkeras._files import write_json
from tlkeras.experiments import environment
from tlkeras.experiments.environment import REPOSITORY
from tlkeras.experiments.report import profile

MINUTES = REPOSITORY / "results" / "notebooks.json"
NOT_MEASURED = "not measured"


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
    times = [f"{max(1, round(row['seconds'] / 60))} ({row['profile']} profile, {row['device']})" for row in rows]
    return ", ".join(times) or NOT_MEASURED
