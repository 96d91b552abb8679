"""Speed: ours and a peer in one run, on this machine, with what was equal said; see `python -m tlkeras bench`."""

import json
from collections.abc import Callable

from benchmarks import ants_bees, l2t, own_images, squeezenet, strategies, tominet, visualize
from tlkeras._files import write_json
from tlkeras.experiments import environment

RESULTS = environment.REPOSITORY / "results" / "benchmarks.json"

BENCHMARKS: dict[str, Callable[[], list[dict]]] = {
    "tominet": tominet.rows,
    "squeezenet": squeezenet.rows,
    "strategies": strategies.rows,
    "visualize": visualize.rows,
    "ants_bees": ants_bees.rows,
    "l2t": l2t.rows,
    "own_images": own_images.rows,
}
COLUMNS = ("name", "ours", "peer", "ratio", "unit", "equal")


def run(names: list[str] | None = None) -> list[dict]:
    """Run the named benchmarks (all if None); return rows with the keys `COLUMNS`.

    Raises:
        ValueError: an unknown name.
    """
    names = names if names else list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        raise ValueError(f"Expected benchmarks out of {list(BENCHMARKS)}. Received: {unknown}")
    return [row for name in names for row in BENCHMARKS[name]()]


def record(rows: list[dict]) -> None:
    """Store rows with today's date and this device, in place of those of the same names."""
    about = environment.describe()
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    fresh = [{**row, "date": about["date"][:10], "device": about["device"]} for row in rows]
    kept = [row for row in stored if row["name"] not in {new["name"] for new in fresh}]
    write_json(RESULTS, kept + fresh, indent=1)
