"""What the script of docs/upstream prints on each backend of Keras: `KERAS_BACKEND=jax python -m tools.upstream`.

The lines are in results/upstream.json, those of TensorFlow also with the change that the page proposes; `make readme`
puts them into the page.
"""

import argparse
import contextlib
import io
import json
import re
import runpy
from collections.abc import Iterator
from typing import Any
from unittest import mock

from tlkeras._files import write_json
from tlkeras.experiments import environment

FOLDER = environment.REPOSITORY / "docs" / "upstream"
PAGE, SCRIPT = FOLDER / "README.md", FOLDER / "batch_normalization_second_derivative.py"
RECORD = environment.REPOSITORY / "results" / "upstream.json"
LINE = re.compile(r"(\w+), (first|second) derivative: autodiff ([\d.-]+), finite differences ([\d.-]+)")
KERAS, PROPOSED = "of Keras", "as proposed"
BACKENDS = ("tensorflow", "torch", "jax")  # in the order of the page


def measure() -> list[dict[str, Any]]:
    """Run the script on this process' backend, and return a row for each line that it prints.

    Returns:
        Rows with backend, version (of it), keras (its version), order ("first" or "second"), autodiff, differences.
    """
    import keras  # late: the page is written without

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(str(SCRIPT))
    versions = environment.describe()["versions"] | {"keras": keras.__version__}
    return [
        {
            "backend": backend,
            "version": versions[backend],
            "keras": versions["keras"],
            "order": order,
            "autodiff": float(autodiff),
            "differences": float(differences),
        }
        for backend, order, autodiff, differences in LINE.findall(printed.getvalue())
    ]


@contextlib.contextmanager
def mended() -> Iterator[None]:
    """Have Keras compute moments on TensorFlow as the page proposes, by the very lines of the page."""
    import tensorflow as tf
    from keras.src.backend.tensorflow import nn

    (lines,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)

    def moments(x: Any, axes: Any, keepdims: bool) -> tuple[Any, Any]:
        names = {"tf": tf, "x": x, "axes": axes, "keepdims": keepdims}
        exec(lines, names)
        return names["mean"], names["variance"]

    with mock.patch.object(nn, "_compute_moments", moments):
        yield


def read() -> list[dict[str, Any]]:
    """Return the stored rows; `moments` says whose they are, Keras' or those of the page."""
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else []


def printed() -> str:
    """Return what the script prints on each backend, as a block of code."""
    parts = []
    for backend in BACKENDS:
        rows = [row for row in read() if row["backend"] == backend and row["moments"] == KERAS]
        head = [f"keras {row['keras']}, {backend} {row['version']}" for row in rows[:1]]
        parts.append("\n".join([*head, *map(_line, rows)]))
    return _block("\n\n".join(filter(None, parts)))


def printed_mended() -> str:
    """Return what it prints on TensorFlow with the change, as a block of code."""
    return _block("\n".join(_line(row) for row in read() if row["moments"] == PROPOSED))


def _line(row: dict[str, Any]) -> str:
    numbers = f"autodiff {row['autodiff']:.3f}, finite differences {row['differences']:.3f}"
    return f"{row['backend']}, {row['order']} derivative: {numbers}"


def _block(text: str) -> str:
    return f"```\n{text}\n```"


def main() -> None:
    """Measure on this process' backend, in the place of what is stored of it."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    rows = [{**row, "moments": KERAS} for row in measure()]
    backend = rows[0]["backend"]
    if backend == "tensorflow":
        with mended():
            rows += [{**row, "moments": PROPOSED} for row in measure()]
    write_json(RECORD, [*(row for row in read() if row["backend"] != backend), *rows], indent=1)


if __name__ == "__main__":
    main()
